"""Expected gradients: completeness on average, draws that only refine, the background file, what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.explainers.zoo import batch, model
from vitfaith.errors import ArtifactError, ConfigError
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS


def maps(**settings: Any) -> Tensor:
    """Of the model's four images."""
    classifier = model("class_token")
    images, targets, ids = batch(classifier)
    methods = {"it": EXPLAINERS.item("expected_gradients", **settings)}
    return explain(classifier, images, targets, ids, methods, seed=0, batch_size=64)["it"]


def saved(folder: Path, images: Tensor) -> Path:
    np.save(folder / "baselines.npy", images.numpy())
    return folder / "baselines.npy"


def test_the_map_sums_to_the_change_of_the_logit_on_average(tmp_path: Path) -> None:
    """Within four standard errors over 160 draws from two baselines."""
    classifier = model("class_token")
    images, targets, _ = batch(classifier)
    baselines = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        own = classifier(images).gather(1, targets[:, None])[:, 0]
        others = classifier(baselines)[:, targets].mean(0)
    path = saved(tmp_path, baselines)
    sums = torch.stack([maps(samples=n, background=path).double().sum((1, 2)) for n in (159, 160)])
    last = 160 * sums[1] - 159 * sums[0]
    singles = torch.stack([maps(samples=n, background=path).double().sum((1, 2)) * n for n in range(1, 17)])
    spread = torch.cat([singles.diff(dim=0), last[None]]).std(0)
    assert ((sums[1] - (own - others)).abs() < 4 * spread / 160**0.5).all()
    assert (spread / 160**0.5 < 0.2 * (own - others).abs().max()).all()


def test_more_samples_keep_the_first_ones() -> None:
    one, two, three = (maps(samples=n, noise=0.1) for n in (1, 2, 3))
    third = 3 * three - 2 * two
    assert not torch.allclose(third, one, rtol=1e-2)
    assert torch.allclose(maps(samples=3, noise=0.1, resolution="pixel").unflatten(1, (4, 4)).unflatten(3, (4, 4)).sum((2, 4)),
                          three, rtol=1e-4, atol=1e-6)  # fmt: skip


def test_bytes_and_floats_are_one_background(tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    floats = maps(samples=4, background=saved(tmp_path, pixels / 255))
    assert torch.equal(maps(samples=4, background=saved(tmp_path, pixels)), floats)


def test_the_image_itself_as_the_only_baseline_adds_nothing(tmp_path: Path) -> None:
    images, _, _ = batch(model("class_token"))
    found = maps(samples=3, background=saved(tmp_path, images[:1]))
    assert (found[0] == 0).all()
    assert (found[1:] != 0).any()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.zeros((2, 3, 8, 8), dtype=np.float32), r"float32 of shape \(2, 3, 8, 8\); give images \(N, 3, 16, 16\)"),
        (np.zeros((0, 3, 16, 16), dtype=np.float32), r"give images \(N, 3, 16, 16\)"),
        (np.zeros((2, 3, 16, 16), dtype=np.int32), "int32 .*give uint8, or floats in"),
        (np.full((2, 3, 16, 16), 255.0), r"values outside \[0, 1\] or NaN; scale them"),
        (np.full((2, 3, 16, 16), np.nan), r"values outside \[0, 1\]"),
        (np.array([{"a": 1}], dtype=object), "cannot be read: .*numpy.save"),
    ],
)
def test_a_background_that_does_not_fit_is_refused(values: Any, text: str, tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", values, allow_pickle=True)
    with pytest.raises(ArtifactError, match=text):
        maps(samples=2, background=tmp_path / "b.npy")


def test_a_background_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"background '.*none\.npy' does not exist"):
        maps(background=tmp_path / "none.npy")
    np.savez(tmp_path / "b.npz", a=np.zeros(1))
    (tmp_path / "b.npz").rename(tmp_path / "b.npy")
    with pytest.raises(ArtifactError, match="is an archive"):
        maps(background=tmp_path / "b.npy")


@pytest.mark.parametrize("stored", [">f4", ">f8", "<f2", "u1"])
def test_baselines_are_read_in_any_byte_order(stored: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2, (2, 3, 16, 16))
    np.save(tmp_path / "plain.npy", values.astype(np.float32))
    np.save(tmp_path / "stored.npy", values.astype(stored) * (255 if stored == "u1" else 1))
    plain, found = (maps(samples=4, background=tmp_path / f"{name}.npy") for name in ("plain", "stored"))
    assert torch.equal(found, plain)

"""The cache of denoised samples: what a larger request costs, what is kept, and smoothings of plugins."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import vitfaith.stages.denoise as stage
from tests.denoisers.conftest import tiny_unet
from vitfaith.artifacts.images import encode_images
from vitfaith.artifacts.samples import read_denoised
from vitfaith.artifacts.schemas import SHARDS
from vitfaith.artifacts.store import read_provenance, write_table
from vitfaith.cli.main import app
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.denoisers.schedule import Schedule
from vitfaith.errors import InputError
from vitfaith.plugins import load_plugin
from vitfaith.smoothings.registry import SMOOTHINGS
from vitfaith.stages.denoise import run_denoise

IDS = ["a", "b", "c"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``cache(samples, …)`` runs the stage on three images and gives (samples (3, S, 1, 8, 8), provenance)."""
    images, out = tmp_path / "images.parquet", tmp_path / "denoised.parquet"
    networks = {"first": tiny_unet(3, channels=1, size=8), "other": tiny_unet(4, channels=1, size=8)}
    monkeypatch.setattr(
        stage.Denoiser, "load", lambda path, *_, **__: Denoiser(networks[str(path)], Schedule.from_config({}))
    )

    def run(
        samples: int,
        seed: int = 1,
        code: str = "code",
        denoiser: str | None = "first",
        shade: int = 0,
        keep: bool = True,
        **settings: Any,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        pixels = np.random.default_rng(7).integers(0, 200, (3, 1, 8, 8), dtype=np.uint8) + np.uint8(shade)
        shard = {"image_id": pa.array(IDS), "label": pa.array([0, 1, 2]), **encode_images(pixels)}
        write_table(pa.table(shard), images, SHARDS, {})
        if not keep:
            out.unlink(missing_ok=True)
        smoothing = {"use": "dds", "sigma": 0.25, "denoiser": "tiny", "samples": samples} | settings
        run_denoise({"seed": seed, "smoothing": smoothing}, code, images, denoiser, out, device="cpu", batch_size=3)
        return read_denoised(out, IDS), read_provenance(out)

    run.out = out  # type: ignore[attr-defined]
    return run


def test_a_larger_request_costs_the_new_samples_alone(cache: Any) -> None:
    few, facts = cache(2)
    assert (facts["forwards"], facts["kept"]) == (3 * 2, 0)
    more, facts = cache(5)
    assert (facts["forwards"], facts["kept"]) == (3 * 3, 2)
    np.testing.assert_array_equal(more[:, :2], few)
    fresh, facts = cache(5, keep=False)
    assert facts["forwards"] == 3 * 5
    np.testing.assert_array_equal(more, fresh)


def test_a_smaller_request_costs_nothing(cache: Any) -> None:
    more, _ = cache(4)
    few, facts = cache(3)
    assert (facts["forwards"], facts["kept"]) == (0, 3)
    np.testing.assert_array_equal(few, more[:, :3])


def test_the_same_request_again_leaves_the_file_as_it_is(cache: Any) -> None:
    """As after a kill between the write and Snakemake's note of it; the history of the file stays that of its first write."""
    cache(2)
    _, facts = cache(5)
    before, time = cache.out.read_bytes(), cache.out.stat().st_mtime_ns
    os.utime(cache.out, (1, 1))
    cache(5)
    assert cache.out.read_bytes() == before
    assert cache.out.stat().st_mtime_ns >= time
    assert facts["kept"] == 2


@pytest.mark.parametrize(
    "change",
    [{"seed": 2}, {"code": "new"}, {"denoiser": "other"}, {"shade": 1}, {"sigma": 0.3}, {"mode": "noise_only"}],
    ids=lambda change: next(iter(change)),
)
def test_nothing_is_kept_of_another_request(cache: Any, change: dict[str, Any]) -> None:
    cache(2)
    found, facts = cache(3, **change)
    assert facts["kept"] == 0
    np.testing.assert_array_equal(found, cache(3, keep=False, **change)[0])


def test_a_damaged_cache_is_replaced(cache: Any) -> None:
    cache(2)
    content = cache.out.read_bytes()
    cache.out.write_bytes(content[: len(content) // 2])
    _, facts = cache(2)
    assert facts["kept"] == 0


def test_multistep_counts_every_call(cache: Any) -> None:
    _, facts = cache(2, mode="multistep", steps=3)
    assert facts["forwards"] == 3 * 2 * facts["noise"]["calls"] == 18
    _, facts = cache(3, mode="multistep", steps=3)
    assert facts["forwards"] == 3 * 3


PLUGIN = '''
"""A smoothing of one's own: Gaussian noise, no denoiser."""
from vitfaith.smoothings.registry import SMOOTHINGS
from vitfaith.registry import Parameters
from vitfaith.rng import normal


class Gaussian(Parameters):
    """Noise."""

    sigma: float
    samples: int = 2

    @property
    def certified_sigma(self):
        return self.sigma


@SMOOTHINGS.register("my_gaussian", parameters=Gaussian)
def my_gaussian(denoiser, images, image_ids, parameters, samples, *, seed, batch_size):
    """Adds noise."""
    import torch

    noise = [normal(seed, image_ids, "mine", images.shape[1:], s) for s in samples]
    return images[:, None] + parameters.sigma * torch.stack(noise, 1)
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "smoothing_of_mine.py"
    path.write_text(PLUGIN)
    load_plugin(path)
    yield path
    del SMOOTHINGS._entries["my_gaussian"]


def test_a_smoothing_of_a_plugin_needs_no_denoiser_and_is_nested_too(cache: Any, plugin: Path) -> None:
    smoothing = {"use": "my_gaussian", "sigma": 0.1, "samples": 2}
    images = cache.out.parent / "images.parquet"
    cache(1)
    for samples in (2, 4):
        spec = {"seed": 1, "smoothing": smoothing | {"samples": samples}}
        run_denoise(spec, "", images, None, cache.out, device="cpu", batch_size=3)
        facts = read_provenance(cache.out)
        assert facts["kept"] == (0 if samples == 2 else 2)
        assert facts["forwards"] == 0
        found = read_denoised(cache.out, IDS)
        assert found.shape == (3, samples, 1, 8, 8)
    clean = np.random.default_rng(7).integers(0, 200, (3, 1, 8, 8), dtype=np.uint8) / 255
    assert 0.08 < (found - clean[:, None]).std() < 0.12


def test_a_job_loads_the_plugin_that_its_specification_names(cache: Any, tmp_path: Path) -> None:
    path = tmp_path / "smoothing_of_a_job.py"
    path.write_text(PLUGIN.replace("my_gaussian", "job_gaussian"))
    cache(1)
    spec = {"seed": 1, "smoothing": {"use": "job_gaussian", "sigma": 0.1}, "plugins": [str(path)]}
    files = ["--images", str(cache.out.parent / "images.parquet"), "--out", str(cache.out)]
    try:
        done = CliRunner().invoke(app, ["denoise", "--spec", json.dumps(spec), *files])
        assert done.exit_code == 0, done.output
        assert read_denoised(cache.out, IDS).shape == (3, 2, 1, 8, 8)
    finally:
        SMOOTHINGS._entries.pop("job_gaussian", None)


def test_a_smoothing_of_a_wrong_shape_is_named(cache: Any) -> None:
    @SMOOTHINGS.register("flat")
    def flat(denoiser: object, images: Tensor, *_: object, **__: object) -> Tensor:
        return torch.zeros(2, 2)

    try:
        cache(1)
        with pytest.raises(InputError, match=r"smoothing 'flat' returned shape \(2, 2\) for 1 samples"):
            run_denoise(
                {"seed": 1, "smoothing": {"use": "flat"}},
                "",
                cache.out.parent / "images.parquet",
                None,
                cache.out,
                device="cpu",
                batch_size=8,
            )
    finally:
        del SMOOTHINGS._entries["flat"]

"""Maps that keep their pixels: the same numbers before pooling, through the stages that store and score them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from tests.explainers.cases import Case, close
from tests.explainers.textbook.path import in_patches
from tests.explainers.zoo import batch, model
from vitfaith.artifacts.maps import read_maps
from vitfaith.artifacts.schemas import IMAGES, SCORES
from vitfaith.artifacts.store import read_table, write_table
from vitfaith.attacks.explanation import ExplanationParameters
from vitfaith.errors import ConfigError
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import save_classifier
from vitfaith.models.load import load_classifier
from vitfaith.stages.attribute import run_attribute
from vitfaith.stages.score import run_score

SETTINGS: dict[str, dict[str, Any]] = {
    "random": {"level": "pixel"},
    "libragrad_input_x_gradient": {"at": "pixels"},
}
"""What an explainer needs besides to have pixels."""

PIXEL_LEVEL = [
    entry.name
    for entry in EXPLAINERS
    if "resolution" in entry.parameters.model_fields and entry.name != "external"  # needs a file
]
MEANS = {"saliency", "smoothgrad", "random"}
"""Magnitudes are averaged over a patch; contributions are summed."""


def test_methods_that_attribute_to_pixels_can_keep_them() -> None:
    assert set(PIXEL_LEVEL) == {
        "random", "saliency", "input_x_gradient", "smoothgrad", "integrated_gradients", "lrp", "cp_lrp", "attnlrp",
        "libragrad_input_x_gradient", "expected_gradients",
    }  # fmt: skip


@pytest.mark.parametrize("name", PIXEL_LEVEL)
@pytest.mark.parametrize("kind", ["class_token", "oblong"])
def test_patches_are_the_pixels_pooled(name: str, kind: str) -> None:
    settings = SETTINGS.get(name, {})
    classifier = model(kind)
    pixels = Case(EXPLAINERS[name], {**settings, "resolution": "pixel"}).run(classifier)
    assert pixels.shape == (4, *classifier.input_shape[1:])
    pooled = torch.stack([in_patches(field, classifier.grid) for field in pixels])
    close(Case(EXPLAINERS[name], settings).run(classifier), pooled / (16 if name in MEANS else 1), 2e-5)
    alone = Case(EXPLAINERS[name], {**settings, "resolution": "pixel"}).run(classifier, [2], batch_size=1)
    close(alone, pixels[[2]], 1e-5)


def test_captums_pixels_are_ours() -> None:
    from captum.attr import InputXGradient, Saliency

    classifier = model("class_token")
    images, targets, _ = batch(classifier)
    images.requires_grad_()
    for name, theirs in (("saliency", Saliency), ("input_x_gradient", InputXGradient)):
        pixels = theirs(classifier).attribute(images, target=targets).detach()
        expected = pixels.amax(1) if name == "saliency" else pixels.sum(1)
        close(Case(EXPLAINERS[name], {"resolution": "pixel"}).run(classifier), expected, 1e-5)


def test_external_pixels_are_kept(tmp_path: Path) -> None:
    classifier = model("class_token")
    images, targets, ids = batch(classifier)
    values = np.random.default_rng(0).random((4, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "maps.npz", image_ids=np.array(ids), maps=values)
    external = EXPLAINERS.item("external", path=tmp_path / "maps.npz", resolution="pixel")
    found = explain(classifier, images, targets, ids, {"it": external}, seed=0, batch_size=3)["it"]
    assert np.array_equal(found.numpy(), values)


@pytest.mark.parametrize(("name", "settings"), [("cp_lrp", {"at": "tokens"}), ("random", {"level": "patch"})])
def test_what_has_no_pixels_says_so(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises((ConfigError, ValidationError), match="resolution 'pixel'"):
        EXPLAINERS[name].parameters(resolution="pixel", **settings)


def test_attacks_on_explanations_refuse_pixels() -> None:
    with pytest.raises((ConfigError, ValidationError), match="resolution to patch"):
        ExplanationParameters(explainer="saliency", arguments={"resolution": "pixel"})


ARGUMENTS = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 3, "num_heads": 3, "mlp_ratio": 2.0,
             "num_classes": 5}  # fmt: skip


def test_pixel_maps_pass_through_the_stages(tmp_path: Path) -> None:
    """Stored with their own size, and scored by a SaCo of pixels whose groups are the pixels' own order."""
    classifier = model("class_token")
    images, targets, ids = batch(classifier)
    pixels = (images * 255).round().to(torch.uint8)
    shard = _shard(tmp_path / "images.parquet", pixels, targets, ids)
    save_classifier(classifier, tmp_path / "weights.safetensors", {})
    spec = {
        "model": {"timm": "vit_tiny_patch16_224", "arguments": ARGUMENTS, "mean": [0.5] * 3, "std": [0.25] * 3},
        "methods": {
            "fine": {"use": "saliency", "resolution": "pixel"},
            "coarse": {"use": "saliency"},
        },
        "metrics": {
            "pixel": {"use": "saco", "level": "pixel", "groups": [8]},
            "patch": {"use": "saco", "groups": [8]},
        },
        "seed": 0,
        "precision": "float32",
    }
    weights = tmp_path / "weights.safetensors"
    run_attribute(spec, "", shard, None, weights, tmp_path / "maps.parquet", device="cpu", batch_size=3)
    maps = {method: values for method, (_, values) in read_maps(tmp_path / "maps.parquet").items()}
    assert maps["fine"].shape == (4, 16, 16)
    assert maps["coarse"].shape == (4, 4, 4)
    run_score(spec, "", shard, tmp_path / "maps.parquet", weights, tmp_path / "scores.parquet",
              tmp_path / "curves.parquet", device="cpu", batch_size=7)  # fmt: skip
    table = read_table(tmp_path / "scores.parquet", SCORES).to_pandas().set_index(["method", "metric", "image_id"])
    assert (table.flag == "").all()
    again = load_classifier(spec["model"], weights)
    for i, image_id in enumerate(ids):
        image = pixels[i].float() / 255
        expected = _textbook_saco(again, image, int(targets[i]), torch.from_numpy(maps["fine"][i].copy()), 8)
        assert table.value["fine", "pixel", image_id] == pytest.approx(expected, abs=1e-6)
        # A metric of patches reads the pixels' sums, which rank as the map on the patch grid does.
        assert table.value["fine", "patch", image_id] == pytest.approx(
            table.value["coarse", "patch", image_id], abs=1e-5
        )
        assert table.value["fine", "pixel", image_id] != table.value["coarse", "pixel", image_id]


def test_scores_do_not_depend_on_maps_of_the_other_size() -> None:
    classifier = model("class_token")
    images, targets, ids = batch(classifier)
    maps = {name: torch.rand(4, size, size) for name, size in (("fine", 16), ("coarse", 4))}
    metrics = {level: METRICS.item("saco", level=level, groups=[4]) for level in ("pixel", "patch")}
    both = evaluate(classifier, images, targets, ids, maps, metrics)
    assert both.forwards == sum(
        evaluate(classifier, images, targets, ids, {name: one}, metrics).forwards for name, one in maps.items()
    )
    for name, one in maps.items():
        alone = evaluate(classifier, images, targets, ids, {name: one}, metrics).scores.to_pandas()
        shared = both.scores.to_pandas()
        shared = shared[shared.method == name].reset_index(drop=True)
        assert shared.equals(alone)


def _textbook_saco(classifier: Any, image: Tensor, target: int, field: Tensor, groups: int) -> float:
    """Wu et al., algorithm 1, over pixels: groups by descending salience, each painted in the image's mean grey."""
    order = field.flatten().argsort(descending=True, stable=True).chunk(groups)
    with torch.no_grad():
        whole = float(classifier(image[None]).softmax(-1)[0, target])
        salience, drops = [], []
        for group in order:
            hidden = image.clone().flatten(1)
            hidden[:, group] = image.mean()
            salience.append(float(field.flatten()[group].double().sum()))
            drops.append(whole - float(classifier(hidden.view_as(image)[None]).softmax(-1)[0, target]))
    total = weight = 0.0
    for i in range(groups):
        for j in range(i + 1, groups):
            gap = salience[i] - salience[j]
            total += gap if drops[i] >= drops[j] else -gap
            weight += abs(gap)
    return total / weight


def _shard(path: Path, pixels: Tensor, targets: Tensor, ids: list[str]) -> Path:
    import pyarrow as pa

    count, channels, height, width = pixels.shape
    columns = {
        "image_id": ids,
        "label": targets.tolist(),
        "target": targets.tolist(),
        "channels": [channels] * count,
        "height": [height] * count,
        "width": [width] * count,
        "pixels": [image.numpy().tobytes() for image in pixels],
    }
    columns |= {"prediction": targets.tolist(), "success": [False] * count, "linf": [0.0] * count, "l2": [0.0] * count}
    write_table(pa.table(columns), path, IMAGES, {})
    return path

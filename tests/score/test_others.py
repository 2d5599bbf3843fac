"""Soft-masked confidence, completeness and complexity: textbook loops, torchcam, quantus, laws, cost."""

from __future__ import annotations

import contextlib
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import quantus
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchcam.metrics import ClassificationMetric

from tests.score.textbook import bilinear, distribution
from vitfaith.errors import InputError
from vitfaith.models.classifier import Classifier
from vitfaith.score.evaluate import Evaluation, evaluate
from vitfaith.score.metrics.others import entropy, gini
from vitfaith.score.registry import METRICS

SOFT = ["average_drop", "average_increase", "average_gain"]
NAMES = [*SOFT, "completeness_error", "sparsity_gini", "entropy"]


@pytest.fixture(scope="module")
def maps() -> Tensor:
    return torch.randint(-512, 512, (5, 4, 4), generator=torch.Generator().manual_seed(2)) / 64


def scored(
    vit: Classifier, images: Tensor, targets: Tensor, ids: list[str], maps: dict[str, Tensor], **chosen: dict[str, Any]
) -> Evaluation:
    metrics = {name: (name, METRICS[name].parameters(**chosen.get(name, {}))) for name in chosen or NAMES}
    return evaluate(vit, images, targets, ids, maps, metrics, batch_size=8)


def values(result: Evaluation, name: str, method: str = "m") -> np.ndarray:
    frame = result.scores.to_pandas()
    return frame[(frame.metric == name) & (frame.method == method)].value.to_numpy()


def blended(image: Tensor, cells: Tensor, fill: float | Tensor) -> Tensor:
    pixels = bilinear(cells.double().numpy(), 16, 16)
    mask = torch.from_numpy((pixels - pixels.min()) / (pixels.max() - pixels.min())).float()
    return mask * image + (1 - mask) * fill


@pytest.mark.parametrize("fill", ["black", "image_mean"])
def test_soft_masks_textbook(
    fill: str, vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor
) -> None:
    result = scored(vit, images, targets, image_ids, {"m": maps}, **{name: {"fill": fill} for name in SOFT})
    for i in range(5):
        background = 0.0 if fill == "black" else images[i].mean()
        f = math.exp(distribution(vit, images[i])[targets[i]])
        masked = math.exp(distribution(vit, blended(images[i], maps[i], background))[targets[i]])
        assert values(result, "average_drop")[i] == pytest.approx(max(0, f - masked) / f, rel=1e-3, abs=1e-6)
        assert values(result, "average_gain")[i] == pytest.approx(max(0, masked - f) / (1 - f), rel=1e-3, abs=1e-6)
        assert values(result, "average_increase")[i] == (masked > f)


class FixedMaps:
    """What torchcam asks of an extractor."""

    def __init__(self, model: Classifier, maps: Tensor) -> None:
        self.model, self.maps = model, maps

    def __call__(self, *args: object, **kwargs: object) -> list[Tensor]:
        return [self.maps]

    def fuse_cams(self, cams: list[Tensor]) -> Tensor:
        return cams[0]

    def _hooks_off(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def test_drop_and_increase_equal_torchcam(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor
) -> None:
    pixels = torch.nn.functional.interpolate(maps[:, None], (16, 16), mode="bilinear", align_corners=False)[:, 0]
    low, high = pixels.amin((1, 2), keepdim=True), pixels.amax((1, 2), keepdim=True)
    theirs = ClassificationMetric(FixedMaps(vit, (pixels - low) / (high - low)), partial(torch.softmax, dim=-1))
    theirs.update(images, class_idx=targets.tolist())
    result = scored(vit, images, targets, image_ids, {"m": maps})
    assert values(result, "average_drop").mean() == pytest.approx(theirs.summary()["avg_drop"], abs=1e-5)
    assert values(result, "average_increase").mean() == theirs.summary()["conf_increase"]


@pytest.mark.parametrize("output", ["probability", "log_probability", "logit"])
def test_completeness_textbook(
    output: str, vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor
) -> None:
    result = scored(vit, images, targets, image_ids, {"m": maps}, completeness_error={"output": output})
    for i in range(5):
        both = (images[i], torch.zeros(3, 16, 16))
        ends = [float(distribution(vit, x)[targets[i]]) for x in both]
        ends = [math.exp(end) for end in ends] if output == "probability" else ends
        if output == "logit":
            ends = [float(vit(x[None])[0, targets[i]].double()) for x in both]
        change = ends[0] - ends[1]
        total = sum(float(v) for v in maps[i].flatten())
        assert values(result, "completeness_error")[i] == pytest.approx(abs(total - change), rel=1e-5)


def test_a_complete_map_has_no_completeness_error(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor
) -> None:
    logits = vit(torch.cat([images, torch.zeros_like(images)])).double().unflatten(0, (2, 5))
    change = (logits[0] - logits[1]).gather(1, targets[:, None])[:, 0].float()
    complete = maps + (change - maps.sum((1, 2)))[:, None, None] / 16
    result = scored(vit, images, targets, image_ids, {"m": complete}, completeness_error={})
    assert (values(result, "completeness_error") < 1e-4).all()


def test_gini_and_entropy_equal_quantus_and_loops(maps: Tensor) -> None:
    flat = maps.abs().flatten(1).double()
    arrays = {"model": None, "x_batch": None, "y_batch": None, "softmax": False, "channel_first": True}
    for name, ours, metric in [
        ("gini", gini(maps), quantus.Sparseness),
        ("entropy", entropy(maps), quantus.Complexity),
    ]:
        theirs = metric(abs=True, normalise=False, disable_warnings=True).evaluate_batch(
            **arrays, a_batch=flat.numpy().copy()[:, None, None]
        )
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-5, err_msg=name)
    for i in range(5):
        a = sorted(flat[i].tolist())
        pairs = sum(abs(x - y) for x in a for y in a) / (2 * 16 * sum(a))
        assert float(gini(maps)[i]) == pytest.approx(pairs)
        shares = [x / sum(a) for x in a if x > 0]
        assert float(entropy(maps)[i]) == pytest.approx(-sum(p * math.log(p) for p in shares))


def test_complexity_by_hand() -> None:
    one = torch.zeros(2, 3, 4)
    one[0, 1, 2] = -5.0  # one patch holds everything
    one[1] = 2.0  # every patch the same
    assert gini(one).tolist() == pytest.approx([1 - 1 / 12, 0])
    assert entropy(one).tolist() == pytest.approx([0, math.log(12)])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-3, 1e3))
def test_complexity_ignores_scale_sign_and_order(seed: int, scale: float) -> None:
    maps = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(seed))
    for function in (gini, entropy):
        torch.testing.assert_close(function(-scale * maps.flip(1)), function(maps), rtol=1e-5, atol=1e-7)


def test_soft_masks_ignore_affine_changes_of_the_map(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor
) -> None:
    result = scored(vit, images, targets, image_ids, {"m": maps, "n": 4 * maps + 8})
    for name in SOFT:
        np.testing.assert_allclose(values(result, name), values(result, name, "n"), rtol=1e-4, atol=1e-6)


def test_singles_equal_batch_and_flags_leave_neighbours_alone(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor
) -> None:
    broken = maps.clone()
    broken[1], broken[2, 0, 0] = 1.0, torch.inf
    result = scored(vit, images, targets, image_ids, {"bad": broken, "m": maps})
    frame = result.scores.to_pandas().set_index(["image_id", "method", "metric"])
    for name in NAMES:
        column = frame.xs(("bad", name), level=("method", "metric"))
        assert column.flag.tolist() == ["", "constant", "nan", "", ""]
        np.testing.assert_array_equal(column.value.isna(), column.flag != "")
    for i in (4, 0):
        alone = scored(vit, images[i : i + 1], targets[i : i + 1], image_ids[i : i + 1], {"m": maps[i : i + 1]})
        single = alone.scores.to_pandas().set_index(["image_id", "method", "metric"]).value
        np.testing.assert_allclose(single, frame.value.loc[single.index], rtol=1e-4, atol=1e-6)


def test_one_forward_a_map_serves_all(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor
) -> None:
    constant = maps.clone()
    constant[0] = 0.0
    result = scored(vit, images, targets, image_ids, {"m": maps, "n": constant})
    assert result.forwards == 5 + 5 + 9  # clean, black, and one image for each usable map
    assert scored(vit, images, targets, image_ids, {"m": maps}, entropy={}, sparsity_gini={}).forwards <= 5


def test_a_fill_that_needs_a_mask_is_refused(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor
) -> None:
    with pytest.raises(InputError, match="noisy_linear"):
        scored(vit, images, targets, image_ids, {"m": maps}, average_drop={"fill": "noisy_linear"})

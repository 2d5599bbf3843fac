"""Soft-masked confidence, completeness and complexity: values by hand, laws, cost."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from vitfaith.errors import InputError
from vitfaith.metrics.evaluate import Evaluation, evaluate
from vitfaith.metrics.others import entropy, gini
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier

SOFT = ["average_drop", "average_increase", "average_gain"]
NAMES = [*SOFT, "completeness_error", "sparsity_gini", "entropy"]


@pytest.fixture(scope="module")
def maps() -> Tensor:
    return torch.randint(-512, 512, (5, 4, 4), generator=torch.Generator().manual_seed(2)) / 64


def scored(
    vit: Classifier, images: Tensor, targets: Tensor, ids: list[str], maps: dict[str, Tensor], **chosen: dict[str, Any]
) -> Evaluation:
    metrics = {name: METRICS.item(name, **chosen.get(name, {})) for name in chosen or NAMES}
    return evaluate(vit, images, targets, ids, maps, metrics, batch_size=8)


def values(result: Evaluation, name: str, method: str = "m") -> np.ndarray:
    frame = result.scores.to_pandas()
    return frame[(frame.metric == name) & (frame.method == method)].value.to_numpy()


def test_a_complete_map_has_no_completeness_error(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor
) -> None:
    logits = vit(torch.cat([images, torch.zeros_like(images)])).double().unflatten(0, (2, 5))
    change = (logits[0] - logits[1]).gather(1, targets[:, None])[:, 0].float()
    complete = maps + (change - maps.sum((1, 2)))[:, None, None] / 16
    result = scored(vit, images, targets, image_ids, {"m": complete}, completeness_error={})
    assert (values(result, "completeness_error") < 1e-4).all()


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


@pytest.mark.parametrize("fill", ["noisy_linear", "diffmask_placeholder", {"name": "diffusion", "denoiser": "a"}])
def test_a_fill_that_needs_a_mask_is_refused(fill: object) -> None:
    """When the settings are made, before anything runs; an imputer that is handed over is refused when it is seen."""
    with pytest.raises(ValidationError, match="depends on the removed pixels"):
        METRICS["average_drop"].parameters(fill=fill)


def test_an_imputer_cannot_be_blended(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor
) -> None:
    chosen = {"average_drop": METRICS.item("average_drop", fill="given")}
    extras = {"infill": lambda images, *_: images}
    with pytest.raises(InputError, match="'given' cannot be blended"):
        evaluate(vit, images, targets, image_ids, {"m": maps}, chosen, extras=extras)

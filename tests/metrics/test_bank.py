"""The response bank and the metrics that read it: laws, cost, flags."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from vitfaith.errors import InputError
from vitfaith.metrics.bank.build import build_bank
from vitfaith.metrics.bank.masks import BankRequest, Singles
from vitfaith.metrics.correlation import pearson, spearman
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.fills.registry import FILLS
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier
from vitfaith.registry import Item

NAMES = [
    "faithfulness_correlation",
    "mu_fidelity",
    "infidelity",
    "sensitivity_n",
    "faithfulness_estimate",
    "single_deletion_score",
    "monotonicity_correlation",
]
SETTINGS: dict[str, dict[str, Any]] = {
    "faithfulness_correlation": {"count": 12},
    "mu_fidelity": {"count": 12, "side": 3, "size": 2},
    "infidelity": {"count": 12},
    "sensitivity_n": {"count": 12, "sizes": (2, 0.5)},
    "single_deletion_score": {"cells": 2},
}


@pytest.fixture(scope="module")
def maps() -> Tensor:
    return torch.randint(-512, 512, (5, 4, 4), generator=torch.Generator().manual_seed(2)) / 64


def entry(name: str, **settings: Any) -> Item:
    return METRICS.item(name, **{**SETTINGS.get(name, {}), **settings})


def everything() -> dict[str, Item]:
    return {name: entry(name) for name in NAMES}


def scores(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor, name: str, **settings: Any
) -> dict[str, np.ndarray]:
    table = evaluate(vit, images, targets, image_ids, {"m": maps}, {"x": entry(name, **settings)}, batch_size=64).scores
    frame = table.to_pandas()
    return {variant: part.value.to_numpy() for variant, part in frame.groupby("variant", sort=False)}


def test_sets_of_one_size_are_shared_by_two_names(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor
) -> None:
    arguments = (vit, images, targets, image_ids, maps)
    bhatt = scores(*arguments, "faithfulness_correlation", size=0.2, count=12)[""]
    ancona = scores(*arguments, "sensitivity_n", sizes=(0.2,), count=12)["n=0.2"]
    np.testing.assert_array_equal(bhatt, ancona)


def test_only_noise_has_several_draws(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor
) -> None:
    with pytest.raises(InputError, match="draws=2"):
        scores(vit, images, targets, image_ids, maps, "monotonicity_correlation", draws=2)


@pytest.mark.parametrize("name", NAMES)
def test_a_map_that_states_the_drops_scores_best(
    name: str, vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]
) -> None:
    """Additive responses: each patch's own drop is the right map where one patch is removed at a time."""
    bank = build_bank(vit, images, targets, image_ids, [BankRequest(Singles(), FILLS.item("image_mean"))])
    stored = next(iter(bank.responses.values())).probability
    drops = (bank.clean.probability[:, None] - stored).view(5, 4, 4).float()
    result = scores(vit, images, targets, image_ids, drops, name)
    if name in ("faithfulness_estimate", "monotonicity_correlation"):
        np.testing.assert_allclose(result[""], 1, atol=1e-4)
    flipped = scores(vit, images, targets, image_ids, -drops, name)
    for variant, values in result.items():
        if name in ("infidelity", "monotonicity_correlation"):  # a fitted factor, or |a|, does not see the sign
            np.testing.assert_allclose(flipped[variant], values, rtol=1e-6)
        else:
            np.testing.assert_allclose(flipped[variant], -values, rtol=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.integers(-3, 3), min_size=6, max_size=6), min_size=1, max_size=4), st.integers(0, 99))
def test_correlations_equal_scipy_with_ties(rows: list[list[int]], seed: int) -> None:
    x = torch.tensor(rows, dtype=torch.float64)
    y = torch.from_numpy(np.random.default_rng(seed).integers(0, 4, size=(len(rows), 6)).astype(float))
    for ours, theirs in [(pearson, stats.pearsonr), (spearman, stats.spearmanr)]:
        for a, b, value in zip(x.numpy(), y.numpy(), ours(x, y).tolist(), strict=True):
            constant = len(set(a)) == 1 or len(set(b)) == 1
            assert value == pytest.approx(np.nan if constant else theirs(a, b).statistic, abs=1e-9, nan_ok=True)


def test_results_do_not_depend_on_neighbours_or_batches(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor
) -> None:
    together = evaluate(vit, images, targets, image_ids, {"m": maps, "n": -maps.exp()}, everything(), batch_size=7)
    frame = together.scores.to_pandas().set_index(["image_id", "method", "metric", "variant"]).value
    for i in (3, 0):
        alone = evaluate(
            vit, images[i : i + 1], targets[i : i + 1], image_ids[i : i + 1], {"m": maps[i : i + 1]}, everything()
        )
        single = alone.scores.to_pandas().set_index(["image_id", "method", "metric", "variant"]).value
        assert len(single) == 8
        np.testing.assert_allclose(single, frame.loc[single.index], rtol=1e-4, atol=1e-6)


def test_masks_are_evaluated_once_for_all_methods_and_metrics(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor
) -> None:
    chosen = {n: entry(n, size=0.2, count=12, **({"side": None} if n == "mu_fidelity" else {})) for n in NAMES[:3]}
    chosen |= {n: entry(n) for n in ("faithfulness_estimate", "monotonicity_correlation")}
    chosen["sensitivity_n"] = entry("sensitivity_n", sizes=(0.2,), count=12)
    methods = {f"m{i}": maps + i * maps.flip(1) for i in range(4)}
    result = evaluate(vit, images, targets, image_ids, methods, chosen)
    assert result.forwards == 5 * (1 + 12 + 16)


def test_unusable_maps_are_flagged(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor
) -> None:
    broken = maps.clone()
    broken[1] = 2.0
    broken[2, 0, 0] = torch.nan
    frame = evaluate(vit, images, targets, image_ids, {"m": broken}, everything()).scores.to_pandas()
    for (_, _), part in frame.groupby(["metric", "variant"]):
        assert part.flag.tolist() == ["", "constant", "nan", "", ""]
        assert part.value.notna().tolist() == [True, False, False, True, True]

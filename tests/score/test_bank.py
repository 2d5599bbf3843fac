"""The response bank and the metrics that read it: textbook loops, captum, quantus, laws, cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import quantus
import torch
from captum.metrics import infidelity as captum_infidelity
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from tests.conftest import tiny_vit
from tests.score.textbook import distribution, without
from vitfaith.bank.build import build_bank
from vitfaith.bank.masks import BankRequest, Singles, Subsets
from vitfaith.errors import InputError
from vitfaith.models.classifier import Classifier
from vitfaith.rng import uniform
from vitfaith.score import bank_metrics
from vitfaith.score.evaluate import evaluate
from vitfaith.score.fills import resolve_fill
from vitfaith.score.registry import METRICS

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


def entry(name: str, **settings: Any) -> tuple[str, Any]:
    return name, METRICS[name].parameters(**{**SETTINGS.get(name, {}), **settings})


def everything() -> dict[str, tuple[str, Any]]:
    return {name: entry(name) for name in NAMES}


def scores(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor, name: str, **settings: Any
) -> dict[str, np.ndarray]:
    table = evaluate(vit, images, targets, image_ids, {"m": maps}, {"x": entry(name, **settings)}, batch_size=64).scores
    frame = table.to_pandas()
    return {variant: part.value.to_numpy() for variant, part in frame.groupby("variant", sort=False)}


class Loops:
    """Explicit loops over images and sets; every forward is of one image."""

    def __init__(self, vit: Classifier, images: Tensor, targets: Tensor, maps: Tensor) -> None:
        self.vit, self.images, self.targets, self.maps = vit, images, targets, maps.double().flatten(1)

    def drop(self, image: int, patches: list[int], log: bool = False, fill: Tensor | None = None) -> float:
        filling = self.images[image].mean().expand(3, 16, 16) if fill is None else fill
        target = int(self.targets[image])
        clean = distribution(self.vit, self.images[image])[target]
        masked = distribution(self.vit, without(self.images[image], patches, filling, (4, 4)))[target]
        return clean - masked if log else float(np.exp(clean) - np.exp(masked))

    def pairs(self, image: int, sets: list[list[int]], log: bool = False) -> tuple[list[float], list[float]]:
        sums = [sum(float(self.maps[image, p]) for p in patches) for patches in sets]
        return sums, [self.drop(image, patches, log) for patches in sets]


@pytest.fixture(scope="module")
def loops(vit: Classifier, images: Tensor, targets: Tensor, maps: Tensor) -> Loops:
    return Loops(vit, images, targets, maps)


def sets_of(masks: Any, image_ids: list[str], image: int, seed: int = 0) -> list[list[int]]:
    chosen = masks.masks((4, 4), image_ids, seed)[image]
    return [row.nonzero().flatten().tolist() for row in chosen]


@pytest.mark.parametrize("output", ["probability", "log_probability"])
def test_random_sets_textbook(
    vit: Classifier,
    images: Tensor,
    targets: Tensor,
    image_ids: list[str],
    maps: Tensor,
    loops: Loops,
    output: str,
) -> None:
    arguments = (vit, images, targets, image_ids, maps)
    settings = {"size": 0.2, "count": 12, "output": output}
    bhatt = scores(*arguments, "faithfulness_correlation", **settings)[""]
    fel = scores(*arguments, "mu_fidelity", side=None, **settings)[""]
    ancona = scores(*arguments, "sensitivity_n", sizes=(0.2,), count=12, output=output)["n=0.2"]
    yeh = {s: scores(*arguments, "infidelity", scaled=s, **settings)[""] for s in (True, False)}
    for image in range(5):
        sums, drops = loops.pairs(image, sets_of(Subsets(0.2, 12), image_ids, image), output == "log_probability")
        assert bhatt[image] == pytest.approx(stats.pearsonr(sums, drops).statistic, abs=2e-4)
        assert ancona[image] == bhatt[image]
        assert fel[image] == pytest.approx(stats.spearmanr(sums, drops).statistic, abs=1e-9)
        beta = sum(s * d for s, d in zip(sums, drops, strict=True)) / sum(s * s for s in sums)
        for scaled, factor in [(True, beta), (False, 1.0)]:
            errors = [(factor * s - d) ** 2 for s, d in zip(sums, drops, strict=True)]
            assert yeh[scaled][image] == pytest.approx(sum(errors) / 12, rel=1e-4)


def test_single_patches_and_cells_textbook(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor, loops: Loops
) -> None:
    arguments = (vit, images, targets, image_ids, maps)
    estimate = scores(*arguments, "faithfulness_estimate")[""]
    monotone = scores(*arguments, "monotonicity_correlation")[""]
    deletion = scores(*arguments, "single_deletion_score", cells=2)[""]
    cells = [[4 * (2 * r + i) + 2 * c + j for i in (0, 1) for j in (0, 1)] for r in (0, 1) for c in (0, 1)]
    for image in range(5):
        values, drops = loops.pairs(image, [[p] for p in range(16)])
        assert estimate[image] == pytest.approx(stats.pearsonr(values, drops).statistic, abs=2e-4)
        expected = stats.spearmanr(np.abs(values), np.square(drops)).statistic
        assert monotone[image] == pytest.approx(expected, abs=1e-9)
        sums, drops = loops.pairs(image, cells)
        assert deletion[image] == pytest.approx(stats.spearmanr(sums, drops).statistic, abs=1e-9)


def test_monotonicity_averages_squared_responses_over_noise_draws(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor, loops: Loops
) -> None:
    ours = scores(vit, images, targets, image_ids, maps, "monotonicity_correlation", fill="noise", draws=2)[""]
    for image in range(2):
        mean = np.zeros(16)
        for draw in range(2):
            fill = uniform(0, image_ids, "fill-noise", (3, 16, 16), draw)[image]
            mean += [loops.drop(image, [p], fill=fill) ** 2 / 2 for p in range(16)]
        expected = stats.spearmanr(maps[image].abs().flatten(), mean).statistic
        assert ours[image] == pytest.approx(expected, abs=1e-9)
    with pytest.raises(InputError, match="draws=2"):
        scores(vit, images, targets, image_ids, maps, "monotonicity_correlation", draws=2)


@pytest.mark.parametrize("scaled", [True, False])
def test_infidelity_equals_captum(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor, scaled: bool
) -> None:
    ours = scores(vit, images, targets, image_ids, maps, "infidelity", size=0.3, count=10, fill="black", scaled=scaled)[
        ""
    ]
    masks = Subsets(0.3, 10).masks((4, 4), image_ids, 0).unflatten(2, (4, 4)).double()
    pixels = masks.repeat_interleave(4, 2).repeat_interleave(4, 3).flatten(0, 1)[:, None].expand(-1, 3, -1, -1)
    double = Classifier(tiny_vit().backbone, [0.5] * 3, [0.25] * 3).double().eval()
    # each patch's value is spread over its 48 pixel channels, so that Iᵀa is the sum over patches
    spread = (maps.double() / 48).repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None].expand(-1, 3, -1, -1)
    theirs = captum_infidelity(
        lambda x: double(x).softmax(1),
        lambda x: (pixels, x * (1 - pixels)),
        images.double(),
        spread,
        target=targets,
        n_perturb_samples=10,
        normalize=scaled,
    )
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-4)


def test_faithfulness_estimate_equals_quantus(images: Tensor, targets: Tensor, image_ids: list[str]) -> None:
    grey = Classifier(tiny_vit(in_chans=1).backbone, [0.5], [0.25]).eval()  # quantus perturbs channel by channel
    x = images[:, :1]
    maps = torch.stack([torch.randperm(16, generator=torch.Generator().manual_seed(i)) for i in range(5)])
    maps = maps.float().view(5, 4, 4) - 8
    ours = scores(grey, x, targets, image_ids, maps, "faithfulness_estimate", fill="black")[""]
    metric = quantus.FaithfulnessEstimate(
        features_in_step=16, abs=False, normalise=False, perturb_baseline=0.0, disable_warnings=True
    )
    pixels = maps.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None]
    theirs = metric(
        model=grey,
        x_batch=x.numpy(),
        y_batch=targets.numpy(),
        a_batch=pixels.numpy(),
        device="cpu",
        softmax=True,
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_map_that_states_the_drops_scores_best(
    name: str, vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]
) -> None:
    """Additive responses: each patch's own drop is the right map where one patch is removed at a time."""
    bank = build_bank(vit, images, targets, image_ids, [BankRequest(Singles(), resolve_fill("image_mean"))])
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
    for ours, theirs in [(bank_metrics.pearson, stats.pearsonr), (bank_metrics.spearman, stats.spearmanr)]:
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

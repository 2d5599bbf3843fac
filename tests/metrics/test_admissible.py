"""The better of two right masks: laws, flags, and the consistency of the chosen side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.metrics import textbook
from tests.metrics.oracles.ground_truth import CELLS, blocks
from vitfaith.errors import InputError
from vitfaith.metrics import admissible
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier
from vitfaith.models.patches import Patches
from vitfaith.statistics import side_scores
from vitfaith.tables.pooled import pooled_summary

NAMES = ("admissible_mask", "admissible_side")


@pytest.fixture(scope="module")
def maps() -> Tensor:
    return torch.randn(5, 4, 4, generator=torch.Generator().manual_seed(8))


def scored(
    vit: Classifier,
    images: Tensor,
    targets: Tensor,
    ids: list[str],
    maps: dict[str, Tensor],
    truth: Tensor,
    **chosen: Any,
) -> pd.DataFrame:
    metrics = {name: METRICS.item(name, **chosen) for name in NAMES}
    return evaluate(vit, images, targets, ids, maps, metrics, truth=truth).scores.to_pandas()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=4, max_size=9), st.integers(1, 2**9 - 2))
def test_laws(scores: list[int], code: int) -> None:
    inside = torch.tensor([bool(code >> i & 1) for i in range(len(scores))])
    if inside.all() or not inside.any():
        inside = torch.arange(len(scores)) == 0
    maps = torch.tensor([scores], dtype=torch.float64)
    expected = textbook.admissible(np.array([scores]), inside.numpy()[None], threshold=2)
    chosen = maps > 2
    iou = admissible.overlaps(chosen, inside)
    assert float(iou.amax()) == pytest.approx(expected["iou"])
    assert float(admissible.side(chosen, inside)) == expected[""]
    for read_out in (admissible.better_best_iou, admissible.better_auroc):
        value = float(read_out(maps, inside))
        assert value == pytest.approx(expected["best_iou" if read_out is admissible.better_best_iou else "auroc"])
        assert value == pytest.approx(float(read_out(maps, ~inside))), "the two sides are alike"
        assert value == float(read_out(3 * maps - 7, inside)), "no scale"
    assert float(admissible.better_auroc(-maps, inside)) == pytest.approx(float(admissible.better_auroc(maps, inside)))
    assert torch.equal(admissible.overlaps(chosen, ~inside), iou.flip(1))
    assert float(admissible.side(chosen, ~inside)) == 1 - expected[""]


def test_both_right_masks_score_best_in_any_scale(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]
) -> None:
    tilted = CELLS + 0.2 * torch.rand(5, 4, 4, generator=torch.Generator().manual_seed(0))
    maps = {"cells": 40.0 * tilted - 100, "others": -tilted, "half": torch.rand(5, 4, 4)}
    frame = scored(vit, images, targets, image_ids, maps, blocks(CELLS))
    for method, where in (("cells", 1), ("others", 0)):
        part = frame[frame.method == method]
        assert (part[part.metric == "admissible_mask"].value == 1).all()
        assert (part[part.metric == "admissible_side"].value == where).all()
    assert (frame[(frame.method == "half") & (frame.variant == "iou")].value < 1).all()


def test_masks_keep_their_own_scale(vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]) -> None:
    mask = 0.7 + 0.2 * CELLS  # all above 0.5: everything is kept, which is neither side
    maps = {"diffmask": mask, "same": mask.clone()}
    frame = scored(vit, images, targets, image_ids, maps, blocks(CELLS), masks=("diffmask",))
    table = frame.pivot(index=["method", "image_id"], columns="variant", values="value")
    assert (table.loc["same", "exact"] == 1).all()
    assert (table.loc["diffmask", "exact"] == 0).all()
    share = CELLS.double().mean((1, 2)).numpy()
    assert table.loc["diffmask", "iou"].loc[image_ids].to_numpy() == pytest.approx(np.maximum(share, 1 - share))
    assert (table.loc["diffmask", "auroc"] == 1).all()


def test_an_empty_side_is_flagged_or_scored_when_asked(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor
) -> None:
    truth = blocks(CELLS).clone()
    truth[0], truth[1], truth[2] = 0, 1, -1
    constant = maps.clone()
    constant[3] = 0.3
    flags = ["no object", "no background", "unlabelled", "constant", ""]
    frame = scored(vit, images, targets, image_ids, {"m": constant}, truth)
    for _, part in frame.groupby(["metric", "variant"]):
        assert part.flag.tolist() == flags
        assert (part.value.isna() == (part.flag != "")).all()
    kept = 0.1 + 0.01 * maps.abs()  # removes everything: right for both one-sided images
    frame = scored(vit, images, targets, image_ids, {"m": kept}, truth, masks=("m",), one_sided="score")
    found = frame.set_index(["variant", "image_id"])
    for i in range(2):
        assert found.value["iou", f"image-{i}"] == found.value["exact", f"image-{i}"] == 1
        assert found.flag["auroc", f"image-{i}"] == found.flag["best_iou", f"image-{i}"] == "undefined"
    assert [found.value["", f"image-{i}"] for i in range(2)] == [1, 0]
    assert set(found.flag.xs("image-2", level=1)) == {"unlabelled"}


def test_patches_take_the_majority_of_their_labelled_pixels() -> None:
    truth = torch.zeros(4, 6, dtype=torch.int8)
    truth[:2, :2] = torch.tensor([[1, 1], [1, 0]])
    truth[:2, 2:4] = torch.tensor([[1, 1], [0, 0]])  # a tie is background
    truth[2:, :2] = -1
    truth[2:, 2:4] = torch.tensor([[-1, -1], [-1, 1]])
    assert admissible.patch_truth(truth, Patches.even((2, 3), (4, 6))).tolist() == [1, 0, 0, -1, 1, 0]
    one = torch.randint(0, 2, (3, 5), generator=torch.Generator().manual_seed(1))
    wide = one.repeat_interleave(4, 0).repeat_interleave(2, 1)
    assert torch.equal(admissible.patch_truth(wide, Patches.even((3, 5), (12, 10))), one.flatten())
    assert torch.equal(
        admissible.patch_truth(wide, Patches.even((6, 10), (12, 10))).view(6, 10),
        one.repeat_interleave(2, 0).repeat_interleave(2, 1),
    )


def test_singles_equal_batch(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor
) -> None:
    key = ["image_id", "metric", "variant"]
    both = {"m": maps, "other": maps.flip(1)}
    scores = scored(vit, images, targets, image_ids, both, blocks(CELLS))
    together = scores[scores.method == "m"].set_index(key).value
    for i in (0, 4):
        p = slice(i, i + 1)
        alone = scored(vit, images[p], targets[p], image_ids[p], {"m": maps[p]}, blocks(CELLS)[p]).set_index(key).value
        pd.testing.assert_series_equal(alone, together.loc[alone.index], check_exact=True)


def sides(values: list[float], method: str = "m") -> pd.DataFrame:
    names = [f"{i:02d}" for i in range(len(values))]
    return pd.DataFrame({"method": method, "image_id": names, "variant": "", "value": values, "flag": ""})


def test_consistency_is_the_share_of_the_majority() -> None:
    frame = pd.concat([sides([1, 1, 0, 1, np.nan]), sides([0, 0, 0, 0, 0], "all"), sides([0, 1, 0.5, 0.5, 0], "ties")])
    table = side_scores(frame, ["method"], resamples=400, confidence=0.9).set_index("method")
    assert table["mean"].to_dict() == {"m": 0.75, "all": 1.0, "ties": pytest.approx(0.6)}
    assert table.n.to_dict() == {"m": 4, "all": 5, "ties": 5}
    assert table.flagged.to_dict() == {"m": 1, "all": 0, "ties": 0}
    assert table.loc["all", ["low", "high"]].tolist() == [1, 1]
    assert 0.5 <= table.low["m"] <= 0.75 <= table.high["m"] <= 1
    shuffled = side_scores(frame.sample(frac=1, random_state=0), ["method"], resamples=400, confidence=0.9)
    pd.testing.assert_frame_equal(shuffled.set_index("method"), table)
    with pytest.raises(InputError, match="two rows"):
        side_scores(pd.concat([frame, frame]), ["method"])


def test_interval_of_the_consistency_is_a_percentile_bootstrap() -> None:
    values = [1.0] * 70 + [0.0] * 30
    row = side_scores(sides(values), ["method"], resamples=4000).iloc[0]
    generator = np.random.default_rng(5)
    means = generator.choice(values, (4000, 100)).mean(1)
    expected = np.quantile(np.maximum(means, 1 - means), [0.025, 0.975])
    assert [row.low, row.high] == pytest.approx(expected, abs=0.02)


def test_the_summary_pools_each_metric_its_own_way() -> None:
    where = {
        "dataset": "d",
        "model": "m",
        "attack": "clean",
        "smoothing": "none",
        "explained": "clean_prediction",
        "metric": "mine",
    }
    summary = pooled_summary(
        sides([1, 0, 0, 0]).assign(**where), {"mine": "side"}, confidence=0.9, resamples=200, seed=0
    )
    assert summary[["metric", "variant", "n", "mean"]].to_numpy().tolist() == [["mine", "consistency", 4, 0.75]]

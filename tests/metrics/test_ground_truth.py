"""Localisation against segmented objects: laws, scikit-learn with ties, flags, and the data-set protocol."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from torch import Tensor

from tests.metrics.textbook import bilinear
from vitfaith.errors import ConfigError, InputError
from vitfaith.metrics import localisation
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier
from vitfaith.statistics import segmentation_scores

NAMES = [
    "segmentation",
    "localisation_ap",
    "localisation_auroc",
    "localisation_best_iou",
    "pointing_game",
    "energy_pointing_game",
    "relevance_rank_accuracy",
]


@pytest.fixture(scope="module")
def maps() -> Tensor:
    return torch.randn(5, 4, 4, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def truth() -> Tensor:
    """A rectangle an image, with an ignored border of one pixel below it."""
    labels = torch.zeros(5, 16, 16, dtype=torch.int64)
    for i in range(5):
        labels[i, 2 : 6 + i, 1 + i : 9 + i] = 1
        labels[i, 6 + i, 1 + i : 9 + i] = -1
    return labels


def scored(
    vit: Classifier,
    images: Tensor,
    targets: Tensor,
    ids: list[str],
    maps: Tensor,
    truth: Tensor | None,
    names: list[str] = NAMES,
    **parameters: Any,
) -> pd.DataFrame:
    chosen = {name: METRICS.item(name, **parameters) for name in names}
    return evaluate(vit, images, targets, ids, {"m": maps}, chosen, truth=truth).scores.to_pandas()


def by_variant(frame: pd.DataFrame, metric: str) -> dict[str, np.ndarray]:
    return {str(v): p.value.to_numpy() for v, p in frame[frame.metric == metric].groupby("variant", sort=False)}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=4, max_size=12), st.integers(1, 2**11), st.booleans())
def test_thresholded_scores_equal_scikit_learn_with_ties(scores: list[int], code: int, signed: bool) -> None:
    positive = [bool(code >> i & 1) for i in range(len(scores))]
    if all(positive) or not any(positive):
        positive = [True, *[False] * (len(scores) - 1)]
    values = torch.tensor([scores], dtype=torch.float64) - (2 if signed else 0)
    mask = torch.tensor(positive)
    assert float(localisation.threshold_average_precision(values, mask)) == pytest.approx(
        average_precision_score(positive, scores)
    )
    assert float(localisation.auroc(values, mask)) == pytest.approx(roc_auc_score(positive, scores))
    overlaps = [
        sum(p and s >= t for p, s in zip(positive, scores, strict=True))
        / sum(p or s >= t for p, s in zip(positive, scores, strict=True))
        for t in scores
    ]
    assert float(localisation.best_iou(values, mask)) == pytest.approx(max(overlaps))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=2, max_size=6), st.integers(1, 2**6))
def test_read_outs_of_ties_are_means_over_all_orders(scores: list[int], code: int) -> None:
    positive = np.array([bool(code >> i & 1) for i in range(len(scores))])
    positive[0] |= not positive.any()
    values, mask = torch.tensor([scores], dtype=torch.float64), torch.from_numpy(positive)
    precision, accuracy, area = [], [], []
    for order in itertools.permutations(range(len(scores))):
        ranked = sorted(order, key=lambda i: -scores[i])
        hits = positive[ranked]
        precision.append((hits.cumsum() / np.arange(1, len(hits) + 1))[hits].mean())
        accuracy.append(hits[: hits.sum()].mean())
        area.append(np.mean([i < j for i in np.flatnonzero(hits) for j in np.flatnonzero(~hits)] or [np.nan]))
    assert float(localisation.average_precision(values, mask)) == pytest.approx(np.mean(precision))
    assert float(localisation.rank_accuracy(values, mask)) == pytest.approx(np.mean(accuracy))
    if not positive.all():
        assert float(localisation.auroc(values, mask)) == pytest.approx(np.mean(area))


def test_untied_scores_have_the_average_precision_and_rank_accuracy_of_their_one_order() -> None:
    generator = torch.Generator().manual_seed(3)
    scores = torch.stack([torch.randperm(60, generator=generator) for _ in range(50)]).double()
    positive = torch.rand(60, generator=generator) < 0.3
    found = localisation.average_precision(scores, positive)
    assert torch.equal(found, localisation.threshold_average_precision(scores, positive))
    count = int(positive.sum())
    leading = scores.argsort(dim=1, descending=True)[:, :count]
    assert torch.equal(localisation.rank_accuracy(scores, positive), positive[leading].double().mean(1))


def test_the_place_of_equal_values_does_not_count_in_localisation() -> None:
    """A map with a plateau, and the same map and object mirrored: reading the first of equal pixels prefers one of them."""
    maps = torch.zeros(1, 8, 8, dtype=torch.float64)
    maps[0, 2, :4] = 1
    truth = torch.zeros(8, 8)
    truth[2:5, 3:8] = 1
    for flip in ((2,), (1,), (1, 2)):
        other, there = maps.flip(flip), truth.flip([axis - 1 for axis in flip])
        for read_out in (localisation.rank_accuracy, localisation.average_precision):
            one, two = (float(read_out(m.flatten(1), t.flatten() == 1)) for m, t in ((maps, truth), (other, there)))
            assert one == pytest.approx(two, abs=1e-12)
        assert float(localisation.pointing_hit(other, there, 0)) == 0.25
        assert float(localisation.pointing_hit(other, there, 1)) == 0.5


def test_a_map_of_the_object_scores_best(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]
) -> None:
    cells = torch.zeros(5, 4, 4)
    for i in range(5):
        cells[i, 1:3, 0 : 1 + i % 3] = 1
    truth = (torch.nn.functional.interpolate(cells[:, None], (16, 16), mode="bilinear")[:, 0] > 0.5).long()
    frame = scored(vit, images, targets, image_ids, cells, truth, NAMES[1:])
    for name in NAMES[1:]:
        assert (by_variant(frame, name)[""] > (0.5 if name == "energy_pointing_game" else 0.999)).all(), name


def test_pointing_tolerance_by_hand() -> None:
    maps = torch.zeros(1, 10, 10)
    maps[0, 4, 4] = 1
    truth = torch.zeros(10, 10)
    truth[7, 8] = 1  # five pixels away
    assert [float(localisation.pointing_hit(maps, truth, t)) for t in (4.99, 5.0)] == [0, 1]


def test_unusable_truth_is_flagged(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor, truth: Tensor
) -> None:
    broken = truth.clone()
    broken[0] = 0
    broken[1] = 1
    broken[2] = -1
    constant = maps.clone()
    constant[3] = 1
    frame = scored(vit, images, targets, image_ids, constant, broken)
    for name in NAMES:
        for _, part in frame[frame.metric == name].groupby("variant"):
            expected = ["no object", "no background", "unlabelled", "constant", ""]
            if name == "segmentation":
                expected = ["", "", "unlabelled", "constant", ""]
            assert part.flag.tolist() == expected, name
            assert (part.value.isna() == (part.flag != "")).all()


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.float32])
def test_the_type_of_truth_does_not_matter(
    vit: Classifier,
    images: Tensor,
    targets: Tensor,
    image_ids: list[str],
    maps: Tensor,
    truth: Tensor,
    dtype: torch.dtype,
) -> None:
    found, told = (scored(vit, images, targets, image_ids, maps, (truth == 1).to(of)) for of in (dtype, torch.int64))
    assert found.equals(told)
    with pytest.raises(
        InputError, match=r"truth is torch.uint8 with the value 255; give bool \(True: object\), or int8"
    ):
        scored(vit, images, targets, image_ids, maps, (truth == 1).byte() * 255)


def test_truth_must_be_given(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor
) -> None:
    with pytest.raises(ConfigError, match="truth"):
        scored(vit, images, targets, image_ids, maps, None, ["pointing_game"])


def test_singles_equal_batch(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor, truth: Tensor
) -> None:
    key = ["image_id", "metric", "variant"]
    together = scored(vit, images, targets, image_ids, maps, truth).set_index(key).value
    for i in (2, 4):
        part = slice(i, i + 1)
        alone = scored(vit, images[part], targets[part], image_ids[part], maps[part], truth[part]).set_index(key).value
        np.testing.assert_allclose(alone, together.loc[alone.index], rtol=1e-9)


def test_data_set_scores_follow_the_papers_protocol(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor, truth: Tensor
) -> None:
    frame = scored(vit, images, targets, image_ids, maps, truth, ["segmentation"])
    correct = labelled = 0.0
    inter, union = np.zeros(2), np.zeros(2)
    precisions, harmonic = [], []
    for i in range(5):  # the evaluation loop of the protocol, batch size 1
        pixels = bilinear(maps[i].double().numpy(), 16, 16)
        pixels = (pixels - pixels.min()) / (pixels.max() - pixels.min())
        kept = truth[i].numpy() >= 0
        guess, real = (pixels > pixels.mean())[kept].astype(int), truth[i].numpy()[kept]
        correct, labelled = correct + (guess == real).sum(), labelled + kept.sum()
        for label in range(2):
            inter[label] += ((guess == label) & (real == label)).sum()
            union[label] += ((guess == label) | (real == label)).sum()
        stack = np.concatenate([1 - pixels[kept], pixels[kept]])
        precisions.append(average_precision_score(np.concatenate([real == 0, real == 1]), stack))
        harmonic.append(f1_score(real, guess))
    expected = [correct / labelled, (inter / union).mean(), np.mean(precisions), np.mean(harmonic)]
    table = segmentation_scores(frame, ["method"], resamples=500)
    assert table.metric.tolist() == ["pixel_accuracy", "miou", "map", "f1"]
    assert table["mean"].tolist() == pytest.approx(expected)
    assert ((table.low < table["mean"]) & (table["mean"] < table.high)).all()
    assert table.n.tolist() == [5] * 4


def test_data_set_scores_count_flagged_images_and_check_their_input(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor, truth: Tensor
) -> None:
    constant = maps.clone()
    constant[1] = 0
    frame = scored(vit, images, targets, image_ids, constant, truth, ["segmentation"])
    table = segmentation_scores(frame, ["method"], resamples=50)
    assert table.n.tolist() == [4] * 4
    assert table.flagged.tolist() == [1] * 4
    left = frame[frame.image_id != "image-1"]
    pd.testing.assert_frame_equal(
        segmentation_scores(left, ["method"], resamples=50).drop(columns="flagged"), table.drop(columns="flagged")
    )
    with pytest.raises(InputError, match="'f1'"):
        segmentation_scores(frame[frame.variant != "f1"], ["method"])
    with pytest.raises(InputError, match="two rows"):
        segmentation_scores(pd.concat([frame, frame]), ["method"])
    assert segmentation_scores(frame.iloc[:0], ["method"]).empty

"""Curve metrics: which class accuracy refers to, and probabilities that vanish."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vitfaith.metrics.common import CurveMetric, CurveParameters, ReadOut, area, read_outs
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier

TARGETS = [0, 3, 1, 4, 3]


def test_accuracy_can_refer_to_the_explained_class(vit: Classifier, images: torch.Tensor, image_ids: list[str]) -> None:
    maps = {"m": torch.randint(-512, 512, (5, 4, 4), generator=torch.Generator().manual_seed(11)) / 64}
    with torch.no_grad():
        predicted = vit(images).argmax(1)
    by_target, by_label = (
        evaluate(vit, images, targets, image_ids, maps, {"a": METRICS.item("accuracy_auc", reference=r)}, labels=labels)
        for targets, labels, r in ((predicted, None, "target"), ((predicted + 1) % 5, predicted, "label"))
    )
    assert by_target.scores.column("value").equals(by_label.scores.column("value"))
    assert min(by_target.scores.column("value").to_pylist()) > 0, "the clean image is predicted correctly"


def test_log_odds_stay_finite_where_probabilities_vanish(
    vit: Classifier, images: torch.Tensor, image_ids: list[str]
) -> None:
    class Sharp(Classifier):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return 1e4 * super().forward(images)

    sharp = Sharp(vit.backbone, [0.5] * 3, [0.25] * 3).eval()
    maps = {"m": torch.randint(-512, 512, (5, 4, 4), generator=torch.Generator().manual_seed(11)) / 64}
    metrics = {name: METRICS.item(name) for name in ("log_odds", "diffmask_positive_nll")}
    result = evaluate(sharp, images, torch.tensor(TARGETS), image_ids, maps, metrics).scores.to_pandas()
    assert np.isfinite(result.value).all()
    assert result[result.metric == "log_odds"].value.abs().max() <= 27.64


def test_a_row_is_a_metric_of_the_module_that_it_stands_in() -> None:
    rows = [entry for entry in METRICS if issubclass(entry.implementation, CurveMetric)]
    assert len(rows) >= 22
    for entry in rows:
        assert f'        "{entry.name}",\n' in Path(str(sys.modules[entry.module].__file__)).read_text(), entry.name
        assert entry.implementation.read_out.name == entry.name
        assert entry.summary


def test_a_row_joins_the_numbers_of_its_curves_in_order(
    vit: Classifier,
    images: torch.Tensor,
    targets: torch.Tensor,
    image_ids: list[str],
    maps: dict[str, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    row = ReadOut(
        "twice",
        "Twice the LeRF area.",
        ("lerf", "morf"),
        area,
        direction="higher",
        value_range="[0, 2]",
        formula="2 ∫ p(φ) dφ, LeRF",
        citation="",
        join=lambda lerf, morf: 2 * lerf,
    )
    read_outs(__name__, CurveParameters, row)
    assert METRICS["twice"].module == __name__
    metrics = {name: METRICS.item(name) for name in ("twice", "insertion_auc")}
    scores = evaluate(vit, images, targets, image_ids, maps, metrics).scores.to_pandas()
    values = {name: part.value.to_numpy() for name, part in scores.groupby("metric")}
    assert np.array_equal(values["twice"], 2 * values["insertion_auc"])

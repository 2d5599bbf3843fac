"""The variants and curves that metrics and measures announce are the ones that they return."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import torch

from tests.conftest import tiny_vit
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.registry import Entry
from vitfaith.stability.compare import compare_maps
from vitfaith.stability.registry import STABILITY_MEASURES
from vitfaith.tables.pooled import POOLS

SETTINGS: dict[str, dict[str, Any]] = {
    "saco": {"groups": [7, 14]},
    "saco_rank": {"groups": [5], "salience": "sum"},
    "sensitivity_n": {"sizes": [4, 0.5], "count": 4},
    "irof": {"segments": 12},
}
ITEMS = {name: METRICS.item(name, **SETTINGS.get(name, {})) for name in METRICS.names}


@pytest.fixture(scope="module")
def found() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores and curves of two images by every metric."""
    draw = torch.Generator().manual_seed(5)
    images, maps = torch.rand(2, 3, 28, 28, generator=draw), {"m": torch.rand(2, 7, 7, generator=draw)}
    truth, targets = torch.zeros(2, 28, 28, dtype=torch.int8), torch.tensor([0, 3])
    truth[:, 6:17, 3:20] = 1
    table = evaluate(tiny_vit(img_size=28), images, targets, ["a", "b"], maps, ITEMS, labels=targets, truth=truth)
    return table.scores.to_pandas(), table.curves.to_pandas()


@pytest.mark.parametrize("name", ITEMS)
def test_a_metric_has_the_variants_that_it_announces(name: str, found: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    metric = ITEMS[name].implementation(ITEMS[name].parameters)
    scores = found[0][found[0]["metric"] == name]
    assert set(metric.variants) == set(scores["variant"])
    pool = POOLS.get(ITEMS[name].traits.get("pooled", ""))
    summary = scores["variant"] if pool is None else pool(scores, ["method"], resamples=10)["metric"]
    assert set(metric.summary_variants) == set(summary)


def test_several_groups_are_several_variants() -> None:
    assert ITEMS["saco"].implementation(ITEMS["saco"].parameters).variants == ("k=7", "k=14")
    assert ITEMS["sensitivity_n"].implementation(ITEMS["sensitivity_n"].parameters).variants == ("n=4", "n=0.5")


def test_the_curves_of_all_metrics_are_announced(found: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    metrics = [item.implementation(item.parameters) for item in ITEMS.values()]
    announced = {(request.name, request.variant) for metric in metrics for request in metric.curves()}
    assert announced == set(zip(found[1]["curve"], found[1]["variant"], strict=True))


@pytest.mark.parametrize("entry", STABILITY_MEASURES, ids=lambda entry: entry.name)
def test_a_measure_has_the_variants_that_it_announces(entry: Entry) -> None:
    a, b = torch.rand(2, 2, 7, 7, generator=torch.Generator().manual_seed(4)).numpy()
    item = STABILITY_MEASURES.item(entry.name, **({"k": [3, 0.2]} if entry.name == "top_k_overlap" else {}))
    if entry.name == "ssim":  # its variant names the window, which depends on the grid
        assert entry.traits["variants"] is None
    else:
        assert set(entry.traits["variants"](item.parameters)) == set(compare_maps(a, b, item))

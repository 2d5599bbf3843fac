"""Forward passes: what the page of metrics says equals what the model counts."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest
import torch

from vitfaith.metrics.engine.cost import cloudy_image, forward_cost
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier
from vitfaith.models.passes import PassCounter
from vitfaith.registry import Item

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "saco": {"groups": (5, 10)},
    "saco_rank": {"groups": (5,)},
    "irof": {"segments": 12},
    "mu_fidelity": {"size": 3},
}


@pytest.mark.parametrize("name", METRICS.names)
def test_cost_of_every_metric_equals_counted_passes(name: str, vit: Classifier) -> None:
    entry = METRICS[name]
    parameters = entry.parameters(**SMALL.get(name, {}))
    if entry.traits["value_range"] and name.startswith("diffmask"):
        parameters = entry.parameters(level="patch", steps=7)
    cost = forward_cost([entry.implementation(parameters)], (4, 4), (16, 16))
    generator = torch.Generator().manual_seed(1)
    truth = torch.zeros(1, 16, 16)
    truth[:, 4:9, 2:7] = 1
    for methods in (1, 3):
        maps = {f"m{i}": torch.rand(1, 4, 4, generator=generator) for i in range(methods)}
        with PassCounter(vit) as passes:
            evaluate(
                vit, cloudy_image((16, 16), 3), torch.tensor([1]), ["image"], maps, {"m": Item(entry, parameters)},
                labels=torch.tensor([2]), truth=truth,
            )  # fmt: skip
        assert passes.forwards == cost.per_image + methods * cost.per_map


def test_all_curve_metrics_together_cost_two_curves() -> None:
    curves = [e for e in METRICS if e.module == "vitfaith.metrics.curves"]
    assert len(curves) >= 10
    cost = forward_cost([e.implementation(e.parameters()) for e in curves], (14, 14), (224, 224))
    assert (cost.per_map, cost.per_image) == (2 * 10 - 2, 2)


def test_the_page_of_metrics_is_up_to_date() -> None:
    """Run ``python tools/metrics_page.py`` when this fails."""
    spec = importlib.util.spec_from_file_location("metrics_page", ROOT / "tools" / "metrics_page.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    text = tool.PAGE.read_text(encoding="utf-8")
    assert tool.page(text) == text
    for registry in ("metrics", "stability", "sanity"):
        for entry in tool.REGISTRIES[registry]:
            assert f"| `{entry.name}` |" in text
    assert all(e.traits["formula"] and e.traits["value_range"] for e in METRICS)


def bounds(text: str) -> tuple[float, float]:
    """The numbers of a range such as "[0, ∞) nats" or "{0, 1}"."""
    low, high = text.split(" nats")[0].strip("[]{}()").split(", ")
    named = {"∞": math.inf, "−∞": -math.inf, "½": 0.5, "−½": -0.5, "log P": math.log(16), "−1": -1.0}
    return tuple(named.get(end) if end in named else float(end) for end in (low, high))  # type: ignore[return-value]


def test_values_lie_in_the_range_that_the_page_states(vit: Classifier, images: torch.Tensor) -> None:
    metrics = {name: METRICS.item(name, **SMALL.get(name, {})) for name in METRICS.names}
    maps = {"m": torch.randn(5, 4, 4, generator=torch.Generator().manual_seed(2))}
    truth = torch.zeros(5, 16, 16)
    truth[:, 4:9, 2:7] = 1
    classes = torch.tensor([0, 3, 1, 4, 3])
    rows = evaluate(vit, images, classes, list("abcde"), maps, metrics, labels=classes, truth=truth).scores.to_pandas()
    assert set(rows.metric) == set(METRICS.names)
    for name, part in rows.groupby("metric"):
        if name == "segmentation":  # counts of pixels; the range is that of the scores made from them
            part = part[part.variant.isin(["average_precision", "f1"])]
        low, high = bounds(METRICS[str(name)].traits["value_range"])
        assert part.value.between(low - 1e-9, high + 1e-9).all(), name
        if METRICS[str(name)].traits["value_range"].startswith("{"):
            assert set(part.value) <= {low, high}

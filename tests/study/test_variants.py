"""Studies whose figures cannot say which variant they show are refused when they are read."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from vitfaith.errors import ConfigError
from vitfaith.study.load import load_study, read_yaml

ROOT = Path(__file__).resolve().parents[2]


def study(metrics: dict[str, Any], stability: dict[str, Any], figures: dict[str, Any]) -> None:
    """Load the smallest shipped study with these sections."""
    raw = copy.deepcopy(read_yaml(ROOT / "config" / "tiny.yaml"))
    raw |= {"metrics": metrics, "stability": stability, "figures": figures}
    experiment = raw["experiments"]["tiny"]
    experiment |= {"metrics": list(metrics), "stability": list(stability), "sanity": [], "figures": list(figures)}
    load_study(raw)


TWO = {"saco": {"groups": [7, 14]}}
OVERLAP = {"top_k_overlap": {"k": [5, 9]}}


@pytest.mark.parametrize(
    ("metrics", "stability", "figures"),
    [
        (
            TWO,
            {},
            {"saco_leaderboard": {"variant": "k=14"}, "saco_by_groups": {}, "beats_random": {}, "saco_pairs": {}},
        ),
        (TWO, {}, {"order_agreement": {"variants": {"saco": "k=7"}}, "metric_agreement": {"metrics": ["saco k=7"]}}),
        (TWO, {}, {"saco_pairs": {"variant": "patch image_mean k=14"}}),
        ({"saco": {"groups": [5, 10]}}, {}, {"saco_leaderboard": {}, "order_agreement": {}}),
        (TWO, OVERLAP, {"top_k_overlap": {"variant": "k=9"}}),
        ({"abpc": {"steps": 5}}, {}, {"perturbation_curves": {"variant": "patch image_mean steps=5"}}),
    ],
)
def test_studies_that_say_what_they_show(
    metrics: dict[str, Any], stability: dict[str, Any], figures: dict[str, Any]
) -> None:
    study(metrics, stability, figures)


@pytest.mark.parametrize(
    ("metrics", "stability", "figures", "message"),
    [
        (
            TWO,
            {},
            {"saco_leaderboard": {}},
            "figures.saco_leaderboard.variant: missing; metric 'saco' has several variants ('k=7', 'k=14'); name the one to "
            "show, for example 'variant: k=7' (experiments.tiny)",
        ),
        (
            TWO,
            {},
            {"order": {"figure": "order_agreement"}},
            "figures.order.variants: missing; metric 'saco' has several variants ('k=7', 'k=14'); name the one to show, for "
            "example 'variants: {saco: k=7}' (experiments.tiny)",
        ),
        (
            TWO,
            {},
            {"saco_leaderboard": {"variant": "k=10"}},
            "figures.saco_leaderboard.variant: metric 'saco' has no variant 'k=10'; there is 'k=7', 'k=14' (experiments.tiny)",
        ),
        (
            {"saco": {}},
            OVERLAP,
            {"top_k_overlap": {}},
            "figures.top_k_overlap.variant: missing; metric 'top_k_overlap' has several variants ('k=5', 'k=9'); name the one to "
            "show, for example 'variant: k=5' (experiments.tiny)",
        ),
        (
            TWO,
            {},
            {"perturbation_curves": {}},
            "figures.perturbation_curves.curves: the experiment has no metric that reads morf and lerf; add one to its metrics, "
            "such as abpc, or name one curve (experiments.tiny)",
        ),
        (
            {"abpc": {}},
            {},
            {"saco_pairs": {}},
            "figures.saco_pairs.variant: the experiment has no metric of groups, whose pairs this figure shows; add saco to its "
            "metrics (experiments.tiny)",
        ),
    ],
)
def test_studies_that_do_not(
    metrics: dict[str, Any], stability: dict[str, Any], figures: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        study(metrics, stability, figures)
    assert str(error.value) == message

"""Every registered metric equals an outside package, a published number, or a slow textbook form."""

from __future__ import annotations

import pytest

from tests.metrics.oracles import ORACLES
from tests.oracle import Oracle
from vitfaith.metrics.registry import METRICS


@pytest.mark.parametrize("oracle", ORACLES, ids=str)
def test_metrics_agree_with_their_oracles(oracle: Oracle) -> None:
    assert oracle.error() <= oracle.tolerance


def test_every_metric_has_an_oracle() -> None:
    assert {entry.name for entry in METRICS} <= {oracle.subject for oracle in ORACLES}

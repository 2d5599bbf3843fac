"""Every registered metric equals an outside package, a published number, or a slow textbook form."""

from __future__ import annotations

import pytest

from tests.oracle import Oracle
from tests.score.oracles import ORACLES
from vitfaith.score.registry import METRICS


@pytest.mark.parametrize("oracle", ORACLES, ids=str)
def test_metrics_agree_with_their_oracles(oracle: Oracle) -> None:
    assert oracle.error() <= oracle.tolerance


def test_every_metric_has_an_oracle() -> None:
    assert {entry.name for entry in METRICS} <= {oracle.subject for oracle in ORACLES}

"""Every registered explainer equals an outside package, stored outputs of its authors' code, or a slow textbook form."""

from __future__ import annotations

import pytest

from tests.explainers.oracles import ORACLES, Oracle
from vitfaith.explainers.registry import EXPLAINERS


@pytest.mark.parametrize("oracle", ORACLES, ids=str)
def test_explainers_agree_with_their_oracles(oracle: Oracle) -> None:
    assert oracle.error() <= oracle.tolerance


def test_every_explainer_has_an_oracle() -> None:
    assert {entry.name for entry in EXPLAINERS} <= {oracle.subject for oracle in ORACLES}

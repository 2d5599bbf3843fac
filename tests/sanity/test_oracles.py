"""Every registered sanity check equals an outside package or a slow textbook form."""

from __future__ import annotations

import pytest

from tests.oracle import Oracle
from tests.sanity.oracles import ORACLES
from vitfaith.sanity.registry import SANITY_CHECKS


@pytest.mark.parametrize("oracle", ORACLES, ids=str)
def test_checks_agree_with_their_oracles(oracle: Oracle) -> None:
    assert oracle.error() <= oracle.tolerance


def test_every_check_has_an_oracle() -> None:
    assert set(SANITY_CHECKS.names) <= {oracle.subject for oracle in ORACLES}

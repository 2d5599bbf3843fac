"""The pages of measured costs have the places that their scripts write to, and the machine has a name."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import precision
from benchmarks.shared import processor
from tools import performance_page


@pytest.mark.parametrize("script", [performance_page, precision])
def test_a_page_has_one_place_for_what_is_measured(script: object) -> None:
    page, start, end = (getattr(script, name) for name in ("PAGE", "START", "END"))
    text = Path(page).read_text()
    assert text.count(start) == text.count(end) == 1
    assert text.index(start) < text.index(end)


def test_the_processor_is_named() -> None:
    assert "AVX512-BF16; torch " in processor()

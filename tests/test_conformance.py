"""docs/conformance.md: a section for each kind, a row for each oracle and for everything that is registered."""

from __future__ import annotations

import math

import pytest
from benchmarks.conformance import PAGE, SECTIONS, missing, oracles, page, page_rows, problems, rows_of

from tests.oracle import Oracle
from vitfaith.registries import REGISTRIES


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_page_has_a_row_for_every_oracle(heading: str) -> None:
    """Rerun ``python -m benchmarks.conformance`` when this fails."""
    assert page_rows(heading) == rows_of(oracles()[heading])


def test_everything_registered_has_a_row() -> None:
    assert missing(PAGE.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rise", "explainer 'rise' has no row; add an oracle to tests/explainers/oracles"),
        ("aopc", "metric 'aopc' has no row; add an oracle to tests/metrics/oracles"),
        ("kendall", "stability measure 'kendall' has no row; add an oracle to tests/stability/oracles"),
        ("sensitivity", "sanity check 'sensitivity' has no row; add an oracle to tests/sanity/oracles"),
    ],
)
def test_what_has_no_row_is_named(name: str, message: str) -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert missing("\n".join(line for line in lines if not line.startswith(f"| `{name}` |"))) == [message]


def test_a_row_counts_in_its_own_section_only() -> None:
    """All rows under one heading: those of the other sections are missed there."""
    rows = [row for heading in SECTIONS for row in page_rows(heading)]
    everywhere = len([e for s in ("metrics", "stability", "sanity") for e in REGISTRIES[s] if "vitfaith." in e.module])
    assert len(missing("\n".join(["", "## Explainers", "", *rows]))) == everywhere


def test_errors_above_their_tolerance_and_other_rows_are_problems() -> None:
    def oracle(subject: str) -> Oracle:
        return Oracle(subject, "source", "remark", 1e-6, lambda: pytest.fail("measured already"))

    measured = {heading: [(oracle("good"), (1e-9, 1e-9))] for heading in SECTIONS}
    measured["Metrics"] += [(oracle("far"), (1e-3, 2e-3)), (oracle("nan"), (math.nan, math.nan))]
    text = page(measured)
    own = [problem for problem in problems(measured, text) if "has no row" not in problem]
    assert own == [
        "far against source: relative error 2.0e-03 > 1e-06",
        "nan against source: relative error nan > 1e-06",
    ]
    assert page_rows("Metrics", text) == rows_of(o for o, _ in measured["Metrics"])
    stale = problems(measured, text.replace("| `far` | source |", "| `far` | another |"))
    assert stale[-1] == "the rows are not those of the oracles; run python -m benchmarks.conformance"

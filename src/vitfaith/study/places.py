"""Where the results of a study are, for the last lines of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vitfaith.study.plan import Plan


def places(plan: Plan) -> Iterator[str]:
    """One line for tables, figures and page of each experiment that has them."""
    for experiment, asked in plan.study.experiments.items():
        found = {
            "tables": Path(plan.results, "tables", f"experiment={experiment}", "leaderboards.md"),
            "page": Path(plan.results, "pages", f"{experiment}.html"),
        }
        if asked.figures:
            found["figures"] = Path(plan.results, "figures", experiment)
        for what, path in found.items():
            if path.exists():
                yield f"{what:8} {path}"

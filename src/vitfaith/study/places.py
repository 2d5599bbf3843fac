"""Where the results of a study are, for the last lines of a run."""

from __future__ import annotations

import logging
import os
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
                yield f"{what:8} {_from_the_caller(path)}"


def _from_the_caller(path: Path) -> Path:
    """``path``, which is relative to the folder of the study, as a caller in another folder can open it."""
    caller = os.environ.get("PWD", "")
    return path if caller and Path(caller).resolve() == Path.cwd() else path.absolute()


class PlacesWhereNothingIsDone(logging.Filter):
    """Adds the places to Snakemake's message that nothing is to be done."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the message; every record passes."""
        text = record.getMessage()
        if text.startswith("Nothing to be done"):
            record.msg, record.args = "\n".join([text, *places(self._plan)]), ()
        return True

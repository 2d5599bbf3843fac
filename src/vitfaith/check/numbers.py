"""Whether the files of weights hold numbers that can be computed with; they are read in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vitfaith.check.report import Report
from vitfaith.models.checkpoint import read_checkpoint


def check_numbers(files: Mapping[str, Sequence[str | Path]], report: Report) -> None:
    """Report weights that hold NaN or infinite values.

    Args:
        files: key of the configuration → its files; missing files and JSON files are skipped.
        report: gets the problems.
    """
    for key, paths in files.items():
        for path in map(Path, paths):
            if path.is_file() and path.suffix != ".json":
                with report.about(key):
                    read_checkpoint(path)

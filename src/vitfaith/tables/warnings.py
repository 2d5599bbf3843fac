"""Warnings of an experiment's tables, at the head of the leaderboards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame

_MARK = "> **Warning:** "


class Guessing:
    """Counts right predictions of clean images, from rows that come in pieces, one dataset and model after the other."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], set[str]] = {}
        self._found: dict[tuple[str, str], tuple[int, int, int]] = {}

    def add(self, predictions: DataFrame) -> None:
        """Enter rows of schema PREDICTIONS with the condition; of an image the first row of a dataset and model counts."""
        labelled = predictions[predictions["label"] >= 0]
        for (dataset, model), rows in labelled.groupby(["dataset", "model"], sort=True, observed=True):
            key = str(dataset), str(model)
            if key not in self._seen:
                self._seen = {key: set()}
            new = rows[~rows["image_id"].isin(self._seen[key])].drop_duplicates("image_id")
            self._seen[key].update(new["image_id"])
            if len(new):
                correct, images, _ = self._found.get(key, (0, 0, 0))
                classes = self._found[key][2] if key in self._found else len(new["probabilities"].iloc[0])
                correct += int((new["target"] == new["label"]).sum())
                self._found[key] = correct, images + len(new), classes

    def warnings(self) -> list[str]:
        """A sentence for every dataset and model whose accuracy on clean, labelled images is near chance."""
        from vitfaith.statistics.chance import accuracy_warning

        texts = {key: accuracy_warning(*counts) for key, counts in self._found.items()}
        return [f"dataset {dataset}, model {model}: {text}" for (dataset, model), text in texts.items() if text]


def chance_warnings(predictions: DataFrame) -> list[str]:
    """The warnings of :class:`Guessing` for all rows at once.

    Args:
        predictions: rows of schema PREDICTIONS with the condition; ``target`` is the class predicted for the clean image.
    """
    found = Guessing()
    for _, rows in predictions.groupby(["dataset", "model"], sort=True, observed=True):
        found.add(rows)
    return found.warnings()


def as_markdown(warnings: list[str]) -> str:
    """The head of the leaderboards in Markdown; empty without warnings."""
    return "".join(f"{_MARK}{text}\n\n" for text in warnings)


def as_latex(warnings: list[str]) -> str:
    """The same as comments of LaTeX."""
    return "".join(f"% Warning: {text}\n" for text in warnings)


def warnings_in(leaderboards: Path) -> list[str]:
    """The warnings at the head of a leaderboard file in Markdown; none where there is no file."""
    try:
        lines = leaderboards.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [line.removeprefix(_MARK) for line in lines if line.startswith(_MARK)]

"""What the tables of an experiment warn of, kept at the head of the leaderboards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame

_MARK = "> **Warning:** "


def chance_warnings(predictions: DataFrame) -> list[str]:
    """A sentence for every dataset and model whose accuracy on clean, labelled images is near chance.

    Args:
        predictions: rows of schema PREDICTIONS with the condition; ``target`` is the class predicted for the clean image.
    """
    from vitfaith.statistics.chance import accuracy_warning

    found = []
    labelled = predictions[predictions["label"] >= 0]
    for (dataset, model), rows in labelled.groupby(["dataset", "model"], sort=True, observed=True):
        images = rows.drop_duplicates("image_id")
        correct = int((images["target"] == images["label"]).sum())
        text = accuracy_warning(correct, len(images), len(images["probabilities"].iloc[0]))
        if text:
            found.append(f"dataset {dataset}, model {model}: {text}")
    return found


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

"""The picture of DiffMask's trainings over seeds: KL, kept share and multiplier, one line per seed, one column per rule."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import seaborn
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

PANELS = {"kl": "KL (nats)", "kept_share": "kept share", "multiplier": "mean λ"}
"""Column of a training's log → label of its axis."""


def draw(
    curves: Mapping[str, Mapping[int, pd.DataFrame]],
    x: str,
    text: str,
    margin: float,
    path: Path,
    logarithmic: bool = False,
) -> None:
    """Draw the trainings of each rule into a file.

    Args:
        curves: rule in words → seed → log of the training; rules without a training that stayed finite are left out.
        x: column of the log along the horizontal axis.
        text: its label.
        margin: of the constraint on KL, nats; a dashed line.
        path: PNG to write.
        logarithmic: the axis of KL is logarithmic above 0.01 and linear below.
    """
    shown = {rule: logs for rule, logs in curves.items() if logs}
    picture = Figure(figsize=(3.2 * len(shown), 6.3), layout="constrained")
    FigureCanvasAgg(picture)
    axes = picture.subplots(len(PANELS), len(shown), sharex="col", sharey="row", squeeze=False)
    colours = seaborn.color_palette("colorblind")
    lines: dict[str, Any] = {}
    for column, (rule, logs) in enumerate(shown.items()):
        for panel, (name, label) in zip(axes[:, column], PANELS.items(), strict=True):
            for seed, log in logs.items():
                (line,) = panel.plot(log[x], log[name], linewidth=1.1, color=colours[seed % len(colours)])
                lines.setdefault(f"seed {seed}", line)
            panel.grid(alpha=0.3)
            if column == 0:
                panel.set_ylabel(label)
        lines["margin"] = axes[0, column].axhline(margin, color="black", linewidth=0.8, linestyle="--")
        if logarithmic:
            axes[0, column].set_yscale("symlog", linthresh=0.01)
        axes[0, column].set_title(rule, fontsize=9)
        axes[-1, column].set_xlabel(text)
    axes[0, 0].set_ylim(bottom=0)
    picture.legend(
        list(lines.values()), list(lines), fontsize=8, loc="outside upper center", ncols=len(lines), frameon=False
    )
    picture.savefig(path, dpi=130, metadata={"Software": None})

"""Numbers on denoised smoothing that the paragraphs and the sections of docs/certified-findings.md share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from findings_tables import read

from vitfaith.figures.accuracy_by_condition import share_correct

ADAPTIVE = {"pgd": "adaptive_pgd", "top_k_attack": "top_k_attack_through_smoothing"}
"""Blind attack → the same through the smoothing."""


def level(eps: float) -> str:
    """A radius as a fraction of 255."""
    return f"{255 * eps:.3g}/255"


def accuracies(predictions: pd.DataFrame, attacks: pd.DataFrame) -> pd.DataFrame:
    """One row per (attack, smoothing): kind, eps, n, mean, and Wilson's 95 % interval low, high."""
    rows = []
    for (attack, smoothing), part in predictions.groupby(["attack", "smoothing"]):
        rows.append({"attack": attack, "smoothing": smoothing, **share_correct(part, "label", 0.95)})
    return pd.DataFrame(rows).merge(attacks[["attack", "kind", "eps"]], on="attack").sort_values(["kind", "eps"])


def cells_apart(summary: pd.DataFrame, first: str, second: str) -> tuple[int, int, int]:
    """In how many cells the interval of one smoothing lies above that of another, and the reverse; and the number of cells.

    Cells in which a method is not compared do not count.
    """
    keys = ["method", "attack"]
    both = summary[summary.smoothing == first].merge(
        summary[summary.smoothing == second], on=keys, suffixes=("", "_other")
    )
    both = both[both.method != "random"].dropna(subset=["mean", "mean_other"])
    return int((both.low > both.high_other).sum()), int((both.high < both.low_other).sum()), len(both)


def by_radius(folder: Path, experiment: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracies, and the summary with kind and radius of the attack, of an experiment."""
    summary, predictions, attacks = (read(folder, experiment, name) for name in ("summary", "predictions", "attacks"))
    found = accuracies(predictions, attacks).assign(radius=lambda f: f.eps.map(level))
    rows = summary.merge(attacks[["attack", "kind", "eps"]], on="attack").assign(radius=lambda f: f.eps.map(level))
    return found, rows


def compared(frame: pd.DataFrame, blind: str, adaptive: str) -> list[tuple[str, float, float, str]]:
    """Behind ``dds`` at each radius: the radius, the mean under both attacks, and whether the adaptive one's interval lies lower."""
    rows = frame[frame.smoothing == "dds"].set_index(["kind", "eps"])
    found = []
    for eps in sorted(rows.loc[adaptive].index):
        a, b = rows.loc[(blind, eps)], rows.loc[(adaptive, eps)]
        apart = "lower" if b.high < a.low else "higher" if b.low > a.high else "not distinguished"
        verdict = "not compared" if np.isnan(a["mean"]) or np.isnan(b["mean"]) else apart
        found.append((level(eps), a["mean"], b["mean"], verdict))
    return found


def blind_attacks(folder: Path) -> pd.DataFrame:
    """The attacks of the first section by radius, with their mean l2 length."""
    attacks = read(folder, "radius", "attacks")
    return attacks[attacks.kind == "pgd"].sort_values("eps")


def certified_maps(folder: Path) -> pd.DataFrame:
    """Radii of the certificate ``grouped`` of all maps but those of random."""
    rows = read(folder, "certified", "certificates")
    return rows[rows.method.ne("") & rows.method.ne("random") & rows.sound & (rows.certificate == "grouped")]

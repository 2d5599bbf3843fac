"""A checked configuration as one object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vitfaith.registry import Item
from vitfaith.study.sections import (
    ComputeSection,
    DatasetSection,
    DenoiserSection,
    Experiment,
    FiguresSection,
    ModelSection,
    StatisticsSection,
)


@dataclass(frozen=True)
class Study:
    """A checked configuration."""

    seed: int
    code_tracking: str
    plugins: tuple[Path, ...]
    datasets: dict[str, tuple[Item, DatasetSection]]
    models: dict[str, ModelSection]
    denoisers: dict[str, DenoiserSection]
    attacks: dict[str, Item]
    smoothings: dict[str, Item]
    explainers: dict[str, Item]
    metrics: dict[str, Item]
    stability: dict[str, Item]
    sanity: dict[str, Item]
    certificates: dict[str, Item]
    figures: dict[str, Item]
    style: FiguresSection
    statistics: StatisticsSection
    compute: ComputeSection
    experiments: dict[str, Experiment]

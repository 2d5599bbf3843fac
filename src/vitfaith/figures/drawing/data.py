"""Input of figures: tidy tables with the condition as columns, checked, filtered and ordered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from vitfaith.errors import ArtifactError, ConfigError, did_you_mean
from vitfaith.figures.drawing.variants import default_variant, listed, scores_of
from vitfaith.order import natural, natural_order
from vitfaith.registry import Ids, Parameters

if TYPE_CHECKING:
    from pandas import DataFrame, Series

INPUT = ("dataset", "model", "attack", "smoothing")
"""Columns of a condition in tables that are the same whichever class is explained."""

CONDITION = (*INPUT, "explained")
PANEL = ("dataset", "model", "explained")
"""Columns of a panel in figures of one attack and smoothing."""

INTERVAL = ("n", "clusters", "flagged", "mean", "low", "high", "confidence", "compared", "asked", "n_own", "mean_own")
SUMMARY = (*CONDITION, "method", "reference", "metric", "variant", *INTERVAL)
SCORES = (*CONDITION, "image_id", "method", "metric", "variant", "value")


@dataclass(frozen=True)
class Part:
    """Columns and rows that a figure reads of a table with one row per image.

    Attributes:
        columns: columns that it reads; clusters are read where the table has them.
        where: column → the one value of the rows that it reads. Where no row has it, all rows are read, so that the figure can
            say what there is.
    """

    columns: tuple[str, ...]
    where: Mapping[str, str] = field(default_factory=dict)


def read_tables(
    folder: Path, names: Iterable[str], reader: str, parts: Mapping[str, Part] | None = None
) -> dict[str, DataFrame]:
    """The Parquet tables ``names`` of an experiment.

    Args:
        parts: table → what is read of it; others are read whole.

    Raises:
        ArtifactError: a table is missing; the message says that ``reader`` needs it.
    """
    from vitfaith.artifacts.store import read_frame

    frames = {}
    for name in names:
        path = folder / f"{name}.parquet"
        if not path.is_file():
            raise ArtifactError(f"{reader} needs '{path}', which does not exist; run the tables stage")
        frames[name] = read_part(path, parts[name]) if parts and name in parts else read_frame(path)
    return frames


def read_part(path: Path, part: Part) -> DataFrame:
    """Some columns and rows of a table, one row group in memory at a time.

    Raises:
        ArtifactError: the file is damaged.
    """
    from vitfaith.artifacts.schemas import CLUSTER
    from vitfaith.artifacts.store import open_any
    from vitfaith.lazy import pa, pc

    handle = open_any(path)
    there = handle.schema_arrow
    columns = [name for name in dict.fromkeys((*part.columns, CLUSTER.name)) if name in there.names]
    where = {name: value for name, value in part.where.items() if name in columns}
    found = []
    try:
        for group in range(handle.num_row_groups):
            table = handle.read_row_group(group, columns=columns)
            for name, value in where.items():
                table = table.filter(pc.equal(table.column(name).cast(pa.string()), value))
            found.append(table)
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(f"'{path}' is damaged ({error}); delete it and run again") from error
    whole = pa.concat_tables(found) if found else there.empty_table().select(columns)
    if where and not len(whole):
        return read_part(path, Part(part.columns))
    frame: DataFrame = whole.to_pandas()
    return frame


@dataclass(frozen=True)
class FigureData:
    """The tables of an experiment; tables that a figure does not read may be None.

    Attributes:
        summary: one row per (condition, method, reference, metric, variant) with n, flagged, mean, low, high, sd,
            confidence over the images that all compared methods have; compared, asked, n_own, mean_own, low_own,
            high_own as in :func:`vitfaith.statistics.summarise_compared`; ``reference`` is empty for scores.
        scores: one row per (condition, image, method, metric, variant) with value (NaN when flagged) and flag.
        curves: means over images per (condition, method, curve, variant, step, quantity) with fraction in [0, 1] and
            the columns of an interval as in ``summary``; quantity is "probability" or "kl".
        stability: like ``scores`` with a column reference.
        predictions: one row per (condition without the explained class, image) with label, target (the class predicted for
            the clean image), prediction, target_probability.
        gallery: one row per (condition, image, method) of the chosen images: role, rows, columns, map, channels,
            height, width, pixels (uint8, channel-first), label, target, prediction, prediction_probability, saco.
        statistics: paired comparisons, one row per (condition, metric, variant, reference, method, opponent), both ways
            round, with the mean paired difference (method − opponent), low, high, p, p_adjusted (Holm) and n.
        agreement: rank correlations between metrics, one row per (condition, metric, other, level) with kendall,
            spearman and n; metric and other carry their variant after a space.
        costs: one row per (model, method) with family, sharing, and the forwards and backwards an image that the
            family as a whole cost; ``sharing`` methods share them.
        certificates: one row per (condition, image, method, certificate, k, beta) of schema ``CERTIFICATES``; the method
            is empty for a certificate of the prediction; with the columns noise and l1 (:func:`vitfaith.tables.certified.with_norms`).
        attacks: one row per (dataset, model, attack): kind, aims_at, norm, eps, n, success, realised distances.
        smoothings: one row per smoothing: kind, mode, noise, sigma, samples.
        trainings: one row per (model, method, step) of the training of a learned explainer: its margin, and the columns of
            :data:`vitfaith.artifacts.schemas.DIFFMASK_LOG`.
        pairs: one row per (condition, method, variant, first, second): pairs of SaCo's groups, see
            :func:`vitfaith.tables.pairs.pair_table`.
        explained: paired differences between two explained classes, one row per (condition, opponent, method, metric,
            variant), see :func:`vitfaith.tables.explained.explained_table`.
    """

    summary: DataFrame | None = None
    scores: DataFrame | None = None
    curves: DataFrame | None = None
    stability: DataFrame | None = None
    predictions: DataFrame | None = None
    gallery: DataFrame | None = None
    statistics: DataFrame | None = None
    agreement: DataFrame | None = None
    costs: DataFrame | None = None
    certificates: DataFrame | None = None
    attacks: DataFrame | None = None
    smoothings: DataFrame | None = None
    trainings: DataFrame | None = None
    pairs: DataFrame | None = None
    explained: DataFrame | None = None

    @classmethod
    def names(cls) -> list[str]:
        """Names of all tables."""
        return [each.name for each in fields(cls)]

    def table(self, name: str, columns: Iterable[str]) -> DataFrame:
        """The table ``name`` with at least ``columns``; categories become strings.

        Raises:
            ArtifactError: the table was not given, is empty, or lacks a column.
        """
        frame: DataFrame | None = getattr(self, name)
        if frame is None:
            raise ArtifactError(f"the table '{name}' was not given; run the tables stage and pass {name}.parquet")
        missing = [c for c in columns if c not in frame.columns]
        if missing:
            raise ArtifactError(
                f"table '{name}' has no column '{missing[0]}'; it is not of this version: run the tables stage again"
            )
        if frame.empty:
            raise ArtifactError(f"table '{name}' is empty; the experiment asks for nothing that fills it")
        categories = [c for c in frame.columns if frame[c].dtype.name == "category"]
        return frame.astype(dict.fromkeys(categories, "str")) if categories else frame


EXPLAINED = Field((), description="values of explained to show (clean_prediction, prediction, class_3 …); empty: all")


class Selection(Parameters):
    """Which conditions and methods a figure shows; empty means all."""

    datasets: Annotated[tuple[str, ...], Ids("datasets")] = Field((), description="datasets to show; empty: all")
    models: Annotated[tuple[str, ...], Ids("models")] = Field((), description="models to show; empty: all")
    attacks: Annotated[tuple[str, ...], Ids("attacks")] = Field((), description="attacks to show; empty: all")
    smoothings: Annotated[tuple[str, ...], Ids("smoothings")] = Field((), description="smoothings to show; empty: all")
    explained: Annotated[tuple[str, ...], Ids("targets")] = EXPLAINED
    methods: Annotated[tuple[str, ...], Ids("explainers")] = Field((), description="methods to show; empty: all")

    def wanted(self) -> dict[str, Sequence[str]]:
        """Column → wanted values, for :func:`select`."""
        return {
            "dataset": self.datasets,
            "model": self.models,
            "attack": self.attacks,
            "smoothing": self.smoothings,
            "explained": self.explained,
            "method": self.methods,
        }

    def wanted_inputs(self) -> dict[str, Sequence[str]]:
        """The same for a table that is the same whichever class is explained, and of no method."""
        return {column: values for column, values in self.wanted().items() if column in INPUT}


class OneCondition(Parameters):
    """The images that a figure is of: one attack and smoothing; datasets and models empty means all."""

    attack: Annotated[str, Ids("attacks")] = Field("clean", description="attack whose images are explained")
    smoothing: Annotated[str, Ids("smoothings")] = Field(
        "none", description="smoothing behind which they are explained"
    )
    datasets: Annotated[tuple[str, ...], Ids("datasets")] = Field((), description="datasets to show; empty: all")
    models: Annotated[tuple[str, ...], Ids("models")] = Field((), description="models to show; empty: all")
    explained: Annotated[tuple[str, ...], Ids("targets")] = EXPLAINED

    def wanted(self) -> dict[str, str | Sequence[str]]:
        """Column → wanted values, for :func:`select`."""
        return {
            "attack": self.attack,
            "smoothing": self.smoothing,
            "dataset": self.datasets,
            "model": self.models,
            "explained": self.explained,
        }


class MethodsOfOneCondition(OneCondition):
    """The same, with the methods to show."""

    methods: Annotated[tuple[str, ...], Ids("explainers")] = Field((), description="methods to show; empty: all")

    def wanted(self) -> dict[str, str | Sequence[str]]:
        """Column → wanted values, for :func:`select`."""
        return {**super().wanted(), "method": self.methods}


def select(frame: DataFrame, table: str, **wanted: str | Sequence[str] | None) -> DataFrame:
    """Rows whose columns have the ``wanted`` values; None or an empty sequence leaves a column free.

    Raises:
        ConfigError: a wanted value does not occur; the text names the column and what there is.
    """
    for column, values in wanted.items():
        if values is None or (not isinstance(values, str) and not values):
            continue
        asked = [values] if isinstance(values, str) else list(values)
        present = sorted({str(v) for v in frame[column].unique()}, key=natural)
        for value in asked:
            if value not in present:
                raise ConfigError(
                    f"table '{table}' has no {column} '{value}'{did_you_mean(value, present)}; there is {listed(present)}"
                )
        frame = frame[frame[column].isin(asked)]
    return frame


def pick_variant(frame: DataFrame, table: str, variant: str | None, preferred: str = "k=10") -> str:
    """The variant to show: the one asked for, the only one, or ``preferred`` where there are several; ceilings and chance levels do
    not count.

    Raises:
        ConfigError: the variant does not occur, or there are several and none is asked for.
    """
    if variant is not None:
        select(frame, table, variant=variant)
        return variant
    present = scores_of(map(str, frame["variant"].unique()))
    found = default_variant(present, preferred)
    if found is None:
        raise ConfigError(
            f"table '{table}' has several variants ({listed(present)}); name the one to show in the settings of the figure, "
            f"for example variant: {present[0]}"
        )
    return found


def tidy(frame: DataFrame, table: str, keys: Sequence[str]) -> DataFrame:
    """Rows sorted by ``keys``, so that the order in the file has no influence.

    Raises:
        ArtifactError: two rows share all ``keys``.
    """
    repeated = frame.duplicated(list(keys))
    if repeated.any():
        row = frame[repeated].iloc[0]
        where = ", ".join(f"{k}={row[k]}" for k in keys)
        raise ArtifactError(f"table '{table}' has two rows for {where}; run the tables stage again")

    def key(column: Series) -> Series:
        return column.map(natural_order(column.astype(str))) if column.name == "variant" else column

    return frame.sort_values(list(keys), kind="stable", ignore_index=True, key=key)


def overall_order(table: DataFrame, methods: Sequence[str], *, descending: bool) -> list[str]:
    """``methods`` by their mean over the conditions that all compared methods have; methods that are not compared come last.

    Args:
        table: one row per (condition, method) with ``mean``, NaN where there is none.
    """
    from vitfaith.statistics.common import comparable

    wide = table.pivot(index="method", columns=list(CONDITION), values="mean").reindex(list(methods))
    shared = comparable(wide)[0].mean(axis=1)
    return sorted(methods, key=lambda m: (m not in shared, (-1 if descending else 1) * float(shared.get(m, 0.0))))

"""The readings of the claims under each choice, from the tables of config/robustness.yaml and of natural images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache, partial
from math import nan
from pathlib import Path

import pandas as pd
from findings_tables import read
from robustness_claims import (
    OLDER,
    certificates_cover,
    dds_keeps,
    diffmask_faithful,
    localisation_follows,
    older_fail,
    raise_saco,
    random_is_zero,
)
from robustness_reading import NotComparedError, Reading
from robustness_ties import has_scores, rescored
from stamps_folds import FOLDS

from vitfaith.compare.folder import read_folds

STUDY = Path(__file__).resolve().parents[1] / "config" / "robustness.yaml"
AGAIN = {"garments": ("fashion_mnist", "vit_patch4"), "cells": ("planted_cell", "reader")}
"""Dataset and model of the maps that are scored again under another key."""
NATURAL = "natural images, 112 px"
ATTACK = "PGD 4/255"
"""The attack of config/stamps.yaml; a test compares."""
Source = Callable[[], pd.DataFrame]
Readings = dict[str, dict[str, Callable[[], Reading]]]
"""Column → name of the choice → how to read the claim under it."""


class NotRunError(Exception):
    """A choice whose experiment the run does not have; its reading is left out."""


def plain(source: Source, saco: str = "saco", k: int = 10, suffix: str = "") -> Source:
    """The scores of one choice under plain names: ``saco`` at K groups, and the older metrics with ``suffix``."""
    names = {saco: "saco", **{metric + suffix: metric for metric in OLDER}}

    def renamed() -> pd.DataFrame:
        scores = source()
        return at(scores[scores["metric"].isin(names)], k).replace({"metric": names})

    return renamed


def others(rows: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """The rows of images that ``known`` does not have: a larger subset of a data set holds the smaller one."""
    return rows[~rows["image_id"].isin(known["image_id"])]


def at(scores: pd.DataFrame, k: int) -> pd.DataFrame:
    """The rows of variants with K groups, and of metrics without groups."""
    return scores[scores["variant"].isin([f"k={k}", "", "auroc"])]


class Run:
    """Tables of the study, of natural images where there are some, and the readings of every claim."""

    def __init__(self, results: Path, stamps: Path | None = None, folds: Path | None = None) -> None:
        self.results, self.stamps, self.folds = results, stamps, folds
        self.again = {name: cache(partial(self.scored_again, name)) for name in AGAIN}
        self.fold_results = [] if folds is None else [folds / f"fold_{fold}" / "results" for fold in range(FOLDS)]
        self.cross_fitted = bool(folds) and all(map(_has_explainers, self.fold_results))
        self.natural_name = f"{NATURAL}{', cross-fitted' if self.cross_fitted else ''}"

    def scored_again(self, name: str) -> pd.DataFrame:
        """Scores of the maps of :data:`AGAIN` under another key."""
        dataset, model = AGAIN[name]
        if not has_scores(self.results, dataset, model):
            raise NotRunError(f"{model} on {dataset}")
        return rescored(self.results, STUDY, dataset, model)

    @cache  # noqa: B019 - a run lives as long as the script
    def table(self, experiment: str, name: str = "scores") -> pd.DataFrame:
        """A table of an experiment of the study."""
        return table_of(self.results / "tables", experiment, name)

    def scores(self, experiment: str, beside: str = "") -> Source:
        """The scores of an experiment, without the images of another."""
        if not beside:
            return partial(self.table, experiment)
        return lambda: others(self.table(experiment), self.table(beside))

    def natural(self) -> pd.DataFrame:
        """Scores of natural images: of all folds, else (also where a fold is not finished) of the study of one split."""
        if self.cross_fitted:
            return read_folds(self.fold_results, {})
        return self.of_stamps("explainers", "scores")

    def of_stamps(self, experiment: str, name: str) -> pd.DataFrame:
        """A table of the study of natural images."""
        if self.stamps is None:
            raise NotRunError("natural images")
        return table_of(self.stamps, experiment, name)

    def of_saco(self, claim: Callable[[pd.DataFrame], Reading]) -> Readings:
        """Readings of a claim about SaCo and the older metrics."""
        choices = self.scores("choices")
        found: dict[str, dict[str, Source]] = {
            "as published": {"": plain(choices)},
            "tie key": {"other key": plain(self.again["garments"])},
            "group arrangement": {
                "equal groups, K = 7": plain(choices, "saco_k", 7),
                "sums of groups": plain(choices, "saco_sum"),
            },
            "K": {f"K = {k}": plain(choices, "saco_k", k) for k in (5, 20)},
            "fill": {fill: plain(choices, f"saco_{fill}", suffix=f"_{fill}") for fill in ("black", "blur")},
            "in-domain network": {"knows removed patches": plain(self.scores("indomain"))},
            "seed": {"other images": plain(self.scores("images", beside="choices"))},
            "model": {"vit_patch2": plain(self.scores("model"))},
            "resolution": {self.natural_name: plain(self.natural)},
        }

        def of(source: Source) -> Callable[[], Reading]:
            return lambda: claim(source())

        return {column: {name: of(source) for name, source in sources.items()} for column, sources in found.items()}

    def of_diffmask(self) -> Readings:
        """DiffMask's readings: both fills at once, and single other fills."""
        choices = self.scores("choices")

        def both(source: Source, k: int = 10, suffix: str = "") -> Callable[[], Reading]:
            metrics = {fill: f"saco_{fill}{suffix}" for fill in ("placeholder", "noise")}
            return lambda: diffmask_faithful(at(source(), k), metrics)

        def one(fill: str, metric: str, source: Source = choices) -> Callable[[], Reading]:
            return lambda: diffmask_faithful(at(source(), 10), {fill: metric})

        return {
            "as published": {"": both(choices)},
            "tie key": {"other key": both(self.again["garments"])},
            "group arrangement": {
                "equal groups, K = 7": both(choices, 7, "_k"),
                "sums of groups": both(choices, suffix="_sum"),
            },
            "K": {f"K = {k}": both(choices, k, "_k") for k in (5, 20)},
            "fill": {
                "image mean": one("image mean", "saco"),
                **{fill: one(fill, f"saco_{fill}") for fill in ("black", "blur")},
            },
            "in-domain network": {"behind noise alone": one("noise", "saco_noise", self.scores("indomain"))},
            "seed": {"other images": both(self.scores("images", beside="choices"))},
            "model": {"vit_patch2": both(self.scores("model"))},
        }

    def of_dds(self) -> Readings:
        """Readings of attacks with and without DDS."""

        def kept(model: str, k: str = "k=0.2", experiment: str = "attacked", beside: str = "") -> Callable[[], Reading]:
            def now() -> Reading:
                tables = [self.table(experiment, name) for name in ("predictions", "stability")]
                tables = [table[table["model"] == model] for table in tables]
                if beside:
                    tables = [others(table, self.table(beside, "predictions")) for table in tables]
                return dds_keeps(tables[0], overlaps(tables[1], k))

            return now

        def of_natural() -> Reading:
            predictions, stability = (self.of_stamps("robustness", name) for name in ("predictions", "stability"))
            return dds_keeps(predictions, overlaps(stability, "k=0.2"))

        return {
            "as published": {"": kept("vit_patch4")},
            "K": {f"top {k} %": kept("vit_patch4", f"k={k / 100:g}") for k in (5, 10)},
            "seed": {"other images": kept("vit_patch4", experiment="attacked_images", beside="attacked")},
            "model": {"vit_patch2": kept("vit_patch2")},
            "resolution": {f"{NATURAL}, {ATTACK}": of_natural},
        }

    def of_certificates(self) -> Readings:
        """Readings of certified radii beside the length of the attack on the same model."""

        def covered(model: str, k: int = 5, more: bool = False) -> Callable[[], Reading]:
            def now() -> Reading:
                rows = self.table("certified_images" if more else "certified", "certificates")
                if more:
                    rows = others(rows, self.table("certified", "certificates"))
                attacks = self.table("attacked_images" if more else "attacked", "attacks")
                length = attacks[(attacks["model"] == model) & (attacks["attack"] == "pgd")]["mean_l2"].iloc[0]
                return certificates_cover(rows[(rows["model"] == model) & (rows["k"] == k)], float(length))

            return now

        return {
            "as published": {"": covered("vit_patch4")},
            "K": {"k = 10": covered("vit_patch4", 10)},
            "seed": {"other images": covered("vit_patch4", more=True)},
            "model": {"vit_patch2": covered("vit_patch2")},
        }

    def of_localisation(self) -> Readings:
        """Readings where the right map is known."""
        located = self.scores("located")

        def follows(
            source: Source, saco: str = "saco_cells", k: int = 9, truth: str = "localisation_auroc"
        ) -> Callable[[], Reading]:
            return lambda: localisation_follows(at(source(), k).replace({"metric": {saco: "saco"}}), truth)

        def again() -> pd.DataFrame:
            known = located()
            return pd.concat([self.again["cells"](), known[known["metric"] == "localisation_auroc"]])

        return {
            "as published": {"": follows(located)},
            "tie key": {"other key": follows(again)},
            "group arrangement": {"sums of groups": follows(located, "saco_cells_sum")},
            "K": {"K = 5": follows(located, k=5)},
            "fill": {"black": follows(located, "saco_cells_black")},
            "in-domain network": {"knows removed patches": follows(self.scores("located_indomain"))},
            "seed": {"other images": follows(self.scores("located_images"))},
            "model": {"counter": follows(self.scores("located_counting"), truth="admissible_mask")},
            "resolution": {self.natural_name: follows(self.natural, "saco", 10)},
        }

    def readings(self) -> dict[str, dict[str, dict[str, Reading]]]:
        """Claim → column → choice → reading, of the experiments that have run."""
        asked: dict[str, Readings] = {
            "random": self.of_saco(random_is_zero),
            "older": self.of_saco(older_fail),
            "raise": self.of_saco(raise_saco),
            "dds": self.of_dds(),
            "certified": self.of_certificates(),
            "diffmask": self.of_diffmask(),
            "localisation": self.of_localisation(),
        }
        return {
            claim: {column: dict(_run(choices)) for column, choices in columns.items()}
            for claim, columns in asked.items()
        }


def _has_explainers(results: Path) -> bool:
    """Whether a fold has tables."""
    return (results / "tables" / "experiment=explainers").is_dir()


def table_of(tables: Path, experiment: str, name: str) -> pd.DataFrame:
    """A table of an experiment.

    Raises:
        NotRunError: the experiment has no tables.
        FileNotFoundError: it has tables, but not this one.
    """
    if not (tables / f"experiment={experiment}").is_dir():
        raise NotRunError(experiment)
    return read(tables, experiment, name)


def overlaps(stability: pd.DataFrame, k: str) -> pd.DataFrame:
    """Overlaps of the top share ``k`` with the clean map behind the same smoothing."""
    chosen = (stability["metric"] == "top_k_overlap") & (stability["variant"] == k)
    return stability[chosen & (stability["reference"] == "clean")]


def _run(choices: Mapping[str, Callable[[], Reading]]) -> Iterator[tuple[str, Reading]]:
    """The readings whose experiment has run; where a method of the claim is not compared, one that says so."""
    for name, reading in choices.items():
        with suppress(NotRunError):
            try:
                yield name, reading()
            except NotComparedError as rare:
                yield name, Reading(*[nan] * 5, 0, f"not compared: {rare}")

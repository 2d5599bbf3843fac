"""The tables stage: an experiment's results as tidy Parquet, CSV and Markdown, with confidence intervals over images."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa

from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.record import OF_FOLDER, write_record
from vitfaith.artifacts.schemas import CERTIFICATES, CURVES, PREDICTIONS, SANITY, SCORES, STABILITY
from vitfaith.artifacts.store import atomic_path, write_parquet
from vitfaith.statistics import metric_agreement, paired_comparisons, summarise_compared
from vitfaith.tables.attacks import attack_table
from vitfaith.tables.boards import boards_text
from vitfaith.tables.certified import certified_summary, with_norms
from vitfaith.tables.clusters import read_clusters, shards_of, with_clusters
from vitfaith.tables.collect import CONDITION, collect, sort_rows, with_shards
from vitfaith.tables.costs import cost_table
from vitfaith.tables.curves import curve_table
from vitfaith.tables.explained import explained_table
from vitfaith.tables.gallery import gallery_table
from vitfaith.tables.maps import map_summary
from vitfaith.tables.pairs import pair_table
from vitfaith.tables.pooled import KEYS, pooled_summary
from vitfaith.tables.smoothings import smoothing_table
from vitfaith.tables.trainings import training_table
from vitfaith.tables.warnings import as_latex, as_markdown, chance_warnings

_LOG = logging.getLogger(__name__)


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a data frame as Parquet (or CSV by suffix), atomically; equal frames give equal bytes."""
    if path.suffix == ".csv":
        write_text(frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"), path)
    else:
        write_parquet(pa.Table.from_pandas(frame, preserve_index=False), path)


def write_text(text: str, path: Path) -> None:
    """Write a text file, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def agreement_table(scores: pd.DataFrame, directions: Mapping[str, Any], coverage: float) -> pd.DataFrame:
    """Rank correlations between every two metrics (with their variants) in every condition."""
    named = scores.assign(
        metric=[f"{m} {v}" if v else m for m, v in zip(scores.metric.astype(str), scores.variant, strict=True)]
    )
    turned = {n: directions.get(m, "higher") for m, n in zip(scores.metric.astype(str), named.metric, strict=True)}
    parts = [
        metric_agreement(group, turned, coverage=coverage).assign(**dict(zip(CONDITION, map(str, key), strict=True)))
        for key, group in named.groupby(CONDITION, observed=True)
    ]
    return pd.concat(parts or [metric_agreement(named).assign(**dict.fromkeys(CONDITION, ""))], ignore_index=True)


def as_scores(sanity: pd.DataFrame) -> pd.DataFrame:
    """Rows of sanity checks as rows of a summary: the check's id is the metric, what it measured the variant."""
    measured = [f"{m} {v}".strip() for m, v in zip(sanity.metric, sanity.variant, strict=True)]
    return sanity.assign(metric=sanity.check, variant=measured).drop(columns=["check", "step"])


def run_tables(spec: Mapping[str, Any], code: str, results: str, out: Path) -> None:
    """Write the tables of an experiment below ``out``.

    ``scores``, ``stability`` and ``predictions`` keep one row an image, as does ``sanity``; ``curves`` is averaged over images, ``pairs`` tells which pairs of groups break SaCo; ``summary``
    has mean, interval and number of images of every score, ``statistics`` the paired tests between methods, ``agreement``
    the rank correlations between metrics, ``leaderboards`` (.md, .tex) the means of each condition ready for a paper, ``costs`` the counted passes, ``gallery`` the maps of chosen images, ``certificates`` every certified radius,
    ``certified.csv`` their summary, ``maps.csv`` how many maps are constant and how many of their features tie, ``attacks`` what each attack was asked for and did, ``smoothings`` what each smoothing is,
    ``trainings`` how learned explainers were trained, ``explained`` what the choice of the explained class does to the scores. The leaderboards begin with a warning for each model whose accuracy on
    clean, labelled images is near chance. A record in ``.record.json`` has the digests of all and the provenance: tables
    themselves hold neither settings nor code, so that equal tables redraw no figure.
    """
    asked, spec = spec, with_shards(spec)
    written: list[Path] = []

    def path_of(name: str) -> Path:
        written.append(out / name)
        return written[-1]

    by = ["method", "metric", "variant", "image_id"]
    scores = collect(spec, results, "scores", SCORES, by=by)
    scores = scores[scores.method.isin(spec["explainers"]) & scores.metric.isin(spec["metrics"])]
    stability = collect(spec, results, "stability", STABILITY, by=["reference", *by])
    if not stability.empty:
        stability = stability[stability.method.isin(spec["explainers"]) & stability.metric.isin(spec["stability"])]
    sanity = collect(spec, results, "sanity", SANITY, by=["check", "reference", *by])
    sanity = sanity[sanity.method.isin(spec["explainers"]) & sanity.check.isin(spec["sanity"])]
    predictions = collect(spec, results, "predictions", PREDICTIONS, family=False, by=["image_id"])
    curves = collect(spec, results, "curves", CURVES, by=["method", "curve", "variant", "step", "image_id"])
    curves = curves[curves.method.isin(spec["explainers"])]

    clusters = read_clusters(shards_of(spec, results))
    scores, stability, sanity, predictions, curves = (
        with_clusters(frame, clusters) for frame in (scores, stability, sanity, predictions, curves)
    )
    statistics = {**spec["statistics"], "seed": spec["seed"]}
    pooled = scores.metric.isin(list(spec["pooled"]))
    single = scores[~pooled]
    rows = [single.assign(reference=""), stability, as_scores(sanity)]
    parts = [
        summarise_compared(pd.concat([r for r in rows if len(r)] or rows, ignore_index=True), by=KEYS, **statistics)
    ]
    if pooled.any():
        parts.append(pooled_summary(scores[pooled], spec["pooled"], **statistics))
    summary = sort_rows(pd.concat([p for p in parts if len(p)], ignore_index=True), KEYS)
    conditions = [*CONDITION, "metric", "variant", "reference"]
    comparisons = paired_comparisons(single.assign(reference=""), by=conditions, **statistics)
    comparisons = sort_rows(comparisons, [*conditions, "method", "opponent"])
    coverage = spec["statistics"]["coverage"]
    certificates = collect(spec, results, "certificates", CERTIFICATES, family=False, by=["certificate", "method", "k"])
    if not certificates.empty:
        chosen = certificates.method.isin([*spec["explainers"], ""])
        certificates = certificates[chosen & certificates.certificate.isin(spec["certificates"])]
    certificates = with_norms(certificates, spec["smoothings"], spec.get("norms", {}))
    certificates = with_clusters(certificates, clusters)
    write_frame(certified_summary(certificates, coverage), path_of("certified.csv"))
    write_frame(certificates.reset_index(drop=True), path_of("certificates.parquet"))
    write_frame(attack_table(spec, results), path_of("attacks.parquet"))
    write_frame(training_table(spec), path_of("trainings.parquet"))
    write_frame(smoothing_table(spec["smoothings"]), path_of("smoothings.parquet"))
    write_frame(comparisons, path_of("statistics.parquet"))
    write_frame(explained_table(spec, results, single, **statistics), path_of("explained.parquet"))
    write_frame(agreement_table(single, spec["directions"], coverage), path_of("agreement.parquet"))
    write_frame(cost_table(spec, results), path_of("costs.parquet"))
    write_frame(scores.reset_index(drop=True), path_of("scores.parquet"))
    write_frame(stability.reset_index(drop=True), path_of("stability.parquet"))
    write_frame(sanity.reset_index(drop=True), path_of("sanity.parquet"))
    write_frame(predictions.reset_index(drop=True), path_of("predictions.parquet"))
    write_frame(curve_table(curves, **statistics), path_of("curves.parquet"))
    write_frame(pair_table(curves, coverage), path_of("pairs.parquet"))
    write_frame(gallery_table(spec, results, scores), path_of("gallery.parquet"))
    write_frame(summary, path_of("summary.parquet"))
    write_frame(summary, path_of("summary.csv"))
    shown = summary[summary.metric.isin(spec["metrics"])]
    maps = map_summary(spec, results)
    write_frame(maps, path_of("maps.csv"))
    forms: dict[Literal["markdown", "latex"], str] = {"markdown": "leaderboards.md", "latex": "leaderboards.tex"}
    warnings = chance_warnings(predictions)
    for warning in warnings:
        _LOG.warning("%s", warning)
    heads = {"markdown": as_markdown(warnings), "latex": as_latex(warnings)}
    for form, name in forms.items():
        text = boards_text(shown, comparisons, spec["directions"], form, coverage=coverage, maps=maps)
        write_text(heads[form] + text, path_of(name))
    write_record(out / OF_FOLDER, provenance("tables", asked, code), written)

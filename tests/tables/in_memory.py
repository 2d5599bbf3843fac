"""The tables of an experiment with all rows in memory at once, in plain pandas: what the streamed tables must equal byte by byte."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from vitfaith.artifacts.schemas import CERTIFICATES, CURVES, MAPS, PREDICTIONS, SANITY, SCORES, STABILITY
from vitfaith.artifacts.store import read_dataset
from vitfaith.explained import COLUMN
from vitfaith.statistics import mark_common, metric_agreement, paired_comparisons, summarise_compared
from vitfaith.statistics.paired import holm
from vitfaith.tables.certified import certified_summary, with_norms
from vitfaith.tables.clusters import read_clusters, shards_of, with_clusters
from vitfaith.tables.collect import CONDITION, INPUT, cell_files, sort_rows
from vitfaith.tables.explained import COLUMNS as EXPLAINED
from vitfaith.tables.explained import KEYS as EXPLAINED_KEYS
from vitfaith.tables.pooled import KEYS, pooled_summary


def collect(
    spec: Mapping[str, Any], results: str, stage: str, schema: pa.Schema, by: list[str], *, family: bool = True
) -> pd.DataFrame:
    """All rows of a stage."""
    paths = list(cell_files(spec, results, stage, family=family))
    if not paths:
        return schema.empty_table().to_pandas()
    frame = read_dataset(paths, schema).to_pandas()
    return sort_rows(frame, [*(name for name in CONDITION if name in frame), *by])


def tables(spec: Mapping[str, Any], results: str) -> dict[str, pd.DataFrame]:
    """Every table that is made of rows of images."""
    by = ["method", "metric", "variant", "image_id"]
    scores = collect(spec, results, "scores", SCORES, by)
    scores = scores[scores.method.isin(spec["explainers"]) & scores.metric.isin(spec["metrics"])]
    stability = collect(spec, results, "stability", STABILITY, ["reference", *by])
    if len(stability):
        stability = stability[stability.method.isin(spec["explainers"]) & stability.metric.isin(spec["stability"])]
    sanity = collect(spec, results, "sanity", SANITY, ["check", "reference", *by])
    sanity = sanity[sanity.method.isin(spec["explainers"]) & sanity.check.isin(spec["sanity"])]
    predictions = collect(spec, results, "predictions", PREDICTIONS, ["image_id"], family=False)
    curves = collect(spec, results, "curves", CURVES, ["method", "curve", "variant", "step", "image_id"])
    curves = curves[curves.method.isin(spec["explainers"])]
    certificates = collect(spec, results, "certificates", CERTIFICATES, ["certificate", "method", "k"], family=False)
    certificates = with_norms(certificates, spec["smoothings"], spec.get("norms", {}))
    clusters = read_clusters(shards_of(spec, results))
    scores, stability, sanity, predictions, curves, certificates = (
        with_clusters(frame, clusters) for frame in (scores, stability, sanity, predictions, curves, certificates)
    )
    statistics = {**spec["statistics"], "seed": spec["seed"]}
    pooled = scores.metric.isin(list(spec["pooled"]))
    single = scores[~pooled]
    measured = [f"{m} {v}".strip() for m, v in zip(sanity.metric, sanity.variant, strict=True)]
    checked = sanity.assign(metric=sanity.check, variant=measured).drop(columns=["check", "step"])
    rows = [frame for frame in (single.assign(reference=""), stability, checked) if len(frame)]
    parts = [summarise_compared(pd.concat(rows, ignore_index=True), by=KEYS, **statistics)]
    if pooled.any():
        parts.append(pooled_summary(scores[pooled], spec["pooled"], **statistics))
    group = [*CONDITION, "metric", "variant", "reference"]
    tests = paired_comparisons(single.assign(reference=""), by=group, **statistics)
    return {
        "scores": scores,
        "stability": stability,
        "sanity": sanity,
        "predictions": predictions,
        "certificates": certificates,
        "certified": certified_summary(certificates, statistics["coverage"]),
        "summary": sort_rows(pd.concat(parts, ignore_index=True), KEYS),
        "statistics": sort_rows(tests, [*group, "method", "opponent"]),
        "agreement": agreement(single, spec),
        "explained": explained(spec, results, single, statistics),
        "curves": mean_curves(curves, statistics),
        "pairs": pairs(curves, statistics["coverage"]),
        "maps": maps(spec, results),
    }


def agreement(scores: pd.DataFrame, spec: Mapping[str, Any]) -> pd.DataFrame:
    """Condition by condition."""
    names = [f"{m} {v}" if v else m for m, v in zip(scores.metric, scores.variant, strict=True)]
    turned = {n: spec["directions"].get(m, "higher") for m, n in zip(scores.metric, names, strict=True)}
    parts = [
        metric_agreement(rows, turned, coverage=spec["statistics"]["coverage"]).assign(
            **dict(zip(CONDITION, map(str, key), strict=True))
        )
        for key, rows in scores.assign(metric=names).groupby(CONDITION, observed=True)
    ]
    return pd.concat(parts, ignore_index=True)


def explained(
    spec: Mapping[str, Any], results: str, scores: pd.DataFrame, statistics: Mapping[str, Any]
) -> pd.DataFrame:
    """Tests of one explained class against another."""
    if scores[COLUMN].nunique() < 2:
        return pd.DataFrame(columns=EXPLAINED)
    asked = scores.astype(dict.fromkeys([*CONDITION, "method", "metric", "variant"], "str"))
    turned = asked.rename(columns={"method": "explainer", COLUMN: "method"})
    tests = paired_comparisons(turned, [*INPUT, "explainer", "metric", "variant"], **statistics)
    tests = tests.rename(columns={"method": COLUMN, "explainer": "method"})
    families = tests.groupby([*CONDITION, "opponent", "metric", "variant"], sort=False)["p"]
    tests["p_adjusted"] = families.transform(lambda p: holm(p.to_numpy()))
    numbers = ["difference", "low", "high"]
    tests[numbers] = tests[numbers] + 0.0
    tests["confidence"] = statistics["confidence"]
    schema = pa.schema([MAPS.field(name) for name in ("image_id", "target")])
    frame = read_dataset(list(cell_files(spec, results, "attribute")), schema).to_pandas()
    frame = frame.astype(dict.fromkeys(CONDITION, "str")).drop_duplicates([*CONDITION, "image_id"])
    rows = []
    for key, part in frame.groupby(INPUT, sort=True):
        classes = part.pivot(index="image_id", columns=COLUMN, values="target")
        for one in classes:
            for other in classes.columns.drop([one]):
                rows.append((*key, one, other, float(np.mean(classes[one] != classes[other]))))
    shares = pd.DataFrame(rows, columns=[*CONDITION, "opponent", "differ"])
    found = tests.merge(shares, on=[*CONDITION, "opponent"], how="left")
    return found[EXPLAINED].sort_values(EXPLAINED_KEYS, ignore_index=True)


def mean_curves(curves: pd.DataFrame, statistics: Mapping[str, Any]) -> pd.DataFrame:
    """Means of every step of every curve."""
    step = [*CONDITION, "method", "curve", "variant", "step"]
    share = curves.astype({"fraction": float}).groupby(step, observed=True).fraction.transform("mean")
    curves, steps = curves.assign(fraction=share.astype("float32")), [*step, "fraction"]
    kept = [name for name in ("cluster",) if name in curves.columns]
    means = []
    for value in ("probability", "kl"):
        long = curves.rename(columns={value: "value"})[[*steps, "image_id", "value", *kept]]
        lines = summarise_compared(long, by=steps, within=[*CONDITION, "curve", "variant"], **statistics)
        means.append(sort_rows(lines, steps).assign(quantity=value))
    return pd.concat(means, ignore_index=True)


def pairs(curves: pd.DataFrame, coverage: float) -> pd.DataFrame:
    """The pairs of groups of every method."""
    keys = [*CONDITION, "method", "variant"]
    groups = curves[curves.curve == "groups"]
    grouped = groups.groupby([*keys, "image_id"], observed=True)["salience"]
    spread = (grouped.transform("max") - grouped.transform("min")).where(groups["salience"].notna())
    groups = groups.assign(value=groups["probability"].where(spread > 0))
    groups = mark_common(groups, [*CONDITION, "variant"], coverage)
    groups = groups[groups["common"] | ~groups["compared"]]
    parts = []
    for key, part in groups.groupby(keys, observed=True):
        count = part.step.nunique()
        ordered = part.sort_values(["image_id", "step"])
        salience, probability = (ordered[c].to_numpy(float).reshape(-1, count) for c in ("salience", "probability"))
        first, second = np.triu_indices(count, 1)
        gap = salience[:, first] - salience[:, second]
        weight = np.where(probability[:, first] > probability[:, second], -gap, gap)
        total = np.abs(gap).sum(1)
        known = np.isfinite(total) & (total > 0) & np.isfinite(probability).all(1)
        weight, total = weight[known], total[known]
        with np.errstate(invalid="ignore"):
            share = (weight < 0).sum(0) / (weight != 0).sum(0)
            contribution = (weight / total[:, None]).sum(0) / len(weight)
        numbers = {"first": first + 1, "second": second + 1, "broken": share, "contribution": contribution}
        facts = {"n": len(weight), "compared": bool(part["compared"].iloc[0]), "asked": int(part["asked"].iloc[0])}
        parts.append(pd.DataFrame(dict(zip(keys, map(str, key), strict=True)) | numbers | facts))
    return pd.concat(parts, ignore_index=True)


def maps(spec: Mapping[str, Any], results: str) -> pd.DataFrame:
    """Counts of maps."""
    frame = read_dataset(list(cell_files(spec, results, "attribute")), MAPS).to_pandas()
    frame = frame[frame.method.isin(spec["explainers"])].astype(dict.fromkeys(CONDITION, "str"))
    frame = frame.assign(constant=frame.flag == "constant", nan=frame.flag == "nan")
    grouped = frame.groupby([*CONDITION, "method"], sort=True)
    counts = {"n": ("flag", "size"), "constant": ("constant", "sum"), "nan": ("nan", "sum"), "tied": ("tied", "mean")}
    return grouped.agg(**counts).reset_index()


def chosen(scores: pd.DataFrame, coverage: float, explained: str) -> dict[str, str]:
    """Image → role of the gallery."""
    saco = scores[scores.metric.str.startswith("saco") & (scores.explained.astype(str) == explained)]
    saco = mark_common(saco, [*CONDITION, "metric", "variant"], coverage)
    cells = saco[saco.compared].drop_duplicates([*CONDITION, "metric", "variant", "method"])
    asked = saco.dataset.astype(str).map(cells.dataset.astype(str).value_counts())
    found = saco.groupby(["dataset", "image_id"], observed=True).common.transform("sum")
    mean = saco[saco.common & (found == asked)].groupby("image_id").value.mean().reset_index()
    order = mean.sort_values(["value", "image_id"], ascending=[False, True]).image_id.tolist()
    return {order[-1]: "worst", order[max(0, (len(order) - 1) // 2)]: "median", order[0]: "best"}


def write(frame: pd.DataFrame, path: Path) -> None:
    """One table as a file, written at once."""
    from vitfaith.stages.tables import write_frame

    write_frame(frame.reset_index(drop=True), path)

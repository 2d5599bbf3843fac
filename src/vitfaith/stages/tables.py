"""The tables stage: an experiment's results as tidy Parquet, CSV and Markdown, with confidence intervals over images."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa

from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.record import OF_FOLDER, write_record
from vitfaith.artifacts.store import atomic_path, write_parquet
from vitfaith.tables.attacks import attack_table
from vitfaith.tables.boards import boards_text
from vitfaith.tables.certified import write_certificates
from vitfaith.tables.clusters import read_images
from vitfaith.tables.collect import with_shards
from vitfaith.tables.curves import read_curves
from vitfaith.tables.examples import PICTURES, examples_table, pictures
from vitfaith.tables.gallery import gallery_table
from vitfaith.tables.growing import GrowingTable
from vitfaith.tables.maps import MapFacts
from vitfaith.tables.measured import KINDS
from vitfaith.tables.predicted import write_predictions
from vitfaith.tables.sample import draw_sample
from vitfaith.tables.scores import ScoreTables
from vitfaith.tables.smoothings import smoothing_table
from vitfaith.tables.trainings import training_table
from vitfaith.tables.vectors import Vectors
from vitfaith.tables.warnings import as_latex, as_markdown

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


def run_tables(spec: Mapping[str, Any], code: str, results: str, out: Path) -> None:
    """Write the tables of an experiment below ``out``.

    ``scores``, ``stability`` and ``predictions`` keep one row per image, as does ``sanity``; ``curves`` is averaged over images, ``pairs`` has the pairs of groups that break SaCo; ``summary``
    has mean, interval and number of images of every score, ``statistics`` the paired tests between methods, ``agreement``
    the rank correlations between metrics, ``leaderboards`` (.md, .tex) the means of each condition ready for a paper, ``costs`` the counted passes, ``gallery`` the maps of chosen images, ``certificates`` every certified radius,
    ``certified.csv`` their summary, ``maps.csv`` how many maps are constant and how many of their features tie, ``attacks`` what each attack was asked for and did, ``smoothings`` what each smoothing is,
    ``trainings`` how learned explainers were trained, ``explained`` what the choice of the explained class does to the scores, ``conditions`` the paired tests between two models, attacks or smoothings, and ``sample`` (with ``sample_scores``, ``sample_pairs`` and ``sample_pictures``) the maps, scores, broken pairs and pictures of at most 300 random images. The leaderboards begin with a warning for each model whose accuracy on
    clean, labelled images is near chance. A record in ``.record.json`` has the digests of all and the provenance: tables
    themselves hold neither settings nor code, so that equal tables redraw no figure.
    """
    asked, spec = spec, with_shards(spec)
    written: list[Path] = []

    def path_of(name: str) -> Path:
        written.append(out / name)
        return written[-1]

    images = read_images(spec, results)
    sample = draw_sample(images, spec["seed"])
    settings = {name: spec["statistics"][name] for name in ("confidence", "resamples")} | {"seed": spec["seed"]}
    coverage = spec["statistics"]["coverage"]
    write_frame(write_certificates(spec, results, images, path_of("certificates.parquet")), path_of("certified.csv"))
    write_frame(attack_table(spec, results), path_of("attacks.parquet"))
    write_frame(training_table(spec), path_of("trainings.parquet"))
    write_frame(smoothing_table(spec["smoothings"]), path_of("smoothings.parquet"))
    warnings = list(write_predictions(spec, results, images, path_of("predictions.parquet")))
    with closing(Vectors(out)) as vectors:
        curves, pairs, broken = read_curves(spec, results, images, vectors, sample)
        write_frame(curves.table(**settings), path_of("curves.parquet"))
        write_frame(pairs, path_of("pairs.parquet"))
        write_frame(broken, path_of("sample_pairs.parquet"))
    facts = MapFacts(spec, results)
    write_frame(facts.costs, path_of("costs.parquet"))
    write_frame(facts.maps, path_of("maps.csv"))
    with closing(Vectors(out)) as vectors:
        scores = ScoreTables(spec, settings, vectors, sample)
        scores.read(results, images, {kind.stage: path_of(f"{kind.stage}.parquet") for kind in KINDS})
        summary = scores.summary()
        write_frame(scores.conditions(), path_of("conditions.parquet"))
    write_frame(scores.sampled(), path_of("sample_scores.parquet"))
    write_frame(examples_table(spec, results, sample, images), path_of("sample.parquet"))
    with GrowingTable(path_of("sample_pictures.parquet"), pd.DataFrame(columns=PICTURES), group=256) as grown:
        for frame in pictures(spec, results, sample, images):
            grown.add(frame)
    comparisons = scores.comparisons()
    write_frame(comparisons, path_of("statistics.parquet"))
    write_frame(scores.explained(facts.differ), path_of("explained.parquet"))
    write_frame(scores.agreement(), path_of("agreement.parquet"))
    write_frame(gallery_table(spec, results, scores.chosen(), images), path_of("gallery.parquet"))
    write_frame(summary, path_of("summary.parquet"))
    write_frame(summary, path_of("summary.csv"))
    shown = summary[summary.metric.isin(spec["metrics"])]
    for warning in warnings:
        _LOG.warning("%s", warning)
    heads = {"markdown": as_markdown(warnings), "latex": as_latex(warnings)}
    forms: dict[Literal["markdown", "latex"], str] = {"markdown": "leaderboards.md", "latex": "leaderboards.tex"}
    for form, name in forms.items():
        text = boards_text(shown, comparisons, spec["directions"], form, coverage=coverage, maps=facts.maps)
        write_text(heads[form] + text, path_of(name))
    write_record(out / OF_FOLDER, provenance("tables", asked, code), written)

"""One verb per stage: rules call them, and they repeat a job by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitfaith.cli.options import DECIDING, DENOISER, IMAGES, LEARNED, OUT, PIXELS, TABLES, WEIGHTS, Option, path
from vitfaith.cli.stage import Given, OnDevice, OverShard, Stage


def _denoiser_files(given: Given) -> list[Path]:
    from vitfaith.denoisers.layout import folder_files

    return [given["log"], *folder_files(given["out"])]


def _figure_files(given: Given) -> list[Path]:
    return [given["out"].with_name(f"{given['out'].name}.{suffix}") for suffix in ("png", "pdf", "svg", "rst")]


STAGES = (
    Stage("shard", "vitfaith.stages.shard.run_shard", "Write the images of one shard of a dataset.", {"out": OUT}),
    OnDevice(
        "train classifier",
        "vitfaith.stages.train_classifier.run_train_classifier",
        "Train a classifier by its recipe.",
        {"out": OUT, "log": OUT, "teacher": path("weights of the teacher", "network").or_none()},
    ),
    OnDevice(
        "train denoiser",
        "vitfaith.stages.train_denoiser.run_train_denoiser",
        "Train a denoiser by its recipe.",
        {"out": OUT, "log": OUT},
        _denoiser_files,
    ),
    OnDevice(
        "train diffmask",
        "vitfaith.stages.train_diffmask.run_train_diffmask",
        "Train a DiffMask for a classifier by its recipe.",
        {"out": OUT, "log": OUT, "weights": WEIGHTS},
    ),
    OnDevice(
        "train shapley",
        "vitfaith.stages.train_shapley.run_train_shapley",
        "Train a ViT-Shapley explainer for a classifier by its recipe.",
        {
            "out": OUT,
            "log": OUT,
            "weights": WEIGHTS,
            "surrogate": path("weights of the surrogate", "network").or_none(),
        },
    ),
    OverShard(
        "attack",
        "vitfaith.stages.attack.run_attack",
        "Attack the images of a shard.",
        {"images": IMAGES, "out": OUT, "predictions": OUT, "weights": WEIGHTS, "denoiser": DENOISER},
        backward=True,
    ),
    OverShard(
        "denoise",
        "vitfaith.stages.denoise.run_denoise",
        "Noise and denoise the images of a shard.",
        {"images": IMAGES, "out": OUT, "denoiser": DENOISER},
        extends=True,
    ),
    OverShard(
        "predict",
        "vitfaith.stages.predict.run_predict",
        "Classify the denoised samples of a shard.",
        {
            "images": IMAGES,
            "denoised": path("Parquet file with the denoised samples", "images"),
            "out": OUT,
            "weights": WEIGHTS,
        },
    ),
    OverShard(
        "attribute",
        "vitfaith.stages.attribute.run_attribute",
        "Explain a shard with one family of explainers.",
        {
            "images": IMAGES,
            "pixels": PIXELS,
            "out": OUT,
            "denoised": path("denoised samples; default: the images themselves", "images").or_none(),
            "weights": WEIGHTS,
            "learned": LEARNED,
            "predictions": DECIDING,
        },
        backward=True,
    ),
    OverShard(
        "score",
        "vitfaith.stages.score.run_score",
        "Score the maps of a shard.",
        {
            "images": IMAGES,
            "pixels": PIXELS,
            "maps": path("Parquet file with the maps", "images"),
            "scores": OUT,
            "curves": OUT,
            "weights": WEIGHTS,
            "predictions": DECIDING,
            "bank": path("response bank of these images; default: the masks are evaluated", "images").or_none(),
            "truth": path("shard with segmentations, for metrics that need them", "images").or_none(),
            "placeholder": path("DiffMask whose placeholder a fill uses", "network").or_none(),
            "denoiser": DENOISER,
        },
    ),
    OverShard(
        "bank",
        "vitfaith.stages.bank.run_bank",
        "Evaluate the classifier on masks that are shared between explainers.",
        {
            "images": IMAGES,
            "pixels": PIXELS,
            "out": OUT,
            "weights": WEIGHTS,
            "denoiser": DENOISER,
            "predictions": DECIDING,
        },
    ),
    Stage(
        "stability",
        "vitfaith.stages.stability.run_stability",
        "Compare maps with the maps of the clean image.",
        {
            "maps": path("maps of the condition"),
            "out": OUT,
            "clean": path("maps of the clean image with the same smoothing").or_none(),
            "undefended": path("maps of the clean image without smoothing").or_none(),
        },
    ),
    OverShard(
        "sanity",
        "vitfaith.stages.sanity.run_sanity",
        "Explain the images of a shard again: with random weights, for other classes, with noise.",
        {
            "images": IMAGES,
            "pixels": PIXELS,
            "out": OUT,
            "weights": WEIGHTS,
            "learned": LEARNED,
            "predictions": DECIDING,
        },
        backward=True,
    ),
    Stage(
        "certify",
        "vitfaith.stages.certify.run_certify",
        "Certify the smoothed predictions and maps of a shard.",
        {
            "images": IMAGES,
            "predictions": path("Parquet file with the smoothed predictions"),
            "maps": Option(
                Annotated[list[Path], typer.Option(help="Parquet files with the smoothed maps, one per family")]
            ),
            "out": OUT,
        },
    ),
    Stage(
        "tables",
        "vitfaith.stages.tables.run_tables",
        "Collect the results of an experiment in tidy tables with confidence intervals.",
        {
            "out": path("folder to write"),
            "results": Option(
                Annotated[str, typer.Option(help="folder with the results of earlier stages")], "results"
            ),
        },
        lambda given: [given["out"] / "summary.parquet"],
    ),
    Stage(
        "figures",
        "vitfaith.stages.figures.run_figure",
        "Draw one figure from an experiment's tables.",
        {"tables": TABLES, "out": path("path without suffix; .pdf, .svg and .png are added")},
        _figure_files,
    ),
    Stage(
        "page",
        "vitfaith.stages.page.run_page",
        "Write the tables, curves and gallery of an experiment as one HTML page.",
        {"tables": TABLES, "out": path("HTML file to write", "output")},
    ),
)
"""Verbs in the order of the help text."""

app = typer.Typer()
_TRAIN = typer.Typer(no_args_is_help=True, help="Train the networks of a study.")
app.add_typer(_TRAIN, name="train")
for _stage in STAGES:
    *_group, _verb = _stage.verb.split()
    (_TRAIN if _group else app).command(_verb, help=_stage.help)(_stage.command())

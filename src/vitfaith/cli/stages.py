"""One verb a stage: what the rules call, and what repeats a job by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitfaith.cli.options import BatchSize, Code, Gpus, Images, Out, Spec, Weights, parse_spec
from vitfaith.device import job_device

app = typer.Typer()
train_app = typer.Typer(no_args_is_help=True, help="Train the networks of a study.")
app.add_typer(train_app, name="train")


@app.command()
def shard(spec: Spec, out: Out, code: Code = "") -> None:
    """Write the images of one shard of a dataset."""
    from vitfaith.shard.stage import run_shard

    run_shard(parse_spec(spec), code, out)


@train_app.command()
def classifier(spec: Spec, out: Out, log: Out, gpus: Gpus = 0) -> None:
    """Train a classifier by its recipe."""
    from vitfaith.train.stage import run_train_classifier

    with job_device(gpus) as device:
        run_train_classifier(parse_spec(spec), out, log, device)


@train_app.command()
def denoiser(spec: Spec, out: Out, log: Out, gpus: Gpus = 0) -> None:
    """Train a denoiser by its recipe."""
    from vitfaith.train.stage import run_train_denoiser

    with job_device(gpus) as device:
        run_train_denoiser(parse_spec(spec), out, log, device)


@app.command()
def attack(
    spec: Spec,
    images: Images,
    out: Out,
    predictions: Out,
    weights: Weights = None,
    denoiser: Annotated[Path | None, typer.Option(help="denoiser folder, for attacks that see through one")] = None,
    code: Code = "",
    gpus: Gpus = 0,
    batch_size: BatchSize = 256,
) -> None:
    """Attack the images of a shard."""
    from vitfaith.attack.stage import run_attack

    with job_device(gpus) as device:
        run_attack(
            parse_spec(spec),
            code,
            images,
            weights,
            out,
            predictions,
            denoiser=denoiser,
            device=device,
            batch_size=batch_size,
        )


@app.command()
def denoise(
    spec: Spec,
    images: Images,
    out: Out,
    denoiser: Annotated[
        str | None, typer.Option(help="folder, checkpoint or hub id, for smoothings that use one")
    ] = None,
    code: Code = "",
    gpus: Gpus = 0,
    batch_size: BatchSize = 256,
) -> None:
    """Noise and denoise the images of a shard."""
    from vitfaith.denoise.stage import run_denoise

    with job_device(gpus) as device:
        run_denoise(parse_spec(spec), code, images, denoiser, out, device=device, batch_size=batch_size)


@app.command()
def predict(
    spec: Spec,
    images: Images,
    denoised: Images,
    out: Out,
    weights: Weights = None,
    code: Code = "",
    gpus: Gpus = 0,
    batch_size: BatchSize = 256,
) -> None:
    """Classify the denoised samples of a shard."""
    from vitfaith.predict.stage import run_predict

    with job_device(gpus) as device:
        run_predict(parse_spec(spec), code, images, denoised, weights, out, device=device, batch_size=batch_size)


@app.command()
def attribute(
    spec: Spec,
    images: Images,
    out: Out,
    denoised: Annotated[Path | None, typer.Option(help="denoised samples; without it the images themselves")] = None,
    weights: Weights = None,
    code: Code = "",
    gpus: Gpus = 0,
    batch_size: BatchSize = 256,
) -> None:
    """Explain a shard with one family of explainers."""
    from vitfaith.attribute.stage import run_attribute

    with job_device(gpus) as device:
        run_attribute(parse_spec(spec), code, images, denoised, weights, out, device=device, batch_size=batch_size)


@app.command()
def score(
    spec: Spec,
    images: Images,
    maps: Annotated[Path, typer.Option(help="Parquet file with the maps")],
    scores: Out,
    curves: Out,
    weights: Weights = None,
    bank: Annotated[Path | None, typer.Option(help="response bank of these images; without it masks are asked")] = None,
    truth: Annotated[Path | None, typer.Option(help="shard with segmentations, for metrics that need them")] = None,
    code: Code = "",
    gpus: Gpus = 0,
    batch_size: BatchSize = 256,
) -> None:
    """Score the maps of a shard."""
    from vitfaith.score.stage import run_score

    with job_device(gpus) as device:
        run_score(
            parse_spec(spec),
            code,
            images,
            maps,
            weights,
            scores,
            curves,
            bank=bank,
            truth=truth,
            device=device,
            batch_size=batch_size,
        )


@app.command()
def bank(
    spec: Spec,
    images: Images,
    out: Out,
    weights: Weights = None,
    code: Code = "",
    gpus: Gpus = 0,
    batch_size: BatchSize = 256,
) -> None:
    """Ask the classifier about the masks that metrics share between explainers."""
    from vitfaith.bank.stage import run_bank

    with job_device(gpus) as device:
        run_bank(parse_spec(spec), code, images, weights, out, device=device, batch_size=batch_size)


@app.command()
def stability(
    spec: Spec,
    maps: Annotated[Path, typer.Option(help="maps of the condition")],
    out: Out,
    clean: Annotated[Path | None, typer.Option(help="maps of the clean image behind the same smoothing")] = None,
    undefended: Annotated[Path | None, typer.Option(help="maps of the clean image without smoothing")] = None,
    code: Code = "",
) -> None:
    """Compare maps with those of the clean image."""
    from vitfaith.stability.stage import run_stability

    given = {"clean": clean, "undefended": undefended}
    run_stability(parse_spec(spec), code, maps, {k: v for k, v in given.items() if v is not None}, out)


@app.command()
def certify(
    spec: Spec,
    images: Images,
    predictions: Annotated[Path, typer.Option(help="Parquet file with the smoothed predictions")],
    maps: Annotated[list[Path], typer.Option(help="Parquet files with the smoothed maps, one a family")],
    out: Out,
    code: Code = "",
) -> None:
    """Certify the smoothed predictions and maps of a shard."""
    from vitfaith.certify.stage import run_certify

    run_certify(parse_spec(spec), code, images, predictions, maps, out)


@app.command()
def tables(
    spec: Spec,
    out: Annotated[Path, typer.Option(help="folder to write")],
    results: Annotated[str, typer.Option(help="folder with the results of the stages before")] = "results",
    code: Code = "",
) -> None:
    """Collect an experiment's results into tidy tables with confidence intervals."""
    from vitfaith.tables.stage import run_tables

    run_tables(parse_spec(spec), code, results, out)


@app.command()
def figures(
    spec: Spec,
    tables: Annotated[Path, typer.Option(help="folder with the experiment's tables")],
    out: Annotated[Path, typer.Option(help="path without suffix; .pdf, .svg and .png are added")],
    code: Code = "",
) -> None:
    """Draw one figure from an experiment's tables."""
    from vitfaith.figures.stage import run_figure

    run_figure(parse_spec(spec), code, tables, out)

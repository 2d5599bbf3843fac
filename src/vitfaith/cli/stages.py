"""One verb a stage: what the rules call, and what repeats a job by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitfaith.artifacts.parts import run_alone
from vitfaith.cli.options import (
    BatchSize,
    Code,
    DenoiserPath,
    Device,
    Fast,
    Gpus,
    Images,
    Learned,
    OnOff,
    Out,
    PartSize,
    Spec,
    Weights,
    parse_spec,
)
from vitfaith.cli.shard_job import ShardJob, identity
from vitfaith.device import job_device

app = typer.Typer()
train_app = typer.Typer(no_args_is_help=True, help="Train the networks of a study.")
app.add_typer(train_app, name="train")


@app.command()
def shard(spec: Spec, out: Out, code: Code = "") -> None:
    """Write the images of one shard of a dataset."""
    from vitfaith.stages.shard import run_shard

    run_alone(lambda: run_shard(parse_spec(spec), code, out), [out])


@train_app.command()
def classifier(
    spec: Spec, out: Out, log: Out, code: Code = "", gpus: Gpus = 0, device: Device = "auto", fast: Fast = OnOff.on
) -> None:
    """Train a classifier by its recipe."""
    from vitfaith.stages.train_classifier import run_train_classifier

    with job_device(gpus, device) as chosen:
        run_alone(lambda: run_train_classifier(parse_spec(spec), code, out, log, chosen), [out, log], f"{spec} {code}")


@train_app.command()
def denoiser(
    spec: Spec, out: Out, log: Out, code: Code = "", gpus: Gpus = 0, device: Device = "auto", fast: Fast = OnOff.on
) -> None:
    """Train a denoiser by its recipe."""
    from vitfaith.denoisers.layout import folder_files
    from vitfaith.stages.train_denoiser import run_train_denoiser

    with job_device(gpus, device) as chosen:
        run_alone(
            lambda: run_train_denoiser(parse_spec(spec), code, out, log, chosen),
            [log, *folder_files(out)],
            f"{spec} {code}",
        )


@train_app.command()
def diffmask(
    spec: Spec,
    out: Out,
    log: Out,
    weights: Weights = None,
    code: Code = "",
    gpus: Gpus = 0,
    device: Device = "auto",
    fast: Fast = OnOff.on,
) -> None:
    """Train a DiffMask for a classifier by its recipe."""
    from vitfaith.stages.train_diffmask import run_train_diffmask

    with job_device(gpus, device) as chosen:
        run_alone(
            lambda: run_train_diffmask(parse_spec(spec), code, weights, out, log, chosen),
            [out, log],
            f"{spec} {code} {identity(weights)}",
        )


@app.command()
def attack(
    spec: Spec,
    images: Images,
    out: Out,
    predictions: Out,
    weights: Weights = None,
    denoiser: DenoiserPath = None,
    code: Code = "",
    gpus: Gpus = 0,
    device: Device = "auto",
    fast: Fast = OnOff.on,
    batch_size: BatchSize = 256,
    part_size: PartSize = 0,
) -> None:
    """Attack the images of a shard."""
    from vitfaith.stages.attack import run_attack

    job = ShardJob(spec, code, weights, gpus, device, batch_size, part_size, [denoiser])
    job.run(
        lambda i, o, on: run_attack(
            job.spec, code, i["images"], weights, o["out"], o["predictions"], denoiser=denoiser, **on
        ),
        {"images": images},
        {"out": out, "predictions": predictions},
        backward=True,
    )


@app.command()
def denoise(
    spec: Spec,
    images: Images,
    out: Out,
    denoiser: DenoiserPath = None,
    code: Code = "",
    gpus: Gpus = 0,
    device: Device = "auto",
    fast: Fast = OnOff.on,
    batch_size: BatchSize = 256,
    part_size: PartSize = 0,
) -> None:
    """Noise and denoise the images of a shard."""
    from vitfaith.stages.denoise import run_denoise

    # what the file holds already is kept sample by sample, for all images at once: parts would not see it
    job = ShardJob(spec, code, None, gpus, device, batch_size, 0 if out.exists() else part_size)
    job.run(
        lambda i, o, on: run_denoise(job.spec, code, i["images"], denoiser, o["out"], **on),
        {"images": images},
        {"out": out},
    )


@app.command()
def predict(
    spec: Spec,
    images: Images,
    denoised: Images,
    out: Out,
    weights: Weights = None,
    code: Code = "",
    gpus: Gpus = 0,
    device: Device = "auto",
    fast: Fast = OnOff.on,
    batch_size: BatchSize = 256,
    part_size: PartSize = 0,
) -> None:
    """Classify the denoised samples of a shard."""
    from vitfaith.stages.predict import run_predict

    job = ShardJob(spec, code, weights, gpus, device, batch_size, part_size)
    job.run(
        lambda i, o, on: run_predict(job.spec, code, i["images"], i["denoised"], weights, o["out"], **on),
        {"images": images, "denoised": denoised},
        {"out": out},
    )


@app.command()
def attribute(
    spec: Spec,
    images: Images,
    out: Out,
    denoised: Annotated[Path | None, typer.Option(help="denoised samples; without it the images themselves")] = None,
    weights: Weights = None,
    learned: Learned = None,
    code: Code = "",
    gpus: Gpus = 0,
    device: Device = "auto",
    fast: Fast = OnOff.on,
    batch_size: BatchSize = 256,
    part_size: PartSize = 0,
) -> None:
    """Explain a shard with one family of explainers."""
    from vitfaith.stages.attribute import run_attribute

    job = ShardJob(spec, code, weights, gpus, device, batch_size, part_size, learned or [])
    job.run(
        lambda i, o, on: run_attribute(job.spec, code, i["images"], i.get("denoised"), weights, o["out"], **on),
        {"images": images, "denoised": denoised},
        {"out": out},
        backward=True,
    )


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
    placeholder: Annotated[Path | None, typer.Option(help="DiffMask whose placeholder a fill takes")] = None,
    denoiser: DenoiserPath = None,
    code: Code = "",
    gpus: Gpus = 0,
    device: Device = "auto",
    fast: Fast = OnOff.on,
    batch_size: BatchSize = 256,
    part_size: PartSize = 0,
) -> None:
    """Score the maps of a shard."""
    from vitfaith.stages.score import run_score

    job = ShardJob(spec, code, weights, gpus, device, batch_size, part_size, [placeholder, denoiser])
    job.run(
        lambda i, o, on: run_score(
            job.spec,
            code,
            i["images"],
            i["maps"],
            weights,
            o["scores"],
            o["curves"],
            bank=i.get("bank"),
            truth=i.get("truth"),
            placeholder=placeholder,
            denoiser=denoiser,
            **on,
        ),
        {"images": images, "maps": maps, "bank": bank, "truth": truth},
        {"scores": scores, "curves": curves},
    )


@app.command()
def bank(
    spec: Spec,
    images: Images,
    out: Out,
    weights: Weights = None,
    denoiser: DenoiserPath = None,
    code: Code = "",
    gpus: Gpus = 0,
    device: Device = "auto",
    fast: Fast = OnOff.on,
    batch_size: BatchSize = 256,
    part_size: PartSize = 0,
) -> None:
    """Ask the classifier about the masks that metrics share between explainers."""
    from vitfaith.stages.bank import run_bank

    job = ShardJob(spec, code, weights, gpus, device, batch_size, part_size, [denoiser])
    job.run(
        lambda i, o, on: run_bank(job.spec, code, i["images"], weights, o["out"], denoiser=denoiser, **on),
        {"images": images},
        {"out": out},
    )


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
    from vitfaith.stages.stability import run_stability

    given = {"clean": clean, "undefended": undefended}
    present = {k: v for k, v in given.items() if v is not None}
    run_alone(lambda: run_stability(parse_spec(spec), code, maps, present, out), [out])


@app.command()
def sanity(
    spec: Spec,
    images: Images,
    out: Out,
    weights: Weights = None,
    learned: Learned = None,
    code: Code = "",
    gpus: Gpus = 0,
    device: Device = "auto",
    fast: Fast = OnOff.on,
    batch_size: BatchSize = 256,
    part_size: PartSize = 0,
) -> None:
    """Explain the images of a shard again with random weights, for other classes, under noise."""
    from vitfaith.stages.sanity import run_sanity

    job = ShardJob(spec, code, weights, gpus, device, batch_size, part_size, learned or [])
    job.run(
        lambda i, o, on: run_sanity(job.spec, code, i["images"], weights, o["out"], **on),
        {"images": images},
        {"out": out},
        backward=True,
    )


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
    from vitfaith.stages.certify import run_certify

    run_alone(lambda: run_certify(parse_spec(spec), code, images, predictions, maps, out), [out])


@app.command()
def tables(
    spec: Spec,
    out: Annotated[Path, typer.Option(help="folder to write")],
    results: Annotated[str, typer.Option(help="folder with the results of the stages before")] = "results",
    code: Code = "",
) -> None:
    """Collect an experiment's results into tidy tables with confidence intervals."""
    from vitfaith.stages.tables import run_tables

    run_alone(lambda: run_tables(parse_spec(spec), code, results, out), [out / "summary.parquet"])


@app.command()
def figures(
    spec: Spec,
    tables: Annotated[Path, typer.Option(help="folder with the experiment's tables")],
    out: Annotated[Path, typer.Option(help="path without suffix; .pdf, .svg and .png are added")],
    code: Code = "",
) -> None:
    """Draw one figure from an experiment's tables."""
    from vitfaith.stages.figures import run_figure

    files = [out.with_name(f"{out.name}.{suffix}") for suffix in ("png", "pdf", "svg", "rst")]
    run_alone(lambda: run_figure(parse_spec(spec), code, tables, out), files)


@app.command()
def page(
    spec: Spec,
    tables: Annotated[Path, typer.Option(help="folder with the experiment's tables")],
    out: Annotated[Path, typer.Option(help="HTML file to write")],
    code: Code = "",
) -> None:
    """Write an experiment's tables, curves and gallery as one page of HTML."""
    from vitfaith.stages.page import run_page

    run_alone(lambda: run_page(parse_spec(spec), code, tables, out), [out])

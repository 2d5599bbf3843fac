"""The command line: one verb a stage (what the rules call), and verbs that tell what exists and whether a config holds."""

from __future__ import annotations

import json
import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from vitfaith.device import job_device
from vitfaith.errors import VitfaithError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
train_app = typer.Typer(no_args_is_help=True, help="Train the networks of a study.")
app.add_typer(train_app, name="train")

Spec = Annotated[str, typer.Option(help="what the job depends on, as canonical JSON (see `vitfaith plan`)")]
Code = Annotated[str, typer.Option(help="fingerprint of the code, stored in the output")]
Images = Annotated[Path, typer.Option(help="Parquet file with the images")]
Weights = Annotated[Path | None, typer.Option(help="safetensors weights; without it timm's pretrained ones")]
Out = Annotated[Path, typer.Option(help="file to write")]
Gpus = Annotated[int, typer.Option(help="GPUs given to this job; 0 runs on the CPU")]
BatchSize = Annotated[int, typer.Option(min=1, help="most images in one pass")]


def _spec(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except ValueError as error:
        raise VitfaithError(f"--spec is not a JSON object: {error}") from error


@app.command()
def shard(spec: Spec, out: Out, code: Code = "") -> None:
    """Write the images of one shard of a dataset."""
    from vitfaith.shard.stage import run_shard

    run_shard(_spec(spec), code, out)


@train_app.command()
def classifier(spec: Spec, out: Out, log: Out, gpus: Gpus = 0) -> None:
    """Train a classifier by its recipe."""
    from vitfaith.train.stage import run_train_classifier

    with job_device(gpus) as device:
        run_train_classifier(_spec(spec), out, log, device)


@train_app.command()
def denoiser(spec: Spec, out: Out, log: Out, gpus: Gpus = 0) -> None:
    """Train a denoiser by its recipe."""
    from vitfaith.train.stage import run_train_denoiser

    with job_device(gpus) as device:
        run_train_denoiser(_spec(spec), out, log, device)


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
            _spec(spec),
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
    denoiser: Annotated[Path, typer.Option(help="folder with unet/ and scheduler/")],
    out: Out,
    code: Code = "",
    gpus: Gpus = 0,
    batch_size: BatchSize = 256,
) -> None:
    """Noise and denoise the images of a shard."""
    from vitfaith.denoise.stage import run_denoise

    with job_device(gpus) as device:
        run_denoise(_spec(spec), code, images, denoiser, out, device=device, batch_size=batch_size)


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
        run_predict(_spec(spec), code, images, denoised, weights, out, device=device, batch_size=batch_size)


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
        run_attribute(_spec(spec), code, images, denoised, weights, out, device=device, batch_size=batch_size)


@app.command()
def score(
    spec: Spec,
    images: Images,
    maps: Annotated[Path, typer.Option(help="Parquet file with the maps")],
    scores: Out,
    curves: Out,
    weights: Weights = None,
    code: Code = "",
    gpus: Gpus = 0,
    batch_size: BatchSize = 256,
) -> None:
    """Score the maps of a shard."""
    from vitfaith.score.stage import run_score

    with job_device(gpus) as device:
        run_score(_spec(spec), code, images, maps, weights, scores, curves, device=device, batch_size=batch_size)


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
    run_stability(_spec(spec), code, maps, {k: v for k, v in given.items() if v is not None}, out)


@app.command()
def tables(
    spec: Spec,
    out: Annotated[Path, typer.Option(help="folder to write")],
    results: Annotated[str, typer.Option(help="folder with the results of the stages before")] = "results",
    code: Code = "",
) -> None:
    """Collect an experiment's results into tidy tables with confidence intervals."""
    from vitfaith.tables.stage import run_tables

    run_tables(_spec(spec), code, results, out)


@app.command()
def figures(
    spec: Spec,
    tables: Annotated[Path, typer.Option(help="folder with the experiment's tables")],
    out: Annotated[Path, typer.Option(help="path without suffix; .pdf, .svg and .png are added")],
    code: Code = "",
) -> None:
    """Draw one figure from an experiment's tables."""
    from vitfaith.figures.stage import run_figure

    run_figure(_spec(spec), code, tables, out)


class Section(StrEnum):
    """What can be listed."""

    explainers = "explainers"
    metrics = "metrics"
    attacks = "attacks"
    smoothings = "smoothings"
    datasets = "datasets"
    stability = "stability"
    figures = "figures"


@app.command("list")
def list_(section: Section, as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False) -> None:
    """Show what exists, from the registries."""
    from vitfaith.listing import listing, print_listing

    rows = listing(section.value)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_listing(section.value, rows)


@app.command()
def check(config: Annotated[Path, typer.Argument(help="configuration file")] = Path("config/config.yaml")) -> None:
    """Check a configuration: keys, references, values, and that the files it names exist."""
    from vitfaith.config.check import check_study

    for line in check_study(config):
        typer.echo(line)


@app.command()
def schema() -> None:
    """Print the JSON schema of configurations."""
    from vitfaith.config.schema import schema_text

    typer.echo(schema_text(), nl=False)


@app.command()
def reference() -> None:
    """Print config/README.md: every key explained."""
    from vitfaith.config.reference import reference_text

    typer.echo(reference_text(), nl=False)


def main() -> None:
    """Run the command line; an error made for the user is printed alone, any other with its traceback."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        app()
    except VitfaithError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)

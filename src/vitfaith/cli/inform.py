"""Verbs that tell what exists and whether a configuration holds."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


class Section(StrEnum):
    """What can be listed."""

    explainers = "explainers"
    metrics = "metrics"
    attacks = "attacks"
    smoothings = "smoothings"
    datasets = "datasets"
    stability = "stability"
    sanity = "sanity"
    certificates = "certificates"
    figures = "figures"


@app.command("list")
def list_(section: Section, as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False) -> None:
    """Show what exists, from the registries."""
    from vitfaith.study.listing import listing, print_listing

    rows = listing(section.value)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_listing(section.value, rows)


@app.command()
def check(
    config: Annotated[Path, typer.Argument(help="configuration file")] = Path("config/config.yaml"),
    elsewhere: Annotated[
        bool, typer.Option("--elsewhere", help="the study runs on another machine: do not compare disk and memory")
    ] = False,
    sample: Annotated[
        int,
        typer.Option(min=0, max=10_000, help="classify so many images of each dataset: is the accuracy above chance?"),
    ] = 0,
) -> None:
    """Check all that a run needs, in seconds: keys, files, weights, image sizes, classes, explainers, disk and memory."""
    from vitfaith.check.study import check_study

    for line in check_study(config, elsewhere=elsewhere, sample=sample):
        typer.echo(line)


@app.command()
def schema() -> None:
    """Print the JSON schema of configurations."""
    from vitfaith.study.schema import schema_text

    typer.echo(schema_text(), nl=False)


@app.command()
def reference() -> None:
    """Print config/README.md: every key explained."""
    from vitfaith.study.reference import reference_text

    typer.echo(reference_text(), nl=False)

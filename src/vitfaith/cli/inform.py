"""Verbs that list the items, describe one, and check a configuration."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

Plugins = Annotated[
    Path | None, typer.Option("--study", help="a study whose plugins count too", metavar="<path>", exists=True)
]


def _load_plugins(study: Path | None) -> None:
    """Import the plugins of a study, from the folder in which it runs."""
    if study is None:
        return
    from vitfaith.cli.launch import inside
    from vitfaith.study.load import load_plugins, read_yaml

    with inside(study) as path:
        load_plugins(read_yaml(path).get("plugins") or [])


@app.command("list")
def list_(
    section: Annotated[str | None, typer.Argument(help="explainers, metrics, attacks …; default: all sections")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable, with all settings")] = False,
    study: Plugins = None,
) -> None:
    """List the available items, grouped by kind."""
    from vitfaith.study.listing import LISTED, listing, listing_text, sections_text

    _load_plugins(study)
    if as_json:
        rows = {name: len(registry) for name, registry in LISTED.items()} if section is None else listing(section)
        typer.echo(json.dumps(rows, indent=2))
    else:
        typer.echo(sections_text(_width()) if section is None else listing_text(section, _width()), nl=False)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="name of an item, or its section before the name")],
    item: Annotated[str | None, typer.Argument(metavar="[NAME]", help="the name, where a section is given")] = None,
    study: Plugins = None,
) -> None:
    """Show one item: description, formula, source, cost in network passes, settings, an example."""
    from vitfaith.study.describe import describe, find

    _load_plugins(study)
    section, entry = find(name) if item is None else find(item, name)
    typer.echo(describe(section, entry.name, cost=_cost(section, entry.name), width=_width()), nl=False)


def _cost(section: str, name: str) -> str:
    if section not in ("metrics", "explainers"):
        return ""
    from vitfaith.check.cost import cost_text  # imports torch

    return cost_text(section, name)


def _width() -> int:
    """Columns of the terminal; 80 without a terminal."""
    return max(40, shutil.get_terminal_size((80, 24)).columns)


@app.command()
def check(
    config: Annotated[Path, typer.Argument(help="configuration file")] = Path("config/config.yaml"),
    elsewhere: Annotated[
        bool, typer.Option("--elsewhere", help="skip disk and memory, because the study runs on another machine")
    ] = False,
    sample: Annotated[
        int,
        typer.Option(
            min=0,
            max=10_000,
            help="number of images to classify per dataset, to see whether the accuracy is above chance",
        ),
    ] = 0,
) -> None:
    """Check in seconds everything a run needs: keys, files, weights, image sizes, classes, explainers, disk and memory."""
    from vitfaith.check.study import check_study
    from vitfaith.cli.launch import inside

    with inside(config) as path:
        for line in check_study(path, elsewhere=elsewhere, sample=sample):
            typer.echo(line)


@app.command()
def schema() -> None:
    """Print the JSON schema of configurations."""
    from vitfaith.study.schema import schema_text

    typer.echo(schema_text(), nl=False)


@app.command()
def reference(
    root: Annotated[Path, typer.Argument(help="folder that gets config/README.md and docs/config/")] = Path(),
) -> None:
    """Write the pages that explain every key: config/README.md and docs/config/."""
    from vitfaith.study.reference import write_reference

    for path in write_reference(root):
        typer.echo(path)

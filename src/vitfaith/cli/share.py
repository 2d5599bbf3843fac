"""Verbs that share a study: publish it as a benchmark, add a method to a benchmark."""

from __future__ import annotations

import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


class Resolution(StrEnum):
    """Handling of maps of the image's size."""

    patch = "patch"
    pixel = "pixel"


@app.command()
def export(
    config: Annotated[Path, typer.Argument(help="configuration file of a finished study")],
    out: Annotated[Path, typer.Argument(help="new folder of the benchmark")],
    folder: Annotated[Path | None, typer.Option(help="folder in which the study ran, if not the study's own")] = None,
) -> None:
    """Write a finished study as a benchmark: maps, scores, settings, provenance, leaderboard, card, checksums; no pixels."""
    from vitfaith.cli.launch import inside
    from vitfaith.sharing.export import export as write
    from vitfaith.study.load import load_study, read_yaml
    from vitfaith.study.plan import Plan

    target = out.absolute()
    with inside(config, folder) as path:
        lines = write(Plan(load_study(read_yaml(path))), path, target)
    for line in lines:
        typer.echo(f"warning: {line}", err=True)
    files = [path for path in target.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    typer.echo(f"{out}: {len(files)} files, {size / 1e6:,.1f} MB. State a licence in README.md before you publish it.")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def add(
    context: typer.Context,
    maps: Annotated[
        Path, typer.Argument(help="Parquet file with the columns image_id and map, and columns of the condition")
    ],
    study: Annotated[Path, typer.Option(help="folder of the benchmark, written by vitfaith export")],
    name: Annotated[str, typer.Option(help="name of the method in the leaderboard")],
    resolution: Annotated[Resolution, typer.Option(help="keep maps of the image's size per pixel")] = Resolution.patch,
) -> None:
    """Score outside maps under the conditions of a benchmark and add them to its leaderboard. More options go to Snakemake."""
    import contextlib

    from vitfaith.cli.launch import environment, snakemake_command
    from vitfaith.sharing.addition import prepare, take
    from vitfaith.sharing.export import refresh
    from vitfaith.sharing.images import check_images

    given, benchmark = maps.absolute(), study.absolute()
    with contextlib.chdir(benchmark if benchmark.is_dir() else Path.cwd()):
        ready = prepare(given, benchmark, name, resolution=resolution.value)
        for targets in (ready.images, ready.scores):
            # options come last: one that takes several values, such as --quiet, would take the files, too
            command = snakemake_command(benchmark / ready.config, benchmark, [*targets, *context.args])
            done = subprocess.run(command, env=environment())
            if done.returncode:
                raise typer.Exit(done.returncode)
            if targets is ready.images:
                check_images(benchmark, [benchmark / path for path in targets])
        take(ready)
        refresh(benchmark)
    _print_board(benchmark, name)


def _print_board(benchmark: Path, name: str) -> None:
    """The places of the new method, one line per condition and metric."""
    from vitfaith.artifacts.store import read_frame
    from vitfaith.sharing.layout import BOARD

    board = read_frame(benchmark / BOARD)
    for row in board[board["method"] == name].to_dict("records"):
        place = " · ".join(str(row[key]) for key in ("dataset", "model", "attack", "smoothing", "explained"))
        metric = " ".join(filter(None, (str(row["metric"]), str(row["variant"]))))
        typer.echo(f"{place}: {metric} {row['mean']:.3g} [{row['low']:.3g}, {row['high']:.3g}], n {row['n']}")
    sys.stdout.flush()

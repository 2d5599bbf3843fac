"""Verbs over finished runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


class Format(StrEnum):
    """Format of a table."""

    markdown = "markdown"
    latex = "latex"
    csv = "csv"


Confidence = Annotated[float, typer.Option(help="confidence level of the bootstrap intervals over images")]
Coverage = Annotated[
    float, typer.Option(min=0, max=1, help="smallest share of images with a value that a method needs to be compared")
]
Resamples = Annotated[int, typer.Option(help="bootstrap resamples")]


def _say_what_is_left_out(*folders: Path) -> None:
    """Print to standard error, so the table itself can go to a file."""
    from vitfaith.compare.folder import left_out

    for folder in folders:
        if line := left_out(folder):
            typer.echo(f"{folder}: {line}", err=True)


Where = Annotated[list[str] | None, typer.Option(help="rows to keep as COLUMN=VALUE, e.g. attack=pgd or metric=saco")]


_COLUMNS = ("dataset", "model", "attack", "smoothing", "explained", "method", "metric", "variant")


def selection(where: list[str] | None) -> dict[str, str]:
    """Column → value from texts COLUMN=VALUE."""
    chosen = {}
    for pair in where or []:
        column, separator, value = pair.partition("=")
        if not separator or column not in _COLUMNS:
            raise typer.BadParameter(f"'{pair}': write COLUMN=VALUE with {', '.join(_COLUMNS[:-1])} or {_COLUMNS[-1]}")
        chosen[column] = value
    return chosen


@app.command()
def table(
    results: Annotated[
        list[Path] | None,
        typer.Argument(
            help="folder with the results of a run [default: results]; several: the folds of one study, images pooled"
        ),
    ] = None,
    where: Where = None,
    form: Annotated[Format, typer.Option("--format", help="format of the table")] = Format.markdown,
    baseline: Annotated[str, typer.Option(help="baseline of the significance stars")] = "random",
    coverage: Coverage = 0.9,
    confidence: Confidence = 0.95,
    resamples: Resamples = 2000,
) -> None:
    """Print leaderboards of every condition in a folder of results, with intervals, n and significance."""
    from vitfaith.compare.show import results_table

    chosen = selection(where)
    statistics = {"confidence": confidence, "resamples": resamples, "seed": 0, "coverage": coverage}
    folders = results or [Path("results")]
    _say_what_is_left_out(*folders)
    typer.echo(results_table(folders, chosen, form.value, baseline=baseline, statistics=statistics), nl=False)


@app.command()
def trust(
    results: Annotated[Path, typer.Argument(help="folder with the results of a run")] = Path("results"),
    where: Where = None,
    truth: Annotated[
        list[str] | None, typer.Option(help="metric that compares with ground truth, such as localisation_auroc")
    ] = None,
    other: Annotated[
        list[str] | None,
        typer.Option(help="NAME=RESULTS: the same methods under another fill, tie key, network or model"),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="file to draw (PDF, PNG or SVG); needs a single condition")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="format of the table")] = Format.markdown,
    baseline: Annotated[str, typer.Option(help="method with uninformative maps")] = "random",
    resamples: Resamples = 2000,
) -> None:
    """Rate the metrics: power to separate methods from random maps, reliability, agreement with a truth and other runs."""
    from vitfaith.compare.trusted import draw, trust_of_folders, trust_text, unknown

    pairs = [text.partition("=")[::2] for text in other or []]
    if any(not name or not folder for name, folder in pairs):
        raise typer.BadParameter("--other takes NAME=RESULTS")
    others = {name: Path(folder) for name, folder in pairs}
    chosen = selection(where)
    table = trust_of_folders(results, chosen, truth or [], others, baseline=baseline, resamples=resamples)
    for line in unknown(table, baseline):
        typer.echo(f"{results}: {line}", err=True)
    if figure is not None:
        draw(table, figure)
    typer.echo(trust_text(table, form.value), nl=False)


@app.command()
def diff(
    run_a: Annotated[Path, typer.Argument(help="folder with the results of one run")],
    run_b: Annotated[Path, typer.Argument(help="folder with the results of another")],
    tolerance: Annotated[float, typer.Option(help="score changes up to this value count as unchanged")] = 0.0,
    coverage: Coverage = 0.9,
    confidence: Confidence = 0.95,
    resamples: Resamples = 2000,
) -> None:
    """Print the scores that changed between two runs, with size and significance, and the settings and code that differ."""
    from vitfaith.compare.runs import compare_runs
    from vitfaith.compare.show import difference_text

    found = compare_runs(
        run_a, run_b, tolerance=tolerance, coverage=coverage, confidence=confidence, resamples=resamples
    )
    _say_what_is_left_out(run_a, run_b)
    typer.echo(difference_text(found), nl=False)


@app.command()
def published(
    results: Annotated[Path, typer.Argument(help="folder with the results of a run")] = Path("results"),
    paper: Annotated[str, typer.Option(help="name of a file in the folder of published values: saco, fvit …")] = "saco",
    values: Annotated[Path, typer.Option(help="folder with published values")] = Path("resources/published"),
    coverage: Coverage = 0.9,
    confidence: Confidence = 0.95,
    resamples: Resamples = 2000,
) -> None:
    """Print a paper's published values beside the values of a run, and whether each is confirmed."""
    from vitfaith.compare.published import beside, published_text, read_published

    statistics = {"confidence": confidence, "resamples": resamples, "seed": 0, "coverage": coverage}
    found = beside(read_published(values / f"{paper}.csv"), results, statistics)
    _say_what_is_left_out(results)
    typer.echo(published_text(found), nl=False)


@app.command()
def power(
    results: Annotated[Path, typer.Argument(help="folder with the results of a run")] = Path("results"),
    where: Where = None,
    baseline: Annotated[str, typer.Option(help="baseline method")] = "random",
    n: Annotated[
        list[int] | None, typer.Option(min=3, help="further numbers of images to show, e.g. 50; repeatable")
    ] = None,
    alpha: Annotated[float, typer.Option(min=0, max=1, help="significance level of the test")] = 0.05,
    chance: Annotated[
        float, typer.Option("--power", min=0, max=1, help="power: probability of finding the difference")
    ] = 0.8,
    coverage: Coverage = 0.9,
) -> None:
    """Print the smallest mean difference from the baseline that a run can detect, per condition and metric."""
    from vitfaith.compare.power import power_table, power_text

    found = power_table(
        results, selection(where), baseline=baseline, sizes=n or (), alpha=alpha, power=chance, coverage=coverage
    )
    _say_what_is_left_out(results)
    typer.echo(power_text(found, baseline=baseline, alpha=alpha, power=chance), nl=False)

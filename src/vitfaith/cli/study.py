"""Verbs about a whole study: what it costs, and how far it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vitfaith.plan.jobs import Job
    from vitfaith.plan.plan import Plan

app = typer.Typer()

Config = Annotated[Path, typer.Argument(help="configuration file of the study")]
Folder = Annotated[Path, typer.Option(help="folder in which Snakemake runs")]


def _plan(config: Path, results: str = "results") -> Plan:
    from vitfaith.config.load import load_study, read_yaml
    from vitfaith.plan.plan import Plan

    return Plan(load_study(read_yaml(config)), results)


@app.command()
def init(
    model: Annotated[str, typer.Option(help="timm architecture, or a folder with weights and config.json")],
    images: Annotated[Path, typer.Option(help="class folders, CSV list, Parquet, ImageNet's archive, CIFAR, IDX")],
    out: Annotated[Path, typer.Option(help="YAML file to write")] = Path("my_study.yaml"),
    weights: Annotated[Path | None, typer.Option(help="checkpoint; without it timm's pretrained weights")] = None,
) -> None:
    """Write a first study of your model and images, with comments."""
    from vitfaith.config.init import write_config

    for line in write_config(model, images, out, weights):
        typer.echo(line)
    typer.echo(f"wrote {out}; next: vitfaith check {out}")


@app.command()
def plan(
    config: Config = Path("config/config.yaml"),
    folder: Folder = Path(),
    like: Annotated[Path | None, typer.Option(help="folder of a finished run of this study on this machine")] = None,
) -> None:
    """Show jobs, network passes, hours and disk by stage before anything runs."""
    from vitfaith.plan.estimate import costs, estimate
    from vitfaith.plan.jobs import jobs
    from vitfaith.plan.show import print_plan

    study = _plan(config)
    found = jobs(study)

    def count(job: Job) -> tuple[float, float] | None:
        from vitfaith.plan.counting import passes_of  # imports torch, which a study that has run does not need

        return passes_of(study, job)

    print_plan(estimate(found, folder, costs(found, like or folder), count))


@app.command()
def status(config: Config = Path("config/config.yaml"), folder: Folder = Path()) -> None:
    """Show how many jobs of each stage are done, running, failed, and still to do."""
    from vitfaith.plan.jobs import jobs
    from vitfaith.plan.show import print_status
    from vitfaith.plan.status import status as status_of

    print_status(*status_of(jobs(_plan(config)), folder))


@app.command()
def clean(
    configs: Annotated[list[Path], typer.Argument(help="configuration files of all studies in the folder")],
    folder: Folder = Path(),
    yes: Annotated[bool, typer.Option("--yes", help="remove without asking")] = False,
) -> None:
    """List the result files that no study names any more, and remove them after asking."""
    from vitfaith.check.room import amount
    from vitfaith.plan.unnamed import remove_files, unnamed_files

    found = unnamed_files([_plan(config, str(folder / "results")) for config in configs], folder / "results")
    if not found:
        typer.echo("nothing to remove: every result belongs to a study")
        return
    for place in sorted({path.parent for path in found}):
        files = [path for path in found if path.parent == place]
        typer.echo(f"{place}: {len(files)} files, {amount(sum(path.stat().st_size for path in files))}")
    if not yes:
        typer.confirm(f"Remove these {len(found)} files?", abort=True)
    remove_files(found, folder / "results")
    typer.echo(f"removed {len(found)} files")

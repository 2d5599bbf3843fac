"""Verbs about a whole study: its cost, its progress, and checks of its results."""

from __future__ import annotations

import shlex
import shutil
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vitfaith.study.jobs import Job
    from vitfaith.study.plan import Plan

app = typer.Typer()

Config = Annotated[Path, typer.Argument(help="configuration file of the study")]
Results = Annotated[Path | None, typer.Argument(help="folder with the results of a run; default: the study's folder")]
Folder = Annotated[
    Path | None,
    typer.Option(help="folder in which Snakemake runs; default: the folder that `vitfaith run` uses"),
]


def _plan(config: Path, results: str = "results") -> Plan:
    from vitfaith.study.load import load_study, read_yaml
    from vitfaith.study.plan import Plan

    return Plan(load_study(read_yaml(config)), results)


@app.command()
def init(
    model: Annotated[
        str | None, typer.Option(help="timm architecture, or a folder with weights and config.json")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="class folders, CSV list, Parquet, ImageNet's archive, CIFAR, IDX")
    ] = None,
    out: Annotated[Path, typer.Option(help="YAML file to write")] = Path("my_study.yaml"),
    weights: Annotated[Path | None, typer.Option(help="checkpoint; default: timm's pretrained weights")] = None,
    plugin: Annotated[
        Path | None,
        typer.Option(help="Python file to write, with a starting point for an explainer, a metric and an attack"),
    ] = None,
) -> None:
    """Write a first study of your model and images, with comments, or a plugin with your own explainer, metric and attack."""
    from vitfaith.check.skeleton import write_plugin

    if plugin is None or model is not None or images is not None:
        if model is None or images is None:
            raise typer.BadParameter("give --model and --images for a study, or --plugin for a plugin")
        from vitfaith.check.init import write_config
        from vitfaith.cli.launch import working_folder

        for line in write_config(model, images, out, weights, base=working_folder(out)):
            typer.echo(line)
        named = shlex.quote(str(out))
        typer.echo(f"wrote {out}; next: vitfaith check {named}, then vitfaith run {named}")
    if plugin is not None:
        lines = write_plugin(plugin)
        typer.echo(f"wrote {plugin}; to use it, a study says:\n" + "\n".join(f"  {line}" for line in lines))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    context: typer.Context,
    config: Annotated[Path | None, typer.Argument(help="configuration file of the study")] = None,
    default: Annotated[bool, typer.Option("--default", help="run the default study in this folder")] = False,
) -> None:
    """Run a study with Snakemake in the folder of its file; its paths are relative to this folder. More options go to Snakemake.

    Without --cores, --jobs or a profile, all cores of this machine are used. -n runs nothing and counts the jobs; -n -p lists
    them.
    """
    import os
    import sys

    from vitfaith.cli.launch import (
        DEFAULT,
        environment,
        inside,
        snakemake_command,
        working_folder,
    )
    from vitfaith.shipped import workflow_folder

    given = list(context.args)
    if default:
        if file := _file_among([*([str(config)] if config else []), *given]):
            raise typer.BadParameter(f"--default takes no file: leave out '{file}' or --default")
        # The first option was parsed as the file.
        given, config = [*([str(config)] if config else []), *given], None
        study, folder = Path(str(workflow_folder()), DEFAULT), Path.cwd()
    elif config is None:
        raise typer.BadParameter("name a study, or give --default")
    elif str(config).startswith("-"):
        raise typer.BadParameter(f"the study comes first, then options as '{config}': vitfaith run STUDY.yaml {config}")
    else:
        with inside(config) as path:
            found = _plan(path)
            for condition in found.conditions:
                found.shards(condition.dataset)  # reads each dataset, and reports an error in one line
        study, folder = config, working_folder(config)
    os.execve(sys.executable, snakemake_command(study, folder, given), environment())


def _file_among(words: list[str]) -> str | None:
    """The first name of a study among the words, without values of options."""
    pairs = zip(["", *words], words, strict=False)
    return next((w for before, w in pairs if w.endswith((".yaml", ".yml")) and not before.startswith("--")), None)


@app.command()
def plan(
    config: Config = Path("config/config.yaml"),
    folder: Folder = None,
    like: Annotated[
        Path | None, typer.Option(help="folder of a finished run of this study on this machine, to take times from")
    ] = None,
) -> None:
    """Show jobs, network passes, hours, disk space, and what a job asks of a cluster, per stage, before anything runs."""
    from vitfaith.cli.launch import inside
    from vitfaith.study.estimate import costs, estimate
    from vitfaith.study.granularity import short_jobs
    from vitfaith.study.guess import computes_on_gpu, guess
    from vitfaith.study.jobs import jobs
    from vitfaith.study.needs import asked
    from vitfaith.study.show import print_plan

    earlier = None if like is None else like.absolute()

    def count(job: Job) -> tuple[float, float] | None:
        from vitfaith.check.counting import passes_of  # imports torch, which a finished study does not need

        return passes_of(study, job)

    with inside(config, folder) as path:
        study = _plan(path)
        found, on_gpu = jobs(study), computes_on_gpu(study)
        guessed = partial(guess, study, on_gpu=on_gpu)
        asks = partial(asked, study, on_gpu=on_gpu)
        rows = estimate(found, Path(), costs(found, earlier or Path()), count, guessed, asks)
        print_plan(rows, on_gpu=on_gpu)
    if shutil.which("sbatch"):
        for line in short_jobs(rows):
            typer.echo(line)


@app.command()
def cite(config: Config = Path("config/config.yaml")) -> None:
    """Print BibTeX entries for everything a study uses: methods, metrics, attacks, datasets, networks, this package."""
    from vitfaith.cli.launch import inside
    from vitfaith.study.bibliography import bibliography
    from vitfaith.study.load import load_study, read_yaml

    with inside(config) as path:
        typer.echo(bibliography(load_study(read_yaml(path))), nl=False)


class Only(StrEnum):
    """A list to print instead of the verdict."""

    files = "files"
    targets = "targets"


@app.command()
def verify(
    results: Results = None,
    study: Annotated[
        Path | None, typer.Option(help="configuration file, to also compare settings, code and completeness")
    ] = None,
    only: Annotated[
        Only | None, typer.Option(help="print only the bad files, or only the targets for Snakemake")
    ] = None,
) -> None:
    """Read all results again, report altered, stale, mixed or missing files, and the commands that recreate them."""
    from vitfaith.cli.launch import inside, program, results_of, working_folder
    from vitfaith.verify.results import asked_for, commands
    from vitfaith.verify.results import verify as verify_results

    if study is None:
        results = results or Path("results")
        verdict = verify_results(results)
    else:
        own = results_of(study)
        results = results or own
        given = results.absolute() if own.is_absolute() else results
        with inside(study) as path:
            verdict = verify_results(given, _plan(path))
    if only is not None:
        for path in asked_for(verdict, results) if only is Only.targets else [f.path for f in verdict.findings]:
            typer.echo(path)
        return
    for finding in verdict.findings:
        typer.echo(f"{finding.kind:8}{finding.path}: {finding.reason}")
    if verdict.others:
        typer.echo(f"{len(verdict.others)} other files belong to no job of the study, as '{verdict.others[0]}'")
    counted = f"{verdict.files:,} files, {verdict.size / 1e6:,.1f} MB"
    if not verdict.findings:
        typer.echo(
            f"{counted}: all unchanged since they were written" + (", and they match the study" if study else "")
        )
        return
    typer.echo(f"{counted}, {len(verdict.findings)} with a fault. To recreate them:")
    folder = working_folder(study) if study else None
    for line in commands(verdict, results, study, program=program(), folder=folder):
        typer.echo(f"  {line}")
    raise typer.Exit(1)


@app.command()
def status(config: Config = Path("config/config.yaml"), folder: Folder = None) -> None:
    """Show how many jobs per stage are done (files exist, with any settings), running, failed and to do.

    On SLURM also the waiting jobs with SLURM's reason, and the reason why SLURM ended a job.
    """
    from vitfaith.cli.launch import inside
    from vitfaith.study.jobs import jobs
    from vitfaith.study.show import print_status
    from vitfaith.study.status import status as status_of

    with inside(config, folder) as path:
        print_status(status_of(jobs(_plan(path)), Path()))


@app.command()
def clean(
    configs: Annotated[list[Path], typer.Argument(help="configuration files of all studies in the folder")],
    folder: Folder = None,
    yes: Annotated[bool, typer.Option("--yes", help="remove without asking")] = False,
) -> None:
    """List the result files that belong to no study any more, and remove them after confirmation."""
    from vitfaith.check.room import amount
    from vitfaith.cli.launch import inside, results_of
    from vitfaith.study.unnamed import remove_files, unnamed_files

    results, *others = {results_of(config, folder) for config in configs}
    if others:
        raise typer.BadParameter(
            "the studies run in several folders; clean each folder separately, or give it with --folder"
        )
    plans = []
    for config in configs:
        with inside(config, folder) as path:
            plans.append(_plan(path, str(results)))
    found = unnamed_files(plans, results)
    if not found:
        typer.echo("nothing to remove: every result belongs to a study")
        return
    for place in sorted({path.parent for path in found}):
        files = [path for path in found if path.parent == place]
        typer.echo(f"{place}: {len(files)} files, {amount(sum(path.stat().st_size for path in files))}")
    if not yes:
        typer.confirm(f"Remove these {len(found)} files?", abort=True)
    remove_files(found, results)
    typer.echo(f"removed {len(found)} files")

"""The verb that makes a page of findings again and compares it with the committed one."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from vitfaith.errors import ArtifactError, VitfaithError

app = typer.Typer()


@app.command()
def reproduce(
    name: Annotated[
        str | None, typer.Argument(metavar="[PAGE]", help="name of a page; default: list all pages")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="folder of the run, which resumes there; default: reproduced/PAGE")
    ] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="cores to use; default: all")] = None,
    update: Annotated[
        bool, typer.Option("--update", help="write the new page or tables, and pictures, over the committed ones")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the commands and run nothing")] = False,
) -> None:
    """Run the study of a page of findings again, make the page, and compare its numbers with the committed ones."""
    from vitfaith.cli.launch import environment, snakemake_command
    from vitfaith.compare.reproduced import differences, differences_text, page_named, read_pages, renewed, study_text
    from vitfaith.shipped import workflow_folder

    root = workflow_folder()
    pages = read_pages(root)
    assert root is not None
    if name is None:
        for known, entry in pages.items():
            typer.echo(f"{known:12} {entry.page}: {entry.study or 'by its tool alone'}, {entry.shown()}")
        return
    page = page_named(pages, name)
    folder = (folder or Path("reproduced", name)).absolute()
    study = folder / "study.yaml"
    commands = [page.words(root)]
    if page.study is not None:
        options = [*page.targets(), "--cores", str(cores or "all")]
        commands.insert(0, snakemake_command(study, folder, options))
    if dry_run:
        if page.study is not None:
            typer.echo(f"# {study}: {page.study}" + (f" with {page.overrides}" if page.overrides else ""))
        for command in commands:
            typer.echo(shlex.join(command))
        return
    for needed, how in page.needs.items():
        _link(root / needed, folder / needed, how)
    folder.mkdir(parents=True, exist_ok=True)
    if page.study is not None:
        study.write_text(study_text(page, root), encoding="utf-8")
        if subprocess.run(commands[0], env=environment(), check=False).returncode:
            raise VitfaithError(f"the study of '{name}' failed; correct the cause above and run the same command again")
    made = subprocess.run(commands[-1], cwd=folder, env=environment(), stdout=subprocess.PIPE, check=False)
    if made.returncode:
        raise VitfaithError(f"'{page.shown()}' failed in '{folder}'; its error is above")
    new = folder / (page.writes or page.page.name)
    if page.writes is None:
        new.write_bytes(made.stdout)
    committed = (root / page.page).read_text(encoding="utf-8")
    text = new.read_text(encoding="utf-8")
    found = differences(page, committed, text)
    if found:
        typer.echo(f"{page.page} and '{new}' differ in {len(found)} {'line' if len(found) == 1 else 'lines'}:\n")
        typer.echo(differences_text(found))
    else:
        typer.echo(f"{page.page}: all numbers agree with '{new}'")
    for picture, made_now in page.pictures.items():
        typer.echo(f"{picture}: the new picture is '{folder / made_now}'; look at it")
    if update:
        (root / page.page).write_text(renewed(page, committed, text), encoding="utf-8")
        for picture, made_now in page.pictures.items():
            shutil.copyfile(folder / made_now, root / picture)
        typer.echo(f"{page.page} is updated")
    elif found:
        raise typer.Exit(1)


def _link(needed: Path, place: Path, how: str) -> None:
    """Make a folder or file of the clone visible in the folder of a run; ``how`` is the command that makes it."""
    if not needed.exists():
        raise ArtifactError(f"'{needed}' does not exist; in the clone, run: {how}")
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(needed, target_is_directory=needed.is_dir())

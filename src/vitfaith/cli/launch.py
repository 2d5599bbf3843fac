"""Where a study runs, and the command that runs it there."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from vitfaith.errors import ConfigError

PROFILES = "workflow/profiles"
"""Below the folder of the workflow."""

_MACHINE = ("--cores", "--jobs", "--profile", "--workflow-profile")
"""Options of Snakemake that say where jobs run and how many at a time."""


def workflow_folder() -> Path | None:
    """The folder with the Snakefile: the clone that this package was installed from; None where it has none."""
    root = Path(__file__).resolve().parents[3]
    return root if (root / "Snakefile").is_file() else None


def working_folder(config: Path) -> Path:
    """The folder that paths in a study are relative to, and that its results go to.

    It is the folder of the YAML file; a study inside the clone, as those in config/, runs at the root of the clone.
    """
    folder, root = config.resolve().parent, workflow_folder()
    return root if root is not None and folder.is_relative_to(root) else folder


@contextlib.contextmanager
def inside(config: Path) -> Iterator[Path]:
    """Work in that folder for a while; gives the path of the file from there. A file that is not there changes nothing."""
    if not config.is_file():
        yield config
        return
    folder, given = working_folder(config), config.absolute()
    path = config if folder == Path.cwd() else given
    with contextlib.chdir(folder):
        yield path


def link_resources(folder: Path) -> str:
    """Make the resources of the shipped studies visible in ``folder``; a sentence where a link was needed.

    Raises:
        ConfigError: something else lies there, or the workflow was not installed from a clone.
    """
    here, there = folder / "resources", _workflow() / "resources"
    if here.exists() and here.samefile(there):
        return ""
    if here.exists() or here.is_symlink():
        raise ConfigError(f"'{here}' is not the shipped folder; run the default study in an empty folder")
    here.symlink_to(there, target_is_directory=True)
    return f"linked {here} to {there}"


def snakemake_command(config: Path, folder: Path, options: Sequence[str]) -> list[str]:
    """The arguments that run Snakemake on a study in ``folder``, whatever the folder of the caller.

    Without --cores, --jobs or a profile all cores are used; a profile of the workflow may be named as profiles/slurm.

    Raises:
        ConfigError: the workflow was not installed from a clone.
    """
    root, given = _workflow(), [_profile(option) for option in options]
    names = {option.split("=")[0] for option in given}
    machine = any(name in _MACHINE or name.startswith(("-c", "-j")) for name in names)
    command = [sys.executable, "-m", "snakemake"]
    if not names & {"--snakefile", "-s"}:
        command += ["--snakefile", str(root / "Snakefile")]
    if not names & {"--directory", "-d"}:
        command += ["--directory", str(folder)]
    if "--workflow-profile" not in names:
        command += ["--workflow-profile", str(root / PROFILES / "default")]
    command += [] if machine else ["--cores", "all"]
    # --configfile takes all words that follow it, so it comes last.
    return [*command, *given, "--configfile", str(config.absolute())]


def _workflow() -> Path:
    root = workflow_folder()
    if root is None:
        raise ConfigError(
            "there is no Snakefile beside the installed package; clone the repository and install from there: uv sync"
        )
    return root


def _profile(option: str) -> str:
    """An option in which profiles/NAME, where there is no such folder here, is the workflow's."""
    head, equals, value = option.rpartition("=")
    root = workflow_folder()
    if root is None or not value.startswith("profiles/") or Path(value).is_dir():
        return option
    found = root / PROFILES / value.removeprefix("profiles/")
    return f"{head}{equals}{found}" if found.is_dir() else option


def environment() -> dict[str, str]:
    """This process's variables, with the programs of its Python first: rules call python by its name."""
    return {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])}

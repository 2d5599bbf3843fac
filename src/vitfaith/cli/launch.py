"""The folder in which a study runs, and the command that runs it there."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from vitfaith.errors import ConfigError
from vitfaith.shipped import PACKAGED, workflow_folder

PROFILES = "workflow/profiles"
"""Relative to the folder of the workflow."""

DEFAULT = Path("config", "config.yaml")
"""The default study: in the workflow, or in the caller's folder if it has one."""

_DRY = {"-n", "-np", "-pn", "--dry-run", "--dryrun"}
_DETAILED = {"-np", "-pn", "-p", "--printshellcmds", "--verbose", "--debug-dag", "--quiet", "-q"}
"""Options of a dry run, and options beside it that say what it prints."""

_MACHINE = ("--cores", "--jobs", "--profile", "--workflow-profile")
"""Options of Snakemake that set where jobs run and how many run at a time."""


def working_folder(config: Path) -> Path:
    """The folder of a study: its paths are relative to it, and its results go there.

    Usually the folder of the YAML file. A study inside the clone, for example in config/, runs at the root of the clone; a
    shipped study of an installed package runs in the caller's folder.
    """
    folder, root = config.resolve().parent, workflow_folder()
    if root is None or not folder.is_relative_to(root):
        return folder
    return Path.cwd() if root == PACKAGED else root


def _found(config: Path, folder: Path | None) -> tuple[Path, Path]:
    """A study and its folder. ``config/config.yaml`` means the default study if the caller's folder has no such file."""
    root = workflow_folder()
    if config == DEFAULT and not config.is_file() and root is not None:
        return root / DEFAULT, folder or Path.cwd()
    return config, folder or working_folder(config)


def results_of(config: Path, folder: Path | None = None) -> Path:
    """The folder with the results of a study, relative to the caller's folder."""
    there = _found(config, folder)[1].resolve()
    return Path("results") if there == Path.cwd() else there / "results"


@contextlib.contextmanager
def inside(config: Path, folder: Path | None = None) -> Iterator[Path]:
    """Work in the folder of a study, or in ``folder``, inside this context; gives the path of its file from there.

    A missing file changes nothing.
    """
    config, there = _found(config, folder)
    if not config.is_file():
        yield config
        return
    path = config if there.resolve() == Path.cwd() else config.absolute()
    with contextlib.chdir(there):
        yield path


def snakemake_command(config: Path, folder: Path, options: Sequence[str]) -> list[str]:
    """The arguments that run Snakemake on a study in ``folder``, independent of the caller's folder.

    Without --cores, --jobs or a profile, all cores are used. ``profiles/slurm`` names a profile of the workflow. A dry run
    sums up: jobs per rule and the reasons. With -p it lists every job.

    Raises:
        ConfigError: the package came without the workflow.
    """
    root, given = _workflow(), [_profile(option) for option in options]
    names = {option.split("=")[0] for option in given}
    machine = any(name in _MACHINE or name.startswith(("-c", "-j")) for name in names)
    command = [sys.executable, "-m", "snakemake"]
    if names & _DRY and not names & _DETAILED:
        command += ["--quiet=rules"]
    if not names & {"--snakefile", "-s"}:
        command += ["--snakefile", str(root / "Snakefile")]
    if not names & {"--directory", "-d"}:
        command += ["--directory", str(folder)]
    if "--workflow-profile" not in names:
        command += ["--workflow-profile", str(root / PROFILES / "default")]
    command += [] if machine else ["--cores", "all"]
    # --configfile takes all following words, so it comes last.
    return [*command, *given, "--configfile", str(config.absolute())]


def _workflow() -> Path:
    root = workflow_folder()
    if root is None:
        raise ConfigError(
            "there is no Snakefile beside the installed package; install vitfaith[workflow] from its wheel or from a clone"
        )
    return root


def _profile(option: str) -> str:
    """The option, with profiles/NAME replaced by the workflow's profile if there is no such folder here."""
    head, equals, value = option.rpartition("=")
    root = workflow_folder()
    if root is None or not value.startswith("profiles/") or Path(value).is_dir():
        return option
    found = root / PROFILES / value.removeprefix("profiles/")
    return f"{head}{equals}{found}" if found.is_dir() else option


def environment() -> dict[str, str]:
    """This process's environment variables, with the programs of its Python first on the path, because rules call python by name.

    ``PWD`` is the caller's folder; the last lines of a run name results relative to it.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "PWD": str(Path.cwd())}


def program() -> str:
    """The command that starts this vitfaith in the caller's shell: its name, uv, or the path of its Python."""
    root, by_uv = workflow_folder(), "UV" in os.environ
    if by_uv and root is not None and (root / "pyproject.toml").is_file() and Path.cwd().is_relative_to(root):
        return "uv run vitfaith"
    found = shutil.which("vitfaith")
    # uv adds its environment only to the path of this process
    if not by_uv and found is not None and Path(found).parent == Path(sys.executable).parent:
        return "vitfaith"
    return f"{shlex.quote(sys.executable)} -m vitfaith"

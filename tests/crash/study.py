"""A finished study and its jobs, each of which can be done again in a forked process that has torch loaded already."""

from __future__ import annotations

import importlib
import os
import random
import shlex
import shutil
import sys
import time
import traceback
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tests.crash.faults import Fault, count_steps, nothing
from tests.workflow.conftest import Workflow, copy_of_the_workflow
from vitfaith.stages.page import TABLES

OUTPUTS = ("--out", "--scores", "--curves", "--predictions")
"""Options of a job that name what it writes; ``certify --predictions`` is an input, but the study certifies nothing."""

PATIENCE = 300.0
"""Seconds after which a process counts as hanging; far beyond what any job takes."""


@dataclass(frozen=True)
class Job:
    """A job of the study: the arguments of ``vitfaith`` that do it, and the files that it reads and writes."""

    arguments: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def stage(self) -> str:
        """Name of the stage."""
        return self.arguments[0]


class Process:
    """A job in a process of its own."""

    def __init__(self, job: Job, folder: Path, log: Path, fault: Fault = nothing, modules: Path | None = None) -> None:
        self.log, self.code = log, None
        self.pid = os.fork()
        if self.pid == 0:
            _be_a_job(job.arguments, folder, log, fault, modules)

    code: int | None

    def ended(self) -> bool:
        """Whether the process has ended; ``code`` is then its exit code, or the negative number of a signal."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def wait(self, seconds: float = PATIENCE) -> int | None:
        """The exit code, or None where the process has not ended after ``seconds``."""
        deadline = time.monotonic() + seconds
        while not self.ended() and time.monotonic() < deadline:
            time.sleep(0.002)
        return self.code

    def send(self, number: int) -> None:
        """Send a signal to a process that may have ended."""
        if not self.ended():
            os.kill(self.pid, number)

    def text(self) -> str:
        """What the process has written."""
        return self.log.read_text(errors="replace")


def _be_a_job(arguments: tuple[str, ...], folder: Path, log: Path, fault: Fault, modules: Path | None) -> None:
    code = 1
    try:
        descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.chdir(folder)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        from vitfaith.cli.main import main

        sys.argv = ["vitfaith", *arguments]
        fault()
        main()
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        if modules is not None:
            modules.write_text("\n".join(sys.modules))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@dataclass
class Study:
    """The clean half of the tiny study in parts of four images, done once without a disturbance."""

    workflow: Workflow
    jobs: list[Job]
    seconds: dict[Job, float] = field(default_factory=dict)
    steps: dict[Job, int] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path) -> Study:
        """Do every job of the study in ``folder``."""
        workflow = copy_of_the_workflow(folder)
        config = workflow.config | {"compute": {"part_size": 4}}
        config["experiments"]["tiny"] |= {"attacks": ["clean"], "figures": ["saco_leaderboard", "gallery"]}
        workflow.write_config(config)
        study = cls(workflow, [])
        for arguments in _commands(workflow):
            study._do(arguments)
        return study

    def _do(self, arguments: list[str]) -> None:
        folder, before = self.workflow.folder, self.contents(self.workflow.folder)
        report, began = folder / "steps", time.monotonic()
        report.unlink(missing_ok=True)
        process = Process(
            Job(tuple(arguments), (), ()), folder, folder / "log", count_steps(report), folder / "modules"
        )
        if process.wait() != 0:
            raise RuntimeError(process.text()[-2000:])
        for name in (folder / "modules").read_text().split():
            with suppress(Exception):  # what stages load when they need it, the next job finds loaded
                importlib.import_module(name)
        written = self.contents(folder).keys() - before.keys()
        job = Job(tuple(arguments), _read_by(arguments, before), tuple(sorted(written)))
        self.jobs.append(job)
        self.seconds[job] = time.monotonic() - began
        self.steps[job] = int(report.read_text())

    @staticmethod
    def contents(folder: Path) -> dict[str, bytes]:
        """Path → bytes of all results in ``folder``, and of the records of their digests."""
        results = folder / "results"
        files = [path for path in results.rglob("*") if path.is_file() and is_result(path.relative_to(results))]
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    @cached_property
    def tracked(self) -> Workflow:
        """The same study as Snakemake does it, with its bookkeeping; its results are compared with those of the jobs."""
        folder = self.workflow.folder.with_name("tracked")
        workflow = copy_of_the_workflow(folder)
        workflow.write_config(self.workflow.config)
        workflow.snakemake()
        wrong = self.differences(folder)
        if wrong:
            raise RuntimeError(wrong)
        return workflow

    @cached_property
    def reference(self) -> dict[str, bytes]:
        """The undisturbed results."""
        return self.contents(self.workflow.folder)

    def copy(self, folder: Path) -> Path:
        """A private copy in ``folder``; results are links to the same files, which no stage changes in place."""
        (folder / "results").parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.workflow.folder / "results", folder / "results", copy_function=os.link)
        (folder / "resources").symlink_to(self.workflow.folder / "resources")
        return folder

    def differences(self, folder: Path) -> str:
        """What differs between the results in ``folder`` and the undisturbed ones; empty for none."""
        found = self.contents(folder)
        names = sorted(found.keys() ^ self.reference.keys())
        names += [name for name in sorted(found.keys() & self.reference.keys()) if found[name] != self.reference[name]]
        return f"results differ: {', '.join(names[:3])}" if names else ""

    def producer(self, name: str) -> Job:
        """The job that writes the result ``name``."""
        return next(job for job in self.jobs if name in job.outputs)

    def readers(self, name: str) -> list[Job]:
        """The jobs that name the result ``name`` among their arguments."""
        return [job for job in self.jobs if name in job.inputs]

    def choose(self, rng: random.Random, *, parts: bool = False) -> Job:
        """A job; each stage is as likely as any other. With ``parts``, one that is done in parts."""
        jobs = [job for job in self.jobs if not parts or "--part-size" in job.arguments]
        stage = rng.choice(sorted({job.stage for job in jobs}))
        return rng.choice([job for job in jobs if job.stage == stage])


def is_result(path: Path) -> bool:
    """Whether ``path``, below the results, is a result or a record of a stage, and nothing left over."""
    hidden = [part for part in path.parts if part.startswith(".")]
    if path.parts[0] in ("benchmarks", ".named.json"):  # Snakemake writes these, no stage does
        return False
    return all(name == path.name and path.suffix == ".json" for name in hidden)


def _commands(workflow: Workflow) -> list[list[str]]:
    """Arguments of ``vitfaith`` of all jobs, in an order in which they can be done."""
    shown = workflow.snakemake("-n", "-p").stdout
    lines = [line.partition("python -m vitfaith ")[2] for line in shown.splitlines()]
    return [shlex.split(line.partition(" > logs/")[0]) for line in lines if line]


def _read_by(arguments: list[str], there: Iterable[str]) -> tuple[str, ...]:
    """The results among ``there`` that a job reads: those that it names, and those that tables and pages always read."""
    folders = {"tables": ("scores", "curves", "stability", "predictions"), "page": ("tables",)}.get(arguments[0], ())
    read = [name for name in there if name.split("/")[1] in folders and name.endswith(".parquet")]
    if arguments[0] == "page":
        read = [name for name in read if Path(name).stem in TABLES]
    return tuple(read + [argument for argument in arguments if argument in there])

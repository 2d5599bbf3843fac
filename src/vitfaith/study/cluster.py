"""SLURM's information about a study's jobs: the record of submissions, the queue, and SLURM's own logs.

A job that SLURM ended before its first line (a refused step, no memory, the time limit, a lost node) has no
log. Snakemake's executor therefore notes every submission and every end here, and ``vitfaith status`` reads the notes.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RECORD = Path(".snakemake", "vitfaith_slurm.jsonl")
"""The notes of the last run, below the folder in which Snakemake runs."""

WAITS = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "RESV_DEL_HOLD"}
RUNS = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
FAILS = {
    *("BOOT_FAIL", "CANCELLED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
}
"""States of SLURM jobs."""

FOR_EVER = {
    "PartitionTimeLimit": "`runtime` is above the time limit of the partition (sinfo -o '%P %l' shows it): lower it or name "
    "another partition",
    "PartitionNodeLimit": "the job asks for more nodes than the partition allows",
    "QOSMaxWallDurationPerJobLimit": "`runtime` is above the limit of your QOS (sacctmgr show qos format=name,maxwall)",
    "AssocMaxWallDurationPerJobLimit": "`runtime` is above the limit of your account (sacctmgr show assoc format=account,maxwall)",
    "QOSMaxMemoryPerJob": "`mem_mb` is above the limit of your QOS",
    "AssocMaxMemPerJob": "`mem_mb` is above the limit of your account",
    "MaxMemPerLimit": "`mem_mb` is above the limit of the partition (scontrol show partition)",
    "BadConstraints": "no node has what the job asks for",
    "InvalidAccount": "`slurm_account` is no account of yours",
    "InvalidQOS": "the QOS is not one of yours",
    "PartitionDown": "the partition is down (sinfo)",
    "PartitionInactive": "the partition is inactive (sinfo)",
    "JobHeldUser": "it is held: scontrol release JOBID",
    "JobHeldAdmin": "an administrator holds it",
}
"""Reason of a pending job that nobody but you or an administrator can end → what it means."""

_LINE = re.compile(r"(?:srun|slurmstepd)[^:]*: (?P<error>error: |fatal: )?(?P<what>.*\S)\s*")
_NO_CAUSE = re.compile(
    r"launch failed|task \d+: |Terminating|Job step aborted|Waiting|warning|cpu.bind|Exited with exit code"
)
"""Lines of SLURM, and those among them that name no cause."""

_LAST_BYTES = 65536


@dataclass
class Submission:
    """One submission of one or several jobs to SLURM.

    Attributes:
        id: of the SLURM job.
        run: name of all SLURM jobs of one run of Snakemake.
        slurm_log: file with the output of the SLURM job.
        logs: log of each job in it → its modification time in ns when this was noted, None where it was not there.
        ended: state in which SLURM, or Snakemake, saw it fail; None while it waits or runs, and after a success.
        why: cause of the failure, one line.
    """

    id: str
    run: str
    slurm_log: str
    logs: dict[str, int | None] = field(default_factory=dict)
    ended: str | None = None
    why: str = ""


def times(paths: Iterable[str | Path], folder: Path = Path()) -> dict[str, int | None]:
    """Modification times in ns, None for a missing file."""
    found = {}
    for path in paths:
        file = folder / path
        found[str(path)] = file.stat().st_mtime_ns if file.is_file() else None
    return found


def note(submission: Submission, folder: Path = Path()) -> None:
    """Append ``submission`` to the record of the run in ``folder``."""
    file = folder / RECORD
    file.parent.mkdir(exist_ok=True)
    with file.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(vars(submission)) + "\n")


def submissions(folder: Path) -> dict[str, Submission]:
    """Log of a job → its latest submission. A line that a killed Snakemake left half written is skipped."""
    found: dict[str, Submission] = {}
    try:
        lines = (folder / RECORD).read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    for line in lines:
        try:
            one = Submission(**json.loads(line))
        except (ValueError, TypeError):
            continue
        found.update(dict.fromkeys(one.logs, one))
    return found


def queue(runs: Iterable[str], seconds: float = 20) -> dict[str, tuple[str, str]] | None:
    """SLURM job → its state and reason, for all jobs with one of the names ``runs``; None where SLURM does not answer.

    Ended jobs are listed too, for as long as ``MinJobAge`` of the cluster keeps them.
    """
    names = ",".join(sorted(set(runs)))
    if not names:
        return {}
    command = ["squeue", "--noheader", "--states=all", f"--name={names}", "--format=%i|%T|%r"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except (OSError, subprocess.SubprocessError):
        return None
    if done.returncode:
        return None
    rows = (line.strip().split("|") for line in done.stdout.splitlines())
    return {row[0]: (row[1], row[2]) for row in rows if len(row) == 3}


def tail(file: str | Path) -> str:
    """The last 64 kB of a log, empty where there is none."""
    try:
        with Path(file).open("rb") as handle:
            handle.seek(0, 2)
            handle.seek(max(0, handle.tell() - _LAST_BYTES))
            return handle.read().decode(errors="replace")
    except OSError:
        return ""


def cause_in(slurm_log: str) -> str:
    """The line in which SLURM itself names the cause of a failure, empty where it names none.

    Args:
        slurm_log: text of the log of a SLURM job.
    """
    found = [match for line in slurm_log.splitlines() if (match := _LINE.fullmatch(line.strip()))]
    causes = [match for match in found if not _NO_CAUSE.search(match["what"])]
    causes.sort(key=lambda match: match["error"] is None)  # errors before remarks, each in their order
    return causes[0]["what"].strip("* ") if causes else ""


def asked_in_vain(states: Mapping[str, Any]) -> dict[str, int]:
    """Reason → number of pending jobs, for the reasons in :data:`FOR_EVER`."""
    found: dict[str, int] = {}
    for state, reason in states.values():
        if state in WAITS and reason in FOR_EVER:
            found[reason] = found.get(reason, 0) + 1
    return found

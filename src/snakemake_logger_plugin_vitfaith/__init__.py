"""Snakemake's console for a study: one line for each finished job, with the share done, the rate and the time left.

Snakemake finds this package by its name (`logger: vitfaith` in a profile). Dry runs, `-p` and `--verbose` print what
Snakemake prints by itself, with the reason of every job. A dry run that is quiet about rules is a summary: jobs per
rule, and the reasons.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any

from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

__all__ = ["LogHandler"]

_SILENT = {
    LogEvent.JOB_INFO,
    LogEvent.GROUP_INFO,
    LogEvent.JOB_STARTED,
    LogEvent.JOB_FINISHED,
    LogEvent.PROGRESS,
    LogEvent.RESOURCES_INFO,
    LogEvent.SHELLCMD,
    LogEvent.RULEGRAPH,
    LogEvent.WORKFLOW_STARTED,
}
"""Events without a line in the console."""

_NOISE = (
    "Assuming unrestricted shared filesystem",
    "Building DAG of jobs",
    "Using shell:",
    "Using profile",
    "Using workflow specific profile",
    "host:",
    "Provided cores:",
    "Rules claiming more threads",
    "Provided resources:",
    "Singularity containers:",
    "Select jobs to execute",
    "Execute ",
    "Storing output in storage",
    "Touching output file",
    "Removing temporary output",
    "None",
)
"""Beginnings of messages that say nothing about the study."""


_MISSING, _UPDATED = "Missing output files", "Input files updated by another job"
"""Beginnings of reasons that list files."""

_REASONS, _SUMMED_UP = "Reasons:\n    (check individual jobs above for details)", "Reasons (-n -p lists every job):"
"""First lines of Snakemake's reasons of all rules, and ours where no job is listed above them."""

_SHOWN = 3
"""Names of a longer list of files that are printed."""


class LogHandler(LogHandlerBase):
    """Writes to standard error, or to standard output where Snakemake is asked for it."""

    def __post_init__(self) -> None:
        asked = self.common_settings
        stream = sys.stdout if asked.stdout else sys.stderr
        quiet: Any = asked.quiet or set()
        self._plain = ColorizingTextHandler(
            nocolor=asked.nocolor,
            stream=stream,
            formatter=DefaultFormatter(quiet, asked.show_failed_logs),
            filter=DefaultFilter(quiet, asked.debug_dag, asked.verbose, asked.dryrun, asked.printshellcmds),
        )
        self._in_full = asked.dryrun or asked.verbose or asked.printshellcmds or asked.debug_dag
        self._sums_up = asked.dryrun and not asked.verbose and "RULES" in {each.name for each in quiet}
        self._counted = False
        self._started: dict[int, tuple[float, str]] = {}
        self._finished: list[tuple[int, float]] = []
        self._first: float | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record in Snakemake's form, or as one line, or not at all."""
        event = getattr(record, "event", None)
        if self._sums_up:
            self._sum_up(event, record)
            return
        if self._in_full:
            self._print(shortened(record))
            return
        fields: dict[str, Any] = record.__dict__
        if event is LogEvent.JOB_INFO:
            self._first = record.created if self._first is None else self._first
            self._started[fields["jobid"]] = (record.created, fields["rule_msg"] or fields["rule_name"])
        elif event is LogEvent.JOB_FINISHED:
            self._finished.append((fields["job_id"], record.created))
        elif event is LogEvent.PROGRESS:
            self._print_finished(fields["done"], fields["total"])
        if not _says_nothing(event, record):
            self._print(record)

    def _sum_up(self, event: LogEvent | None, record: logging.LogRecord) -> None:
        """Print a record of a dry run's summary; Snakemake counts the jobs before and after the list that is left out."""
        if _says_nothing(event, record) or (event is LogEvent.RUN_INFO and self._counted):
            return
        self._counted |= event is LogEvent.RUN_INFO
        text = record.getMessage()
        if text.startswith(_REASONS):
            record = logging.makeLogRecord({**record.__dict__, "msg": text.replace(_REASONS, _SUMMED_UP), "args": None})
        self._print(record)

    def _print(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(BrokenPipeError):  # `snakemake -n | head` reads no further
            self._plain.handle(record)

    def _print_finished(self, done: int, total: int) -> None:
        """One line for each job that has finished since the last progress."""
        for job, now in self._finished:
            start, message = self._started.pop(job, (now, f"job {job}"))
            line = progress_line(done, total, now - (now if self._first is None else self._first))
            took = f" ({_duration(now - start)})" if now - start >= 1 else ""
            self._print(logging.makeLogRecord({"msg": f"{line}  {message}{took}", "levelno": logging.INFO}))
        self._finished.clear()

    @property
    def writes_to_stream(self) -> bool:
        """It takes the place of Snakemake's own console."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """Snakemake keeps its log file by itself."""
        return False

    @property
    def has_filter(self) -> bool:
        """Yes: this plugin decides which events are hidden."""
        return True

    @property
    def has_formatter(self) -> bool:
        """Lines are made here."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """No use for it."""
        return False


def _says_nothing(event: LogEvent | None, record: logging.LogRecord) -> bool:
    return event in _SILENT or (record.levelno == logging.INFO and record.getMessage().startswith(_NOISE))


def shortened(record: logging.LogRecord) -> logging.LogRecord:
    """A job's record with three names of a long list of files, and with the first reason alone where its outputs are missing.

    The targets of a large study have tens of thousands of input files, which Snakemake lists twice.
    """
    if getattr(record, "event", None) is not LogEvent.JOB_INFO:
        return record
    fields: dict[str, Any] = dict(record.__dict__)
    for name in ("input", "output"):
        fields[name] = _few(fields.get(name) or [])
    reasons = [_few_files(text) for text in str(fields.get("reason", "")).split("; ")]
    missing = reasons[0].startswith(_MISSING)
    fields["reason"] = "; ".join(text for text in reasons if not (missing and text.startswith(_UPDATED)))
    return logging.makeLogRecord(fields)


def _few(names: list[str]) -> list[str]:
    left = len(names) - _SHOWN
    return names if left <= 1 else [*names[:_SHOWN], f"… {left:,} more"]


def _few_files(reason: str) -> str:
    if not reason.startswith((_MISSING, _UPDATED)):
        return reason
    label, _, names = reason.partition(": ")
    return f"{label}: {', '.join(_few(names.split(', ')))}"


def progress_line(done: int, total: int, seconds: float) -> str:
    """Jobs done, their share, the rate and the time left, as "12/64  19 %  7.2/min  7 min left".

    Args:
        done: finished jobs of this run.
        total: all of its jobs.
        seconds: since the first of them started.
    """
    width = len(str(total))
    line = f"{done:{width}}/{total} {done / max(total, 1):4.0%}"
    if seconds <= 0 or done == 0:
        return line
    rate = done / seconds
    left = f"  {_duration((total - done) / rate)} left" if done < total else ""
    return f"{line}  {rate * 60:.1f}/min{left}"


def _duration(seconds: float) -> str:
    """ "42 s", "7 min" or "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"

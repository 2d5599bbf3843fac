"""What a run prints: one line for each finished job, and Snakemake's own text where it is asked for."""

from __future__ import annotations

import io
import logging
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import yte
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

from snakemake_logger_plugin_vitfaith import LogHandler, progress_line, shortened
from tests.workflow.conftest import ROOT


def _settings(**changes: Any) -> Any:
    plain = dict(printshellcmds=False, nocolor=True, quiet=None, debug_dag=False, verbose=False, dryrun=False)
    return SimpleNamespace(**{**plain, "show_failed_logs": False, "stdout": False, **changes})


def _record(event: LogEvent | None, created: float, msg: str = "None", **fields: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"levelno": logging.INFO, "msg": msg, "created": created, "event": event, **fields})


def _job(job: int, created: float, message: str) -> logging.LogRecord:
    fields: dict[str, Any] = dict(jobid=job, rule_msg=message, rule_name="score", reason="Missing output files: x")
    return _record(LogEvent.JOB_INFO, created, **fields)


RUN = [
    _record(LogEvent.WORKFLOW_STARTED, 0.0),
    _record(None, 0.0, "Using shell: /usr/bin/bash"),
    _record(LogEvent.RUN_INFO, 0.0, "Job stats:\njob count"),
    _record(None, 0.0, "Execute 2 jobs..."),
    _job(1, 0.0, "Score family one_pass"),
    _job(2, 10.0, "Score family path"),
    _record(LogEvent.JOB_FINISHED, 30.0, job_id=1),
    _record(LogEvent.PROGRESS, 30.0, done=1, total=4),
    _record(LogEvent.JOB_FINISHED, 60.0, job_id=2),
    _record(LogEvent.PROGRESS, 60.0, done=2, total=4),
    _record(None, 60.0, "tables   results/tables/experiment=tiny/leaderboards.md"),
]


def _printed(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[str]:
    monkeypatch.setattr(sys, "stderr", text := io.StringIO())
    handler = LogHandler(_settings(**changes), None)
    for record in RUN:
        handler.emit(record)
    return [line for line in text.getvalue().splitlines() if line]


def test_one_line_for_each_finished_job(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _printed(monkeypatch) == [
        "Job stats:",
        "job count",
        "1/4  25%  2.0/min  90 s left  Score family one_pass (30 s)",
        "2/4  50%  2.0/min  60 s left  Score family path (50 s)",
        "tables   results/tables/experiment=tiny/leaderboards.md",
    ]


def test_commands_and_reasons_where_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [record for record in RUN if getattr(record, "event", None) is not LogEvent.WORKFLOW_STARTED]
    monkeypatch.setattr(sys.modules[__name__], "RUN", records)
    lines = _printed(monkeypatch, printshellcmds=True)
    assert lines.count("Reason: Missing output files: x") == 2
    assert "1 of 4 steps (25%) done" in lines


def test_a_dry_run_that_is_quiet_about_rules_sums_up(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = "Reasons:\n    (check individual jobs above for details)\n    code changed:\n        score"
    last = "This was a dry-run (flag -n)."
    records = [*RUN[:6], RUN[2], _record(None, 1.0, reasons), _record(None, 1.0, last)]
    monkeypatch.setattr(sys.modules[__name__], "RUN", records)
    lines = _printed(monkeypatch, dryrun=True, quiet={Quietness.RULES})
    counts = ["Job stats:", "job count"]
    assert lines == [*counts, "Reasons (-n -p lists every job):", "    code changed:", "        score", last]


def test_long_lists_of_files_are_cut_and_settings_are_not() -> None:
    names = [f"results/{i}.parquet" for i in range(9600)]
    few = "results/0.parquet, results/1.parquet, results/2.parquet, … 9,597 more"
    updated = f"Input files updated by another job: {', '.join(names)}"
    found = shortened(_record(LogEvent.JOB_INFO, 0.0, input=names, output=names[:4], reason=updated)).__dict__
    assert ", ".join(found["input"]) == few
    assert found["output"] == names[:4]
    assert found["reason"] == f"Input files updated by another job: {few}"
    both = f"Missing output files: {names[0]}; {updated}"
    assert (
        shortened(_record(LogEvent.JOB_INFO, 0.0, reason=both)).__dict__["reason"]
        == f"Missing output files: {names[0]}"
    )
    changed = "Params have changed since last execution: before: {a: 1, b: 2, c: 3, d: 4, e: 5}; Code has changed"
    assert shortened(_record(LogEvent.JOB_INFO, 0.0, reason=changed)).__dict__["reason"] == changed
    other = _record(LogEvent.SHELLCMD, 0.0, shellcmd="python -m vitfaith score")
    assert shortened(other) is other


def test_errors_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", text := io.StringIO())
    handler = LogHandler(_settings(), None)
    handler.emit(logging.makeLogRecord({"levelno": logging.ERROR, "msg": "configuration: seed: expected an integer"}))
    assert text.getvalue().strip() == "configuration: seed: expected an integer"


@pytest.mark.parametrize(
    ("done", "total", "seconds", "line"),
    [
        (0, 10, 5.0, " 0/10   0%"),
        (5, 10, 60.0, " 5/10  50%  5.0/min  60 s left"),
        (10, 10, 60.0, "10/10 100%  10.0/min"),
        (1, 101, 60.0, "  1/101   1%  1.0/min  1.7 h left"),
        (1, 61, 60.0, " 1/61   2%  1.0/min  60 min left"),
    ],
)
def test_share_rate_and_time_left(done: int, total: int, seconds: float, line: str) -> None:
    assert progress_line(done, total, seconds) == line


@pytest.mark.parametrize("profile", ["default", "slurm"])
def test_the_profiles_name_a_logger_that_snakemake_finds(profile: str) -> None:
    text = (ROOT / "workflow" / "profiles" / profile / "config.yaml").read_text()
    assert yte.process_yaml(text)["logger"] == "vitfaith"
    assert LoggerPluginRegistry().get_plugin("vitfaith").log_handler is LogHandler

"""A seeded subset of the trials; kills of Snakemake itself are in tests/workflow/test_resume.py and in the long run."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.workflow.conftest import ROOT

KINDS = "stage_killed,stage_stopped,orphan,truncated,bit_flipped,verified,no_space,small_disk"


def test_nothing_is_lost() -> None:
    command = [sys.executable, "-m", "tests.crash", "12", "--seed", "2026", "--kinds", KINDS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    rows = dict(re.findall(r"^\| (\w+) \| (\d+/\d+) \|$", done.stdout, re.MULTILINE))
    assert rows.keys() == {*KINDS.split(","), "all"}
    assert rows["all"] == "12/12"

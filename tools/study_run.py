"""What the scripts that run studies themselves share: the workflow on a study in a folder of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from vitfaith.cli.launch import environment, snakemake_command


def run_study(study: Path, folder: Path, targets: Sequence[str], cores: int | None = None) -> None:
    """Make the ``targets`` of a study below ``folder``, or what is missing of them; its messages go to standard error.

    Args:
        study: its YAML file.
        folder: paths in the study are relative to it, and ``results`` is made there, also inside the clone.
        targets: files or rules of the workflow, such as ``scores``.
        cores: to use; default: all.

    Raises:
        CalledProcessError: the workflow failed.
    """
    command = snakemake_command(study, folder, [*targets, "--cores", str(cores or "all")])
    subprocess.run(command, env=environment(), stdout=sys.stderr, check=True)

"""One process at a time works on the outputs of a job, on one machine or on several that share a file system."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vitfaith.artifacts.store import writing

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 0.5
"""Who waits looks this often who holds the lock."""


@contextmanager
def job_lock(outputs: Sequence[Path], work: str) -> Iterator[bool]:
    """Hold the lock of the job that writes ``outputs``; wait for another process that holds it, and name that process.

    Args:
        outputs: the job's files; the lock is a hidden file beside the first one, gone when the job ends.
        work: digest of all that the outputs depend on.

    Yields:
        Whether another process finished equal work while this one waited, so that nothing is left to do.

    Raises:
        ArtifactError: the disk is full or the folder cannot be written.
    """
    path = lock_path(outputs[0])
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        before = _acquire(lock, path, outputs[0])
    try:
        finished = before.get("work") == work and all(_is_younger(file, before["began"]) for file in outputs)
        with writing(path):
            path.write_text(
                json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "work": work}), encoding="utf-8"
            )
        yield finished
    finally:
        # Removed while it is held: who waits for the removed file notices, and locks a new one.
        path.unlink(missing_ok=True)
        lock.release()


def _acquire(lock: FileLock, path: Path, output: Path) -> dict[str, Any]:
    """Acquire ``lock``; returns what the process that held it last had written, empty where nobody held it."""
    try:
        lock.acquire(timeout=0)
        return {}
    except Timeout:
        before = _holder(path)
        _LOG.warning("%s works on '%s'; waiting until it ends", _text(before), output)
    while True:
        try:
            lock.acquire(timeout=_LOOK_SECONDS)
            return before
        except Timeout:
            before = _holder(path) or before  # of several that wait, another one may have had its turn


def _is_younger(file: Path, time: float) -> bool:
    return file.is_file() and file.stat().st_mtime >= time


def is_worked_on(output: Path) -> bool:
    """Whether a process holds the lock of the job whose first output is ``output``; a lock that a kill left is none."""
    path = lock_path(output)
    if not path.exists():
        return False
    try:
        with FileLock(path).acquire(timeout=0):
            return False
    except Timeout:
        return True


def lock_path(output: Path) -> Path:
    """The lock file of the job whose first output is ``output``; hidden, so that readers of the folder pass over it."""
    return output.parent / f".{output.stem}.lock"


def _holder(path: Path) -> dict[str, Any]:
    """The holder's entry about itself, and its time ``began``; empty before the entry exists.

    The time comes from the file system, like the times of the outputs, because machines may disagree about the time.
    """
    try:
        return {**json.loads(path.read_text(encoding="utf-8")), "began": path.stat().st_mtime}
    except (OSError, ValueError):
        return {}


def _text(holder: dict[str, Any]) -> str:
    return f"process {holder['pid']} on {holder['host']}" if "pid" in holder else "another process"

"""One process at a time works on the outputs of a job, on one machine or on several that share a file system."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_LOG = logging.getLogger(__name__)


@contextmanager
def job_lock(outputs: Sequence[Path], work: str) -> Iterator[bool]:
    """Hold the lock of the job that writes ``outputs``; wait for another process that holds it, and name that process.

    Args:
        outputs: the job's files; the lock is a hidden file beside the first one, gone when the job ends.
        work: digest of all that the outputs depend on.

    Yields:
        Whether another process finished equal work while this one waited, so that nothing is left to do.
    """
    path = lock_path(outputs[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    lock, waited_since, before = FileLock(path), 0.0, {}
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waited_since, before = time.time(), _holder(path)
        _LOG.warning("%s works on '%s'; waiting until it ends", _text(before), outputs[0])
        lock.acquire()
    try:
        path.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "work": work}), encoding="utf-8")
        written = all(file.is_file() and file.stat().st_mtime >= waited_since for file in outputs)
        yield bool(waited_since) and before.get("work") == work and written
    finally:
        # Removed while it is held: who waits for the removed file notices, and locks a new one.
        path.unlink(missing_ok=True)
        lock.release()


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


def _holder(path: Path) -> dict[str, str]:
    """What the holder wrote about itself; empty where it has not yet."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _text(holder: dict[str, str]) -> str:
    return f"process {holder['pid']} on {holder['host']}" if "pid" in holder else "another process"

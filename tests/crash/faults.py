"""What goes wrong inside a job: a kill, or a disk without room, after a number of its steps on the file system."""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CREATING = {"open", "os.mkdir", "tempfile.mkstemp"}
"""Audit events of steps that need room on the disk; ``open`` for writing alone."""

CHANGING = CREATING | {"os.rename", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree"}
"""Audit events of steps that change the file system. Python raises them before the step is done."""

Fault = Callable[[], None]
"""Called in the process of a job before the job begins."""


def nothing() -> None:
    """No fault."""


def kill_at_step(number: int) -> Fault:
    """SIGKILL before the step ``number`` (from 1) that changes the file system below the working folder."""
    return lambda: _on_steps(CHANGING, lambda count: _kill() if count == number else None)


def count_steps(report: Path) -> Fault:
    """Keep the number of steps that change the file system below the working folder in ``report``."""
    descriptor = os.open(report, os.O_CREAT | os.O_WRONLY)
    return lambda: _on_steps(CHANGING, lambda count: os.pwrite(descriptor, str(count).encode(), 0))


def no_space_from_step(number: int) -> Fault:
    """From the creating step ``number`` (from 1) on, nothing can be created below the working folder; removing works."""

    def act(count: int) -> None:
        if count >= number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda: _on_steps(CREATING, act)


def no_file_above(size: int) -> Fault:
    """No file can grow beyond ``size`` bytes, as under a quota."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _on_steps(events: set[str], act: Callable[[int], object]) -> None:
    here, count = Path.cwd(), 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in events and _is_below(arguments[0], here) and (event != "open" or _writes(arguments)):
            count += 1
            act(count)

    sys.addaudithook(hook)


def _is_below(path: object, folder: Path) -> bool:
    if not isinstance(path, str | os.PathLike):
        return False
    text = os.path.join(folder, os.fspath(path))  # noqa: PTH118 - an audit hook must be cheap
    return text.startswith(f"{folder}/")


def _writes(arguments: tuple[Any, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))

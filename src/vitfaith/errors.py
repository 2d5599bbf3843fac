"""Errors that a user can act on: one sentence that names the key, file or column, and the way out."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Errors of a disk, or of a user's share of it, without room for what is written."""


REPEATS = 65
"""Exit code of a job that would fail again in the same way: its settings, its files or its machine must change first."""


class VitfaithError(Exception):
    """Base of every error raised on purpose; the command line prints its text alone, without a traceback.

    Attributes:
        repeats: whether the job would fail in the same way if it ran again.
        exit_code: exit code of the command line; a stage ends with :data:`REPEATS` if the error repeats.
    """

    repeats = True
    exit_code = 1


class ConfigError(VitfaithError):
    """The configuration is wrong; the text names the key."""


class ArtifactError(VitfaithError):
    """A file that a job reads is missing, corrupt or of another shape; the text names the file and the column."""


class DiskFullError(ArtifactError):
    """The disk is full; once there is space, the job can run again."""

    repeats = False


class InputError(VitfaithError, ValueError):
    """An array or argument has a wrong shape, range or type; the text names the argument."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint `` (did you mean 'x'?)`` for the known word nearest to ``word``, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""

"""Long texts as one argument of a command: Linux refuses a line of more than 128 KiB, and a job's specification may be longer."""

from __future__ import annotations

import base64
import binascii
import zlib

from vitfaith.errors import VitfaithError

LONGEST = 60_000
"""Characters of the longest text that is passed as it is; the rest of the line needs room too, and quotes need characters."""

_MARK = "zlib:"


def packed(text: str) -> str:
    """``text`` as it is, or compressed where it is longer than ``LONGEST``.

    Example:
        >>> packed("{}"), len(packed("condition " * 20_000)) < 1_000
        ('{}', True)
    """
    if len(text) <= LONGEST:
        return text
    return _MARK + base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode()


def unpacked(argument: str) -> str:
    """The text of ``packed``.

    Raises:
        VitfaithError: the compressed text is damaged.
    """
    if not argument.startswith(_MARK):
        return argument
    try:
        return zlib.decompress(base64.b64decode(argument.removeprefix(_MARK), "-_", validate=True)).decode()
    except (binascii.Error, zlib.error, UnicodeDecodeError) as error:
        raise VitfaithError(f"a compressed argument (it starts with {_MARK}) is damaged: {error}") from error

"""The one switch of the fast paths. They are on by default; ``compute.fast: off`` of a study turns them off in its jobs.

With the switch off nothing is replaced: networks run the code of torch and timm alone. Results then agree up to rounding.
This module imports nothing heavy, because a job must set the switch before it imports timm.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

# Not a context variable: autograd runs backward functions in its own threads, which would not see it.
_SWITCH = SimpleNamespace(on=True)


def is_on() -> bool:
    """Whether fast paths are taken."""
    return bool(_SWITCH.on)


@contextmanager
def fast_paths(*, on: bool) -> Iterator[None]:
    """Turn the fast paths of this process on or off for the block, in all threads."""
    before = _SWITCH.on
    _SWITCH.on = on
    try:
        yield
    finally:
        _SWITCH.on = before

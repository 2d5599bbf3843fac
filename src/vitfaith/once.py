"""Objects that a job loads once for all its parts: networks and their digests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

_KEPT: ContextVar[dict[str, Any] | None] = ContextVar("kept", default=None)


@contextmanager
def once_per_job() -> Iterator[None]:
    """Until the block ends, :func:`once` makes each thing once. What it returns is shared: nobody may change it."""
    token = _KEPT.set({})
    try:
        yield
    finally:
        _KEPT.reset(token)


def once(make: Callable[[], T], *key: Any) -> T:
    """``make()``; within :func:`once_per_job` what it gave earlier for an equal ``key`` (of JSON, paths in it as text)."""
    kept = _KEPT.get()
    if kept is None:
        return make()
    name = json.dumps(key, sort_keys=True, default=str)
    if name not in kept:
        kept[name] = make()
    found: T = kept[name]
    return found

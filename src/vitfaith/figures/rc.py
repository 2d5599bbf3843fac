"""Matplotlib's settings, independent of the user's matplotlibrc."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def settings(changes: Mapping[str, Any]) -> Iterator[None]:
    """Matplotlib's defaults with ``changes``; the settings before come back on leaving."""
    import matplotlib

    with matplotlib.rc_context():
        values: dict[Any, Any] = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
        values.update(changes)
        matplotlib.rcParams.update(values)
        yield

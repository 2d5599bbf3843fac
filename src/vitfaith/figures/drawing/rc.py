"""Matplotlib's settings, independent of the user's matplotlibrc."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DRAWN_WITH: WeakKeyDictionary[Figure, dict[str, Any]] = WeakKeyDictionary()


def remember(figure: Figure) -> None:
    """Note the settings that ``figure`` is drawn with: ticks are made as late as in saving and must look alike."""
    import matplotlib

    _DRAWN_WITH[figure] = {str(key): value for key, value in matplotlib.rcParams.items()}


def drawn_with(figure: Figure) -> Mapping[str, Any]:
    """The settings noted for ``figure``; empty for a figure that was made elsewhere."""
    return _DRAWN_WITH.get(figure, {})


@contextmanager
def settings(changes: Mapping[str, Any]) -> Iterator[None]:
    """Matplotlib's defaults with ``changes``; the settings before come back on leaving."""
    import matplotlib

    with matplotlib.rc_context():
        values: dict[Any, Any] = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
        values.update({k: v for k, v in changes.items() if not k.startswith("backend")})
        matplotlib.rcParams.update(values)
        yield

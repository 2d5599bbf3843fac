"""Imports of timm, torchvision and diffusers without torch's compiler, which they load and never use here.

They import ``torch._dynamo`` (four seconds on two cores) for three things: to ask whether a device can compile, and to
mark functions that a compiler should leave alone or take as they are. While the block runs, a stand-in answers these;
whatever else is asked of it loads the real module. Afterwards the stand-in is gone, and ``torch.compile`` works as ever
except that the marked functions carry no marks.

It need not run before torch is imported, only around the first import of timm, torchvision or diffusers.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from vitfaith.models.fast.switch import is_on

_NAMES = ("torch._dynamo", "torch._dynamo.utils")


class _StandIn(ModuleType):
    """Stands for a compiler module until something it cannot answer is asked of it."""

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        _remove()
        return getattr(importlib.import_module(self.__name__), attribute)


def _remove() -> None:
    for name in _NAMES:
        if isinstance(sys.modules.get(name), _StandIn):
            del sys.modules[name]


def _is_compile_supported(device_type: str) -> bool:
    return bool(importlib.import_module("torch._dynamo.utils").is_compile_supported(device_type))


def _unmarked(function: Any = None, *_arguments: Any, **_options: Any) -> Any:
    """As decorator with or without arguments: the function as it is."""
    return (lambda inner: inner) if function is None else function


@contextmanager
def without_compiler() -> Iterator[None]:
    """Defer ``torch._dynamo`` while importing in the block; does nothing when it is loaded already or fast paths are off."""
    if not is_on() or _NAMES[0] in sys.modules:
        yield
        return
    package, utils = (_StandIn(name) for name in _NAMES)
    package.__path__ = []
    utils.is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
    package.disable = package.allow_in_graph = _unmarked  # type: ignore[attr-defined]
    sys.modules.update(zip(_NAMES, (package, utils), strict=True))
    try:
        yield
    finally:
        _remove()

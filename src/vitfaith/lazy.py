"""Heavy libraries behind a proxy that imports them at first use.

Registries hold functions that need torch, while listing them, checking a config or planning a workflow must not
pay the seconds that importing torch costs. A module writes ``from vitfaith.lazy import torch`` and uses ``torch.…``
inside its functions only.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any


class LazyModule(ModuleType):
    """Stands for the module ``name`` and imports it when an attribute is first read."""

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self.__name__), attribute)


if TYPE_CHECKING:
    import torch as torch
else:
    torch = LazyModule("torch")

"""Heavy libraries behind a proxy that imports them at first use.

Registries hold functions that need torch and numpy, while listing them, checking a config or planning a workflow must not
pay the seconds that importing torch costs, and works where Snakemake alone is installed. A module writes
``from vitfaith.lazy import np, torch`` and uses ``torch.…`` inside its functions only.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

__all__ = ["np", "pa", "pc", "pd", "pq", "torch"]


class LazyModule(ModuleType):
    """Stands for the module ``name`` and imports it when an attribute is first read."""

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self.__name__), attribute)


if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    import torch
else:
    np = LazyModule("numpy")
    pa = LazyModule("pyarrow")
    pc = LazyModule("pyarrow.compute")
    pd = LazyModule("pandas")
    pq = LazyModule("pyarrow.parquet")
    torch = LazyModule("torch")

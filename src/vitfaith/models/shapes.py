"""Networks without numbers: built in milliseconds, whatever their size, to compare with a file's header."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_INITIAL = frozenset(
    [getattr(torch.Tensor, n) for n in ("erfinv_", "uniform_", "normal_", "fill_", "zero_", "mul_", "add_", "clamp_")]
    + [getattr(torch.nn.init, n) for n in ("uniform_", "normal_", "constant_", "kaiming_uniform_", "kaiming_normal_")]
)


class _NoInitialValues(TorchFunctionMode):
    """Skips what gives parameters their first values: on ``meta`` it does nothing, and loads torch's compiler for it."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func in _INITIAL:
            tensor = args[0] if args else given["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **given)


@contextmanager
def without_numbers(active: bool = True) -> Iterator[None]:
    """Modules made in the block lie on the device ``meta``: shapes and types, no numbers."""
    if not active:
        yield
        return
    with torch.device("meta"), _NoInitialValues():
        yield

"""Precision of the passes through networks: full float32, TF32 or bfloat16 matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

from vitfaith.errors import InputError
from vitfaith.lazy import torch

Precision = Literal["float32", "tf32", "bfloat16"]
"""Weights, normalisation, softmax and everything after the logits keep float32 or float64 in all of them."""


def check_precision(precision: Any) -> None:
    """Raise :class:`InputError` where ``precision`` is none that passes run in."""
    if precision not in get_args(Precision):
        raise InputError(f"precision is {precision!r}; give one of {', '.join(get_args(Precision))}")


@contextmanager
def forward_precision(precision: Precision, device: str) -> Iterator[None]:
    """Passes on a ``device`` type ("cpu", "cuda") inside run in ``precision``; the caller's settings come back.

    Every job and every public function runs in ``float32``; scoring may choose another. ``float32`` also switches off the TF32 convolutions that torch allows by default on NVIDIA GPUs. ``tf32`` changes
    nothing on a CPU. ``bfloat16`` is torch's autocast: matrix products, convolutions and attention in bfloat16.

    Raises:
        InputError: another precision.
    """
    check_precision(precision)
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = precision == "tf32"
    try:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before

"""Precision of the passes through networks: full float32, TF32 or bfloat16 matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, Protocol, get_args

from vitfaith.errors import InputError
from vitfaith.lazy import torch

Precision = Literal["float32", "tf32", "bfloat16"]
"""Weights, normalisation, softmax and everything after the logits keep float32 or float64 in all of them."""

PassStage = Literal["attack", "predict", "attribute", "score"]
"""Stages with a separate precision; all other passes run in float32."""


def check_precision(precision: Any) -> None:
    """Raise :class:`InputError` unless ``precision`` is a known precision."""
    if precision not in get_args(Precision):
        raise InputError(f"precision is {precision!r}; give one of {', '.join(get_args(Precision))}")


@contextmanager
def forward_precision(precision: Precision, device: str) -> Iterator[None]:
    """All that runs on a ``device`` type ("cpu", "cuda") inside runs in ``precision``; the caller's settings come back.

    Every job and every public function runs in ``float32``; stages may choose another for a classifier (:func:`passes_in`).
    ``float32`` also switches off the TF32 convolutions that torch allows by default on NVIDIA GPUs. ``tf32`` changes
    nothing on a CPU. ``bfloat16`` is torch's autocast: matrix products, convolutions and attention in bfloat16.

    Raises:
        InputError: another precision.
    """
    check_precision(precision)
    with _tf32(allowed=precision == "tf32"), torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
        yield


class HasPrecision(Protocol):
    """A classifier, whose forwards run in its ``precision``."""

    precision: Precision


@contextmanager
def passes_in(classifier: HasPrecision, precision: Precision) -> Iterator[None]:
    """Passes of ``classifier`` inside run in ``precision``: forwards, and the backwards of what they leave behind.

    In ``bfloat16`` the autocast is around each forward alone: what callers compute of logits, tokens and gradients keeps
    float32, and so do denoisers. In ``tf32`` a backward has no forward around it, so all products inside are TF32.

    Raises:
        InputError: another precision.
    """
    check_precision(precision)
    before = classifier.precision
    classifier.precision = precision
    try:
        with _tf32(allowed=precision == "tf32"):
            yield
    finally:
        classifier.precision = before


def of_one_forward(precision: Precision, device: str) -> AbstractContextManager[Any]:
    """Context of a classifier's forward pass; in float32 the caller's autocast stays in force."""
    return torch.autocast(device, torch.bfloat16) if precision == "bfloat16" else nullcontext()


@contextmanager
def _tf32(*, allowed: bool) -> Iterator[None]:
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = allowed
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before

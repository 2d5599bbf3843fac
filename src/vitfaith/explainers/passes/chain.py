"""Products of token-to-token matrices along the layers, for the one row that a map shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from vitfaith.errors import ConfigError
from vitfaith.lazy import torch
from vitfaith.models.rows import matmul

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.capture import Capture

HeadFusion = Literal["mean", "max", "min"]
"""How the heads of an attention become one matrix, entry by entry."""


def fuse_heads(attention: Tensor, fusion: HeadFusion) -> Tensor:
    """(B, H, …) to (B, …)."""
    if fusion == "mean":
        return attention.mean(1)
    return attention.amax(1) if fusion == "max" else attention.amin(1)


def readout_weights(capture: Capture) -> Tensor:
    """(B, N) float32: how much the head reads each token; equal shares of the read-out rows, which sum to 1."""
    weights = torch.zeros(len(capture.logits), capture.tokens, device=capture.logits.device)
    weights[:, capture.readout] = 1
    return weights / weights.sum(-1, keepdim=True)


def chain(capture: Capture, step: Callable[[Tensor, int], Tensor], *, method: str, start_layer: int = 0) -> Tensor:
    """Row w·M_L·…·M_s of a product of layer matrices, as a map (B, rows, columns).

    Multiplying the read-out weights w from the left costs N² a layer and image, not the N³ of the whole product.

    Args:
        capture: the shared pass.
        step: ``(row, layer)`` → row·M_layer, both (B, N).
        method: name for the error's text.
        start_layer: first layer s of the product; the layers before it are left out; negative counts from the last.
    """
    if not -capture.depth <= start_layer < capture.depth:
        raise ConfigError(
            f"{method}: start_layer is {start_layer}, but the model has {capture.depth} blocks; set one of them"
        )
    row = readout_weights(capture)
    for layer in reversed(range(start_layer % capture.depth, capture.depth)):
        row = step(row, layer)
    return capture.to_grid(row)


def times(row: Tensor, matrix: Tensor) -> Tensor:
    """row·matrix: (B, N) by (B, N, N)."""
    return matmul(row[:, None], matrix)[:, 0]


def times_heads(row: Tensor, matrices: Tensor) -> Tensor:
    """row·matrix for each head: (B, N) by (B, H, N, N) to (B, H, N)."""
    return matmul(row[:, None, None], matrices)[:, :, 0]

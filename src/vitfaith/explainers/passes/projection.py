"""The matrix by which the values of an attention's heads reach the residual stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vitfaith.errors import InputError
from vitfaith.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.capture import Capture


def scale_of(block: Any) -> Tensor | None:
    """The factor (D,) of the attention branch: timm's LayerScale, or the ``gamma_1`` of BEiT, EVA and CaiT; None without."""
    gamma = getattr(getattr(block, "ls1", None), "gamma", getattr(block, "gamma_1", None))
    return None if gamma is None else gamma.detach().float()


def output_projection(capture: Capture, layer: int, method: str) -> Tensor:
    """Weight (D, H·d) with which the values of all heads add to a token, the branch's scale included.

    Raises:
        InputError: between values and residual stream the block has something that is not one matrix: a norm, a gate.
    """
    # here and not above: it imports torch
    from vitfaith.models.fast.altered import is_altered

    block: Any = capture.blocks[layer]
    attention = getattr(block, "attn", None)
    projection: Any = getattr(attention, "proj", None)
    if not isinstance(projection, torch.nn.Linear):
        raise InputError(
            f"{method} needs the output projection attn.proj, which block {layer} ({type(block).__name__}) lacks; use "
            "transformer_mm or beyond_intuition_head"
        )
    normed = not isinstance(getattr(attention, "norm", None), torch.nn.Identity | None)
    if normed or getattr(attention, "gate", None) is not None or layer in capture.normed_after:
        raise InputError(
            f"{method} needs blocks whose attention ends in a plain projection, and block {layer} ({type(block).__name__}) "
            f"{'gates' if getattr(attention, 'gate', None) is not None else 'normalises'} its attention's output; use "
            "transformer_mm or beyond_intuition_head"
        )
    changed = is_altered(attention, projection) and not _projects(capture, layer, projection)
    if changed or is_altered(getattr(block, "ls1", None)):
        raise InputError(
            f"{method} reads the weights of attn.proj, and block {layer} has hooks or a replaced forward on its attention; "
            "remove them, or use transformer_mm or beyond_intuition_head"
        )
    weight, gamma = projection.weight.detach().float(), scale_of(block)
    return weight if gamma is None else gamma[:, None] * weight


def _projects(capture: Capture, layer: int, projection: Any) -> bool:
    """Whether the attention gave what its values and projection give: hooks that only watch change nothing."""
    if not capture.attended:
        return False
    mixed = capture.calls[layer].output.transpose(1, 2).flatten(2)
    told = torch.nn.functional.linear(mixed, projection.weight, projection.bias)
    given = capture.attended[layer]
    return bool((told - given).abs().max() <= 1e-3 * given.abs().max())

"""A fill passed by the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.errors import InputError, did_you_mean
from vitfaith.lazy import torch
from vitfaith.metrics.fills.registry import fill
from vitfaith.registry import Parameters

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.metrics.context import ScoreContext
    from vitfaith.metrics.fills.registry import Imputer


class GivenParameters(Parameters):
    """Name of the in-fill among the extra inputs."""

    key: str = Field("infill", description="key of evaluate(extras=…)")


@fill("given", parameters=GivenParameters)
def given(context: ScoreContext, parameters: GivenParameters) -> Tensor | Imputer:
    """An in-fill passed by the caller (from a diffusion model, a learned placeholder …): a tensor or an imputer."""
    value = context.extras.get(parameters.key)
    if value is None:
        hint = did_you_mean(parameters.key, context.extras)
        raise InputError(f"fill 'given': extras has no '{parameters.key}'{hint}; pass it to evaluate(extras=…)")
    if callable(value):
        return value
    try:
        return torch.broadcast_to(value.to(context.images), context.images.shape)
    except (RuntimeError, AttributeError):
        raise InputError(
            f"extras['{parameters.key}'] must be a tensor broadcastable to {tuple(context.images.shape)} or a function"
        ) from None

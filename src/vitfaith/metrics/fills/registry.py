"""Registration and naming of fills, the replacements of removed pixels.

A fill is a function ``(context, parameters) -> Tensor | Imputer`` in a module of this package, beside its parameters. A
tensor, broadcastable to (B, C, H, W), holds the replacement of each pixel, independent of the removed set. An
*imputer* computes the perturbed image from the mask. Both are in pixel units; fills never use global random state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import Field

from vitfaith.nested import ItemOf, items_inside
from vitfaith.registry import Item, Parameters, Registry

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.metrics.context import ScoreContext

    Imputer = Callable[[Tensor, Tensor, Tensor], Tensor]
    """``(images (N, C, H, W), removed (N, H, W) bool, index (N,)) -> perturbed (N, C, H, W)``; ``index`` is the
    image of the context per row."""

FILLS: Registry = Registry("fill")
Fill = Annotated[
    Item,
    ItemOf(FILLS, key="name"),
    Field(description="replacement of removed pixels; `vitfaith list fills` prints the choice"),
]
"""Type of a setting that names a fill: "blur", or {"name": "blur", "sigma": 3}."""

F = TypeVar("F", bound="Callable[..., Tensor | Imputer]")


def fill(
    name: str, *, citation: str = "", parameters: type[Parameters] = Parameters, imputes: bool = False
) -> Callable[[F], F]:
    """Register ``function(context, parameters) -> Tensor | Imputer`` under ``name``; ``imputes``: it returns an imputer."""
    return FILLS.register(name, parameters=parameters, citation=citation, imputes=imputes)


def fill_of(parameters: Parameters) -> Item | None:
    """The fill that a metric's parameters name, or None."""
    return next((item for _, item in items_inside(parameters) if item.entry.kind == FILLS.kind), None)


def settings_of_fill(parameters: Parameters) -> Parameters | None:
    """The settings of that fill."""
    named = fill_of(parameters)
    return None if named is None else named.parameters


def prepare_fill(fill: Item, context: ScoreContext) -> Tensor | Imputer:
    """Values of ``fill`` for the images of ``context``, see the module's docstring."""
    return fill.implementation(context, fill.parameters)

"""How a fill, which says what removed pixels are replaced with, is registered and named.

A fill is a function ``(context, parameters) -> Tensor | Imputer`` in a module of this package, beside its parameters. A
tensor, broadcastable to (B, C, H, W), holds what every pixel becomes when it is removed, whatever else is removed. An
*imputer* computes the perturbed image from the mask. Both are in pixel units; nothing is drawn from global random state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import Field, ValidationError

from vitfaith.errors import ConfigError
from vitfaith.registry import Parameters, Registry

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.metrics.context import ScoreContext

    Imputer = Callable[[Tensor, Tensor, Tensor], Tensor]
    """``(images (N, C, H, W), removed (N, H, W) bool, index (N,)) -> perturbed (N, C, H, W)``; ``index`` says which
    image of the context each row is."""

FILLS: Registry = Registry("fill")
FillChoice = Annotated[
    str | dict[str, str | int | float], Field(description="what removed pixels become; section `fill` has the choice")
]
"""How a parameter names a fill: "blur", or {"name": "blur", "sigma": 3}."""

F = TypeVar("F", bound="Callable[..., Tensor | Imputer]")


def fill(
    name: str, *, citation: str = "", parameters: type[Parameters] = Parameters, imputes: bool = False
) -> Callable[[F], F]:
    """Register ``function(context, parameters) -> Tensor | Imputer`` under ``name``; ``imputes``: it returns an imputer."""
    return FILLS.register(name, parameters=parameters, citation=citation, imputes=imputes)


def fill_of(parameters: object) -> Fill | None:
    """The fill that a metric's parameters name, None where they name none."""
    named: Fill | None = getattr(parameters, "filling", None)
    return named


def settings_of_fill(parameters: object) -> Parameters | None:
    """The settings of that fill."""
    named = fill_of(parameters)
    return None if named is None else named.parameters


@dataclass(frozen=True)
class Fill:
    """A registered fill with its parameters; hashable, so that equal requests are recognised."""

    name: str
    parameters: Parameters

    def __str__(self) -> str:
        """The name, with the parameters that differ from their defaults in brackets."""
        changed = self.parameters.model_dump(exclude_defaults=True)
        return self.name + (f"({' '.join(f'{k}={v}' for k, v in changed.items())})" if changed else "")

    def prepare(self, context: ScoreContext) -> Tensor | Imputer:
        """Fill values for the images of ``context``."""
        return FILLS[self.name].implementation(context, self.parameters)


def resolve_fill(choice: FillChoice | Mapping[str, str | int | float]) -> Fill:
    """The fill that a parameter names; raises :class:`ConfigError` for unknown names and wrong parameters."""
    settings = {"name": choice} if isinstance(choice, str) else dict(choice)
    if "name" not in settings:
        raise ConfigError(f"fill {settings} has no 'name'; known: {', '.join(FILLS.names)}")
    entry = FILLS[str(settings.pop("name"))]
    try:
        return Fill(entry.name, entry.parameters(**settings))
    except ValidationError as error:
        problem = error.errors()[0]
        raise ConfigError(
            f"fill '{entry.name}': {'.'.join(map(str, problem['loc']))}: {problem['msg']}; "
            f"its parameters are {sorted(entry.parameters.model_fields) or 'none'}"
        ) from None

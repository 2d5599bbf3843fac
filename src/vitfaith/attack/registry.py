"""The registry of attacks, and the settings they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field

from vitfaith.errors import ConfigError
from vitfaith.registry import Parameters, Registry

if TYPE_CHECKING:
    from torch import Tensor

Norm = Literal["linf", "l2"]
Aim = Literal["prediction", "smoothed_prediction", "explanation"]


@dataclass(frozen=True)
class Bound:
    """What an attack promises: ``norm`` of (attacked − clean) ≤ ``eps``, in [0, 1] pixel units."""

    norm: Norm
    eps: float


def check_eps(eps: float) -> float:
    """Return ``eps`` if it lies in (0, 1]; raise :class:`ConfigError` otherwise. Written for l∞ radii."""
    if eps > 1:
        raise ConfigError(f"eps = {eps:g}: eps is in [0,1] pixel units; did you mean {eps:g}/255?")
    if not eps > 0:
        raise ConfigError(f"eps = {eps:g} must be positive; the attack 'clean' changes nothing")
    return eps


Epsilon = Annotated[float, AfterValidator(check_eps), Field(description="l∞ radius, in [0, 1] pixel units")]
Step = Annotated[float, Field(gt=0, le=1, description="step size, in [0, 1] pixel units")]
Steps = Annotated[int, Field(ge=1, description="gradient steps")]

Craft = TypeVar("Craft", bound="Callable[..., Tensor]")

ATTACKS: Registry = Registry("attack")


def linf_bound(parameters: Any) -> Bound:
    """l∞ ball of radius ``parameters.eps``."""
    return Bound("linf", parameters.eps)


def needs_denoiser(parameters: Any) -> bool:
    """Whether an attack with these parameters sees through a smoothing."""
    return getattr(parameters, "denoiser", None) is not None


def no_bound(_parameters: Any) -> Bound | None:
    """The bound of an attack that promises none."""
    return None


def attack(
    name: str,
    *,
    citation: str,
    parameters: type[Parameters] = Parameters,
    bound: Callable[[Any], Bound | None] = no_bound,
    batched: Callable[[Any], bool] = lambda _parameters: True,
    aims_at: Aim = "prediction",
) -> Callable[[Craft], Craft]:
    """Register ``function(classifier, images, targets, parameters) -> Tensor`` under ``name``.

    The function receives a frozen classifier in evaluation mode, images (B, C, H, W) float32 in [0, 1], the classes
    (B,) predicted for them, and returns attacked images of the same shape in [0, 1]. Gradients are enabled, and torch's
    random functions are keyed per image (:mod:`vitfaith.attack.keyed`).

    Args:
        bound: from the parameters to what the attack promises; every stored image is checked against it.
        batched: whether it treats the rows of a batch independently; if not, it is called with one image at a time.
        aims_at: what it tries to change; one that aims at the explanation keeps the prediction.

    An attack whose parameters have a field ``denoiser`` that is set sees through that smoothing: the function is then
    called with ``denoiser=``, a :class:`vitfaith.denoise.denoiser.Denoiser`.
    """
    return ATTACKS.register(
        name,
        parameters=parameters,
        citation=citation,
        bound=bound,
        batched=batched,
        aims_at=aims_at,
    )

"""The registry of attacks, and the settings they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, Field

from vitfaith.errors import ConfigError
from vitfaith.registry import Item, Parameters, Registry

if TYPE_CHECKING:
    from torch import Tensor

Norm = Literal["linf", "l2"]
Aim = Literal["prediction", "smoothed_prediction", "explanation"]


@dataclass(frozen=True)
class Bound:
    """The bound that an attack keeps: ``norm`` of (attacked − clean) ≤ ``eps``, in [0, 1] pixel units."""

    norm: Norm
    eps: float


def check_radius(eps: float) -> float:
    """Return ``eps``, an l1, l2 or l∞ radius in [0, 1] pixel units, if an image k/255 within it can differ from its centre.

    Raises:
        ConfigError: ``eps`` is not positive, or below 1/255. The smallest change of a stored image is one grey level of
            one channel of one pixel, which is 1/255 in each of these norms.
    """
    if not eps > 0:
        raise ConfigError(f"eps = {eps:g} must be positive; the attack 'clean' changes nothing")
    if eps * 255 < 1 - 1e-6:
        raise ConfigError(
            f"eps = {eps:g} is below one grey level, 1/255 = {1 / 255:.4g}: stored images could not change and every model "
            "would look robust; give at least 1/255"
        )
    return eps


def check_eps(eps: float) -> float:
    """Return ``eps`` if it lies in [1/255, 1]; raise :class:`ConfigError` otherwise. Written for l∞ radii."""
    if eps > 1:
        raise ConfigError(f"eps = {eps:g}: eps is in [0,1] pixel units; did you mean {eps:g}/255?")
    return check_radius(eps)


def check_bound(bound: Bound | None) -> None:
    """Raise :class:`ConfigError` for a ball that holds no other stored image; the radius 0 of 'clean' is meant."""
    if bound is not None and bound.eps != 0:
        check_radius(bound.eps)


Epsilon = Annotated[float, AfterValidator(check_eps), Field(description="l∞ radius, in [0, 1] pixel units")]
L2Epsilon = Annotated[
    float,
    Field(gt=0, description="l2 radius over all pixels and channels, in [0, 1] pixel units"),
    AfterValidator(check_radius),
]
Step = Annotated[float, Field(gt=0, le=1, description="step size, in [0, 1] pixel units")]
Steps = Annotated[int, Field(ge=1, description="gradient steps")]


class LinfSteps(Parameters):
    """Steps along the sign of the gradient, in an l∞ ball."""

    eps: Epsilon = 8 / 255
    alpha: Step | None = Field(None, description="step size, in [0, 1] pixel units; without it eps / 5")
    steps: Steps = 10
    random_start: bool = Field(True, description="start at a uniformly random point of the ball")

    @property
    def step(self) -> float:
        """The step size in force, in [0, 1] pixel units."""
        return self.eps / 5 if self.alpha is None else self.alpha


Craft = TypeVar("Craft", bound="Callable[..., Tensor]")

ATTACKS: Registry = Registry("attack", aims_at=get_args(Aim))


def linf_bound(parameters: Any) -> Bound:
    """l∞ ball of radius ``parameters.eps``."""
    return Bound("linf", parameters.eps)


def smoothing_seen(parameters: Any) -> str | None:
    """Id of the smoothing that an attack with these parameters sees through, None where it ignores smoothing."""
    found: str | None = getattr(parameters, "through", None)
    return found


def changes_nothing(attack: Item) -> bool:
    """Whether an attack promises the images as they are: its bound has the radius 0, as the bound of ``clean``."""
    bound = attack.traits["bound"](attack.parameters)
    return bound is not None and bound.eps == 0


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

    The function receives a frozen classifier in evaluation mode, images (B, C, H, W) float32 in [0, 1], and the classes
    (B,) predicted for them. It returns attacked images of the same shape in [0, 1]. Gradients are enabled, and torch's
    random functions are keyed per image (:mod:`vitfaith.attacks.craft.keyed`).

    Args:
        bound: function from the parameters to the bound that the attack guarantees; every stored image is checked against it.
        batched: whether it treats the rows of a batch independently; if not, it is called with one image at a time.
        aims_at: what the attack tries to change; an attack that aims at the explanation keeps the prediction.

    An attack whose parameters have a field ``through`` that is set sees through that smoothing: the function is then
    called with ``defence=``, a :class:`vitfaith.attacks.smoothed.Defence`.
    """
    return ATTACKS.register(
        name,
        parameters=parameters,
        citation=citation,
        bound=bound,
        batched=batched,
        aims_at=aims_at,
    )

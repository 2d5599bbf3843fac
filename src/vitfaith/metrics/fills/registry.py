"""What removed pixels are replaced with.

A fill is a function ``(images, context, parameters) -> Tensor | Imputer``. A tensor, broadcastable to (B, C, H, W),
holds what every pixel becomes when it is removed, whatever else is removed. An *imputer* computes the perturbed image
from the mask. Both are in pixel units; nothing is drawn from global random state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from vitfaith.errors import ConfigError, InputError, did_you_mean
from vitfaith.lazy import torch
from vitfaith.models import colours
from vitfaith.registry import Ids, Parameters, Registry
from vitfaith.rng import generator, normal, uniform

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


class BlurParameters(Parameters):
    """Width of the Gaussian, in pixels (RISE: σ 5 on 224-pixel images, kernel of 11 pixels)."""

    sigma: float = Field(5.0, gt=0, description="standard deviation, pixels")
    kernel: int = Field(11, ge=1, description="width of the kernel, pixels")


class NoiseParameters(Parameters):
    """Which of several independent draws to use."""

    draw: int = Field(0, ge=0, description="which of several independent fields")


class ImputationParameters(Parameters):
    """Noise added to imputed values (ROAD: 0.01), and the residual at which the solver stops.

    At the default the error on 224-pixel images with 10 to 90 % removed is below the noise (3e-4 root mean square,
    7e-3 at most).
    """

    noise: float = Field(0.01, ge=0, description="standard deviation of the noise, in [0, 1] pixel units")
    tolerance: float = Field(1e-4, gt=0, description="relative residual at which the solver stops")


class PlaceholderParameters(Parameters):
    """Whose placeholder: the id of an explainer that names a trained DiffMask."""

    explainer: Annotated[str, Ids("explainers")] = Field("diffmask", description="id of an explainer with a DiffMask")


def placeholder_of(parameters: object) -> str | None:
    """Id of the explainer whose placeholder a metric with these parameters fills with."""
    settings = settings_of_fill(parameters)
    return settings.explainer if isinstance(settings, PlaceholderParameters) else None


class DiffusionParameters(Parameters):
    """Which denoiser draws the removed pixels, and how often it is called: steps × resamples times a perturbed image."""

    denoiser: Annotated[str, Ids("denoisers")] = Field(description="id of an entry of the section denoisers")
    steps: int = Field(10, ge=1, description="noise levels, evenly spread over the schedule (RePaint: 250)")
    resamples: int = Field(
        4, ge=1, description="times that each step is taken (RePaint: 10); with 1, removed pixels do not fit the others"
    )
    sampler: Literal["ancestral", "ddim"] = Field("ancestral", description="ancestral, as RePaint's, or ddim")
    size: Literal["image", "network"] = Field(
        "image", description="image: the U-Net runs at the image's size; network: resized to its own, and back"
    )
    draw: int = Field(0, ge=0, description="which of several independent in-fills")

    @property
    def calls(self) -> int:
        """Network calls for each perturbed image."""
        return self.steps * self.resamples


class GivenParameters(Parameters):
    """Name of the in-fill among the extra inputs."""

    key: str = Field("infill", description="key of evaluate(extras=…)")


@fill("image_mean", citation="Wu et al., 2024 (SaCo)")
def image_mean(context: ScoreContext, parameters: Parameters) -> Tensor:
    """One grey value an image: the mean over all its pixels and channels."""
    return colours.image_mean(context.images)


@fill("channel_mean")
def channel_mean(context: ScoreContext, parameters: Parameters) -> Tensor:
    """The image's mean colour."""
    return colours.channel_mean(context.images)


@fill("black", citation="Chefer et al., 2021")
def black(context: ScoreContext, parameters: Parameters) -> Tensor:
    """Zero in pixel units, before normalisation."""
    return colours.black(context.images)


@fill("blur", citation="Petsiuk et al., 2018 (RISE)", parameters=BlurParameters)
def blur(context: ScoreContext, parameters: BlurParameters) -> Tensor:
    """The image after a Gaussian blur (normalised kernel; edges are repeated)."""
    images = context.images
    offset = torch.arange(parameters.kernel, device=images.device, dtype=images.dtype) - (parameters.kernel - 1) / 2
    weight = torch.exp(-0.5 * (offset / parameters.sigma) ** 2)
    weight = (weight / weight.sum()).expand(images.shape[1], 1, 1, -1)
    before, after = (parameters.kernel - 1) // 2, parameters.kernel // 2
    padded = torch.nn.functional.pad(images, (before, after, before, after), mode="replicate")
    rows = torch.nn.functional.conv2d(padded, weight, groups=images.shape[1])
    return torch.nn.functional.conv2d(rows, weight.transpose(2, 3), groups=images.shape[1])


@fill("noise", citation="Nalmpantis et al., 2023 (Vision DiffMask)", parameters=NoiseParameters)
def noise(context: ScoreContext, parameters: NoiseParameters) -> Tensor:
    """Uniform noise on [0, 1), one field an image, the same at every step."""
    shape = context.images.shape[1:]
    return uniform(context.seed, context.image_ids, "fill-noise", shape, parameters.draw).to(context.images)


@fill("noisy_linear", citation="Rong et al., 2022 (ROAD)", parameters=ImputationParameters, imputes=True)
def noisy_linear(context: ScoreContext, parameters: ImputationParameters) -> Imputer:
    """Each removed pixel is the weighted mean of its neighbours, known or removed, plus Gaussian noise."""
    from vitfaith.metrics.fills.impute import impute_linear

    field = normal(context.seed, context.image_ids, "fill-road", context.images.shape[1:]).to(context.images)

    def impute(images: Tensor, removed: Tensor, index: Tensor) -> Tensor:
        filled = impute_linear(images, removed, parameters.tolerance)
        return torch.where(removed[:, None], filled + parameters.noise * field[index], images)

    return impute


@fill(
    "diffusion",
    citation="Lugmayr et al., 2022 (RePaint); Chang et al., 2019 (generative in-fill)",
    parameters=DiffusionParameters,
    imputes=True,
)
def diffusion(context: ScoreContext, parameters: DiffusionParameters) -> Imputer:
    """What a denoiser of the study draws there, given the pixels that stay; the same noise for every mask of an image."""
    from vitfaith.denoisers.sampling import keyed_noise
    from vitfaith.metrics.fills.diffusion import EXTRA, infill, working_size

    denoiser = context.extras.get(EXTRA)
    if denoiser is None:
        raise InputError(f"fill 'diffusion': there is no denoiser; pass one to evaluate(extras={{'{EXTRA}': …}})")
    channels, height, width = context.images.shape[1:]
    shape = (channels, *working_size(denoiser, (channels, height, width), parameters))

    def impute(images: Tensor, removed: Tensor, index: Tensor) -> Tensor:
        shown, row = index.unique(return_inverse=True)
        sources = [
            generator(context.seed, context.image_ids[i], "fill-diffusion", parameters.draw) for i in shown.tolist()
        ]
        draw, like = keyed_noise(sources), images.new_empty((len(shown), *shape))
        return infill(denoiser, images.float(), removed, lambda: draw(like)[row], parameters).to(images)

    return impute


@fill("given", parameters=GivenParameters)
def given(context: ScoreContext, parameters: GivenParameters) -> Tensor | Imputer:
    """An in-fill that the caller hands over (a diffusion model's, a learned placeholder): a tensor or an imputer."""
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


@fill(
    "diffmask_placeholder",
    citation="Nalmpantis et al., 2023 (Vision DiffMask), notebook",
    parameters=PlaceholderParameters,
    imputes=True,
)
def diffmask_placeholder(context: ScoreContext, parameters: PlaceholderParameters) -> Imputer:
    """Whole patches, at the patch embedding: the vector that a trained DiffMask has learned to put there."""
    from vitfaith.metrics.fills.placeholder import EXTRA, mark

    if context.extras.get(EXTRA) is None:
        raise InputError(
            "fill 'diffmask_placeholder': the model has no trained DiffMask here; name one in the section explainers "
            f"(extras['{EXTRA}'] from Python), and use no metric that shares masks between explainers"
        )
    return mark

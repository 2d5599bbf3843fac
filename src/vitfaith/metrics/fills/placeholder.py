"""Removing patches where a DiffMask does: at the patch embedding, by the learned placeholder, before positions are added.

Perturbed images travel through the engine as pixels, and no pixels need exist that embed as the placeholder. Removed pixels are
therefore marked by NaN, and a hook on the patch embedding reads the mark. No mark reaches the model's arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from vitfaith.errors import InputError
from vitfaith.lazy import torch
from vitfaith.metrics.fills.registry import fill, settings_of_fill
from vitfaith.registry import Ids, Parameters

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vitfaith.metrics.context import ScoreContext
    from vitfaith.metrics.fills.registry import Imputer
    from vitfaith.models.classifier import Classifier

PLACEHOLDER_EXTRA = "diffmask_placeholder"
"""Key of the placeholder (D,) among a context's extra inputs."""


class PlaceholderParameters(Parameters):
    """Whose placeholder: the id of an explainer that names a trained DiffMask."""

    explainer: Annotated[str, Ids("explainers")] = Field("diffmask", description="id of an explainer with a DiffMask")


def placeholder_of(parameters: Parameters) -> str | None:
    """Id of the explainer whose placeholder a metric with these parameters fills with."""
    settings = settings_of_fill(parameters)
    return settings.explainer if isinstance(settings, PlaceholderParameters) else None


@fill(
    "diffmask_placeholder",
    citation="Nalmpantis et al., 2023 (Vision DiffMask), notebook",
    parameters=PlaceholderParameters,
    imputes=True,
)
def diffmask_placeholder(context: ScoreContext, parameters: PlaceholderParameters) -> Imputer:
    """Whole patches, at the patch embedding: the vector that a trained DiffMask has learned to put there."""
    if context.extras.get(PLACEHOLDER_EXTRA) is None:
        raise InputError(
            "fill 'diffmask_placeholder': the model has no trained DiffMask here; name one in the section explainers "
            f"(extras['{PLACEHOLDER_EXTRA}'] from Python), and use no metric that shares masks between explainers"
        )
    return mark


def mark(images: Tensor, removed: Tensor, index: Tensor) -> Tensor:
    """``images`` (N, C, H, W) with NaN at the pixels ``removed`` (N, H, W) bool; an imputer."""
    return torch.where(removed[:, None], torch.nan, images)


@contextmanager
def marked_patches(classifier: Classifier, placeholder: Tensor | None) -> Iterator[None]:
    """Inside, patches marked by NaN embed as ``placeholder`` (D,); nothing is done where it is None.

    Raises:
        InputError: a patch is marked in part, which has no meaning here; or the placeholder is of another width.
    """
    if placeholder is None:
        yield
        return
    patches = classifier.patches
    marked: list[Tensor] = []

    def read(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Any, ...]:
        pixels = args[0]
        missing = pixels.isnan().any(1)
        removed = patches.touched(missing)
        if bool((removed & patches.touched(~missing)).any()):
            raise InputError(
                "fill 'diffmask_placeholder' replaces whole patches, and a patch was removed in part; use level 'patch'"
            )
        marked[:] = [removed.flatten(1)]
        return (torch.where(missing[:, None], 0.0, pixels), *args[1:])

    def replace(_module: nn.Module, _args: object, output: Tensor) -> Tensor:
        tokens = output.reshape(len(output), -1, output.shape[-1])
        if placeholder.shape != tokens.shape[2:]:
            raise InputError(
                f"the DiffMask's placeholder has width {len(placeholder)}, the model's tokens have {tokens.shape[2]}; give "
                "the one that was trained for the model"
            )
        filled = torch.where(marked.pop()[..., None], placeholder.to(tokens), tokens)
        return filled.view_as(output)

    embedding: nn.Module = classifier.backbone.patch_embed  # type: ignore[assignment]
    handles = [embedding.register_forward_pre_hook(read), embedding.register_forward_hook(replace)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

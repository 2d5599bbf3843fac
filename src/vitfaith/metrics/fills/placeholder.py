"""Removal of patches as in a DiffMask: the learned placeholder replaces patch embeddings, before positions are added.

The engine handles perturbed images as pixels, but there may be no pixels whose embedding is the placeholder. Removed pixels
are therefore marked with NaN, and a hook on the patch embedding reads the marks. No NaN reaches the model's computation.
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
    """The id of an explainer with a trained DiffMask, whose placeholder is used."""

    explainer: Annotated[str, Ids("explainers")] = Field("diffmask", description="id of an explainer with a DiffMask")


def placeholder_of(parameters: Parameters) -> str | None:
    """Id of the explainer whose placeholder a metric with these parameters uses."""
    settings = settings_of_fill(parameters)
    return settings.explainer if isinstance(settings, PlaceholderParameters) else None


@fill(
    "diffmask_placeholder",
    citation="Nalmpantis et al., 2023 (Vision DiffMask), notebook",
    parameters=PlaceholderParameters,
    imputes=True,
)
def diffmask_placeholder(context: ScoreContext, parameters: PlaceholderParameters) -> Imputer:
    """Replaces whole patches at the patch embedding by the vector that a trained DiffMask has learned."""
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
    """Within this context, patches marked with NaN embed as ``placeholder`` (D,); no effect if it is None.

    Raises:
        InputError: a patch is only partly marked, or the placeholder has another width.
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
                "fill 'diffmask_placeholder' replaces whole patches, but a patch was removed only in part; use level 'patch'"
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

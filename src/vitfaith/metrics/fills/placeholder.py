"""Removing patches where a DiffMask does: at the patch embedding, by the learned placeholder, before positions are added.

Perturbed images travel through the engine as pixels, and no pixels need exist that embed as the placeholder. Removed pixels are
therefore marked by NaN, and a hook on the patch embedding reads the mark. No mark reaches the model's arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vitfaith.errors import InputError
from vitfaith.models.classifier import Classifier

EXTRA = "diffmask_placeholder"
"""Key of the placeholder (D,) among a context's extra inputs."""


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

"""States of a frozen timm ViT that a DiffMask reads, and its replacement of patch embeddings; the model itself is not changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import torch
from torch import Tensor, nn

from vitfaith.errors import InputError
from vitfaith.explainers.passes.readout import blocks_of
from vitfaith.explainers.passes.watch import Watch
from vitfaith.models.classifier import Classifier


def blocks_of_vit(classifier: Classifier) -> list[nn.Module]:
    """The transformer blocks; raises :class:`InputError` for models without a sequence of them behind patches."""
    blocks = blocks_of(classifier.backbone)
    if blocks is None or not isinstance(getattr(classifier.backbone, "patch_embed", None), nn.Module):
        _refuse(classifier)
    return blocks


def width_of(classifier: Classifier) -> int:
    """Width D of the tokens; raises :class:`InputError` for models whose tokens have several."""
    width = getattr(classifier.backbone, "embed_dim", None)
    if not isinstance(width, int):
        _refuse(classifier)
    return int(width)


def _refuse(classifier: Classifier) -> NoReturn:
    raise InputError(
        f"model {type(classifier.backbone).__name__} has no sequence of transformer blocks over one patch grid, which "
        "DiffMask and ViT-Shapley need; take a ViT, or another explainer"
    )


@contextmanager
def hidden_states(classifier: Classifier) -> Iterator[list[Tensor]]:
    """The list that is yielded holds, after the block, the L + 2 states of the one forward pass in it.

    State 0 is the patch embedding without position, states 1 … L the inputs of the blocks, state L + 1 the output of the
    last one: (B, P, D) each, patches alone, whatever tokens stand before them.
    """
    states: list[Tensor] = []
    blocks = blocks_of_vit(classifier)
    rows, columns = classifier.grid
    with Watch[str]() as watch:
        watch.leaving(classifier.backbone.patch_embed, "embedding")  # type: ignore[arg-type]
        for block in blocks:
            watch.entering(block, "tokens")
        watch.leaving(blocks[-1], "tokens")
        yield states
    for kind, value in watch.seen:
        states.append((_flat if kind == "embedding" else _patches)(value, rows * columns))


def patch_embedding(classifier: Classifier, images: Tensor) -> Tensor:
    """State 0 of ``images`` (B, C, H, W) alone: (B, P, D), without a forward pass of the model."""
    rows, columns = classifier.grid
    blocks_of_vit(classifier)
    return _flat(classifier.backbone.patch_embed(classifier.normalise(images)), rows * columns)  # type: ignore[operator]


@contextmanager
def masked_embedding(classifier: Classifier, keep: Tensor, placeholder: Tensor) -> Iterator[None]:
    """Inside, each patch embedding x becomes ``keep``·x + (1 − ``keep``)·``placeholder``, before positions are added.

    Prefix tokens (class, registers, distillation) come in later and are never touched.

    Args:
        keep: (B, P) in [0, 1] for the B images of the next forward pass, row by row over the grid.
        placeholder: (D,), or (B, 1, D) where images have their own.
    """
    rows, columns = classifier.grid

    def replace(_module: nn.Module, _args: object, output: Tensor) -> Tensor:
        tokens = _flat(output, rows * columns)
        fill = placeholder.to(tokens.dtype)
        return torch.lerp(fill.expand_as(tokens), tokens, keep[..., None].to(tokens.dtype)).view_as(output)

    handle = classifier.backbone.patch_embed.register_forward_hook(replace)  # type: ignore[union-attr]
    try:
        yield
    finally:
        handle.remove()


def _flat(tokens: Tensor, patches: int) -> Tensor:
    """(B, P, D), also where the embedding keeps its grid, channels last."""
    flat = tokens.flatten(1, 2) if isinstance(tokens, Tensor) and tokens.ndim == 4 else tokens
    if not isinstance(flat, Tensor) or flat.ndim != 3 or flat.shape[1] != patches:
        told = f"of shape {tuple(tokens.shape[1:])}" if isinstance(tokens, Tensor) else f"in a {type(tokens).__name__}"
        raise InputError(
            f"the patch embedding gives tokens {told}, the grid has {patches} patches; DiffMask needs one token per patch"
        )
    return flat


def _patches(states: Tensor, patches: int) -> Tensor:
    tokens = states.flatten(1, 2) if states.ndim == 4 else states
    if tokens.ndim != 3 or tokens.shape[1] < patches:
        raise InputError(
            f"a block works on tokens of shape {tuple(states.shape[1:])}, the grid has {patches} patches; DiffMask needs a "
            "model whose blocks keep the grid"
        )
    return tokens[:, tokens.shape[1] - patches :]

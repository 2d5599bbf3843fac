"""Networks that compute the same function in another place: on transposed images, and in blocks without norms."""

from __future__ import annotations

import copy
from typing import Any

import torch
from timm.models.eva import EvaBlock, EvaBlockPostNorm
from timm.models.vision_transformer import Block, ResPostBlock
from timm.models.vision_transformer_relpos import RelPosBlock, ResPostRelPosBlock
from torch import Tensor, nn

from tests.explainers.backbones import Variant, classifier_of
from vitfaith.models.classifier import Classifier

PRE_NORM = {ResPostBlock: Block, EvaBlockPostNorm: EvaBlock, ResPostRelPosBlock: RelPosBlock}
"""Block with its norms behind attention and MLP → the block with them before."""


def without_norms(classifier: Classifier) -> list[tuple[Classifier, Classifier]]:
    """One pair of networks where the blocks normalise behind attention and MLP: both lose these norms, one is built of
    blocks that normalise before. They are one function. No pair for other blocks."""
    blocks = _blocks(classifier)
    if not blocks or type(blocks[0]) not in PRE_NORM:
        return []
    plain = copy.deepcopy(classifier)
    for block in _blocks(plain):
        block.norm1, block.norm2 = nn.Identity(), nn.Identity()
    twin = copy.deepcopy(plain)
    for block in _blocks(twin):
        block.__class__ = PRE_NORM[type(block)]
        block.ls1, block.ls2, block.gamma_1, block.gamma_2 = nn.Identity(), nn.Identity(), None, None
    return [(plain, twin)]


def transposed(variant: Variant, classifier: Classifier) -> Classifier | None:
    """A network that gives transposed images the logits of ``classifier`` for the images; None where none is known."""
    arguments = dict(variant.arguments)
    size = arguments.get("img_size")
    if isinstance(size, tuple):
        arguments["img_size"] = size[::-1]
    cells = {key: value[::-1] for key, value in variant.cells.items()}
    twin = classifier_of(variant._replace(arguments=arguments, cells=cells)).double()
    grid = classifier.grid
    given = classifier.state_dict()
    state = {name: _turned(name, given.get(_other_axis(name), value), grid) for name, value in given.items()}
    if any(twin.state_dict()[name].shape != value.shape for name, value in state.items()):
        return None
    twin.load_state_dict(state)
    _turn_rotary(twin.backbone, classifier.backbone, grid)
    return twin


def _turned(name: str, value: Tensor, grid: tuple[int, int]) -> Tensor:
    """A parameter for transposed images."""
    last, (rows, columns) = name.rpartition(".")[2], grid
    if value.ndim == 4 and last == "pos_embed" and (value.shape[1:3] == grid or value.shape[1] == value.shape[2]):
        return value.transpose(1, 2)  # channels last
    if value.ndim == 4 and last in ("weight", "pos_embed"):
        return value.transpose(2, 3)  # kernels, and positions of channels first
    if last == "pos_embed" and value.ndim == 3 and value.shape[1] >= rows * columns:
        prefix = value.shape[1] - rows * columns
        order = torch.arange(rows * columns).view(rows, columns).T.flatten() + prefix
        return value[:, torch.cat([torch.arange(prefix), order])]
    if last == "relative_position_bias_table":
        down, across = 2 * rows - 1, 2 * columns - 1
        if down * across > len(value):  # of square windows
            down = across = int(len(value) ** 0.5)
        order = torch.arange(down * across).view(down, across).T.flatten()
        return value[torch.cat([order, torch.arange(down * across, len(value))])]
    if ("rel_pos" in name or "cpb_mlp" in name) and last == "weight" and value.shape[-1] == 2:
        return value.flip(-1)  # of coordinates (y, x)
    if name.endswith("pos_proj.weight"):
        return value[:, [1, 0, 2]]  # of (x, y, distance)
    if name.endswith("embeds.proj.weight"):
        side = int((value.shape[1] // 3) ** 0.5)
        return value.view(len(value), side, side, 3).transpose(1, 2).flatten(1)
    return value


def _turn_rotary(twin: Any, source: Any, grid: tuple[int, int]) -> None:
    """Give each token of the twin the rotation that its place has in the source."""
    rope = getattr(source, "rope", None)
    if rope is None:
        return
    order = torch.arange(grid[0] * grid[1]).view(grid).T.flatten()

    def get_embed(shape: Any = None) -> Tensor:
        found: Tensor = rope.get_embed(None if shape is None else list(shape)[::-1])
        return found[..., order, :]

    twin.rope.get_embed = get_embed


def _other_axis(name: str) -> str:
    """The parameter of columns for that of rows, and the other way round (SAM, MViTv2); else the name itself."""
    for here, there in (("rel_pos_h", "rel_pos_w"), ("rel_pos_w", "rel_pos_h")):
        if name.endswith(here):
            return name.removesuffix(here) + there
    return name


def _blocks(classifier: Classifier) -> list[Any]:
    blocks = getattr(classifier.backbone, "blocks", None)
    return list(blocks) if isinstance(blocks, nn.Sequential | nn.ModuleList) else []

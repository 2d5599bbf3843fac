"""A network without patches as the backbone of a classifier, with maps on square cells of its images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral

from torch import Tensor, nn

from vitfaith.errors import InputError

_SIDE = 14
"""Cells along a side that the default patch size aims at: the grid of a ViT with 16-pixel patches at 224 pixels."""


class _Cells(nn.Module):
    """Stands where a ViT has its patch embedding, and says where the cells lie."""

    def __init__(self, grid: tuple[int, int], size: tuple[int, int]) -> None:
        super().__init__()
        self.grid_size, self.img_size = grid, size


class PlainBackbone(nn.Module):
    """Logits of ``module``, whatever it is; :mod:`vitfaith.models.patches` finds its cells.

    Args:
        module: maps (B, C, H, W) to logits (B, K), or to an object with ``logits``.
        size: height and width of the images.
        grid: rows and columns of cells.
    """

    def __init__(self, module: nn.Module, size: tuple[int, int], grid: tuple[int, int]) -> None:
        super().__init__()
        self.module = module
        self.patch_embed = _Cells(grid, size)
        self.name = type(module).__name__

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of normalised ``images`` (B, C, H, W)."""
        return logits_of(self.module(images))


def logits_of(output: object) -> Tensor:
    """The logits (B, K) in what a classifier returned; raises :class:`InputError` where there are none."""
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        found = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(f"the module returns {found}; it must return logits (B, K), or an object with such logits")
    return logits


def grid_of(size: tuple[int, int], patch: int | Sequence[int] | None) -> tuple[int, int]:
    """Rows and columns of cells of ``patch`` pixels a side on images of ``size``.

    Without ``patch`` the side is the divisor of both that gives a grid nearest to 14 × 14.

    Raises:
        InputError: the cells do not divide the image.
    """
    if patch is None:
        sides = [side for side in range(1, min(size) // 2 + 1) if not any(length % side for length in size)]
        if not sides or max(size) // sides[-1] > 4 * _SIDE:
            raise InputError(f"no patch size divides images of {size[0]}×{size[1]} pixels well; resize them")
        patch = min(sides, key=lambda side: abs(min(size) / side - _SIDE))
    down, across = pair(patch, "patch_size")
    if size[0] % down or size[1] % across:
        raise InputError(
            f"patch_size {down}×{across} does not divide images of {size[0]}×{size[1]} pixels; give one that does"
        )
    return size[0] // down, size[1] // across


def pair(sides: int | Sequence[int], name: str = "input_size") -> tuple[int, int]:
    """Height and width, of one number for both or of two; ``name`` is the argument in an error."""
    both = tuple(sides) if isinstance(sides, Iterable) and not isinstance(sides, str) else (sides, sides)
    if len(both) != 2 or not all(isinstance(side, Integral) and side > 0 for side in both):
        raise InputError(f"{name} is {sides!r}; give whole pixels: one number for squares, or a height and a width")
    return int(both[0]), int(both[1])

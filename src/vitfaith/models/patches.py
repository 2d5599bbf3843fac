"""Where the patches of a model lie on its images: everything that turns patches into pixels, or back, asks here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

from vitfaith.errors import InputError
from vitfaith.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, device, nn

Shape = tuple[int, int]


@dataclass(frozen=True)
class Patches:
    """Rectangles of pixels, side by side from the upper left corner.

    Patch (r, c) covers the rows r·h … (r + 1)·h − 1 and the columns c·w … (c + 1)·w − 1 of the image. The last patches are
    cut at the image's edge, where the model pads; pixels behind the last patch lie in none, as the model never sees them.

    Attributes:
        size: height and width of the image, in pixels.
        grid: rows and columns of patches.
        side: height h and width w of a patch, in pixels; a fraction only where cells share an image unevenly.
    """

    size: Shape
    grid: Shape
    side: tuple[int | Fraction, int | Fraction]

    @classmethod
    def even(cls, grid: Shape, size: Shape) -> Patches:
        """Cells of a map that is not of a model's patches: they share the image, and differ by a pixel where they must."""
        rows, columns = (Fraction(length, number) for length, number in zip(size, grid, strict=True))
        return cls(size, grid, (rows, columns))

    def place(self, axis: int, device: device | str | None = None) -> Tensor:
        """Row (``axis`` 0) or column (1) of the patch that each pixel row or column lies in, (length,) int64; −1: none."""
        side = self.side[axis]
        found = torch.arange(self.size[axis], device=device) * side.denominator // side.numerator
        return torch.where(found < self.grid[axis], found, -1)

    @cached_property
    def lengths(self) -> tuple[Tensor, Tensor]:
        """Pixels of each row and of each column of patches, (rows,) and (columns,) int64; fewer where one is cut."""
        down, across = (
            torch.bincount(place[place >= 0], minlength=number)
            for place, number in zip((self.place(0), self.place(1)), self.grid, strict=True)
        )
        return down, across

    @property
    def seen(self) -> Shape:
        """Rows and columns of pixels that lie in a patch."""
        rows, columns = (
            min(length, int(number * side))
            for length, number, side in zip(self.size, self.grid, self.side, strict=True)
        )
        return rows, columns

    @property
    def area(self) -> Tensor:
        """Pixels of each patch, (rows, columns) int64."""
        return torch.outer(*self.lengths)

    def to_pixels(self, cells: Tensor, *, beyond: float | None = 0) -> Tensor:
        """Values of patches (…, rows, columns) repeated to pixels (…, H, W).

        Pixels in no patch get ``beyond``; with None, the value of the last patch of their row or column.
        """
        if self.grid == self.size:
            return cells
        down, across = (self.place(axis, cells.device) for axis in (0, 1))
        pixels = cells[..., down, :][..., across]  # a copy, in which −1 took the last patch
        if beyond is not None:
            rows, columns = self.seen
            pixels[..., rows:, :] = beyond
            pixels[..., columns:] = beyond
        return pixels

    def mean(self, fields: Tensor) -> Tensor:
        """Mean of pixel fields (k, H, W) over each patch, (k, rows, columns)."""
        if not self.are_cut:
            return torch.nn.functional.adaptive_avg_pool2d(self._whole(fields)[:, None], self.grid)[:, 0]
        # in float64, so that equal pixels give a cut patch the value of a whole one, and rounding breaks no tie
        means = torch.nn.functional.adaptive_avg_pool2d(self._whole(fields.double())[:, None], self.grid)[:, 0]
        return (means / self._shares(0, means)[:, None] / self._shares(1, means)).to(fields.dtype)

    def sum(self, fields: Tensor) -> Tensor:
        """Sum of pixel fields (k, H, W) over each patch, (k, rows, columns)."""
        height, width = self.pixels_a_side
        return torch.nn.functional.adaptive_avg_pool2d(self._whole(fields)[:, None], self.grid)[:, 0] * (height * width)

    def touched(self, mask: Tensor) -> Tensor:
        """Patches (k, rows, columns) bool with a pixel in ``mask`` (k, H, W) bool."""
        (rows, columns), (height, width) = self.grid, self.pixels_a_side
        return self._whole(mask).reshape(len(mask), rows, height, columns, width).any(4).any(2)

    def mean_along(self, axis: int, fields: Tensor) -> Tensor:
        """Mean over the pixel rows (``axis`` 0) or columns (1) of each patch: (k, n, length) → (k, n, patches)."""
        whole = self._fit(fields, [(0, self.grid[axis] * self.pixels_a_side[axis] - self.size[axis])])
        means = torch.nn.functional.adaptive_avg_pool1d(whole, self.grid[axis])
        return means / self._shares(axis, means) if self.are_cut else means

    def upsample(self, maps: Tensor) -> Tensor:
        """Maps (N, rows, columns) → (N, H, W), bilinear between the centres of patches; maps of pixels as they are.

        Outside the centres of the first and last patches the values are theirs, as with ``align_corners=False``. Written
        as a + t·(b − a), where ``torch.nn.functional.interpolate`` computes (1 − t)·a + t·b: the former keeps equal values
        exactly equal, so that plateaus of a map (and its clamped border) are ties, which break at random, not by rounding.
        That is why it is by hand.

        Raises:
            InputError: the maps are neither of the patches nor of the pixels.
        """
        shape = tuple(maps.shape[-2:])
        if shape == self.size:
            return maps
        if shape != self.grid:
            raise InputError(
                f"maps are {_product(shape)}; give them on the grid of {_product(self.grid)} patches, or on all "
                f"{_product(self.size)} pixels"
            )
        for axis, length, cells, side in zip((-2, -1), self.size, self.grid, self.side, strict=True):
            place = (torch.arange(length, device=maps.device, dtype=maps.dtype) + 0.5) * float(1 / Fraction(side)) - 0.5
            place = place.clamp(0, cells - 1)
            lower = place.long()
            share = (place - lower).unsqueeze(-1) if axis == -2 else place - lower
            start = maps.index_select(axis, lower)
            maps = start + share * (maps.index_select(axis, (lower + 1).clamp(max=cells - 1)) - start)
        return maps

    def enlarge(self, fields: Tensor) -> Tensor:
        """Grid fields (k, rows, columns) → (k, H, W) as torch enlarges them (bilinear, ``align_corners=False``).

        Pixels behind the last patch repeat the last row and column.
        """
        whole = tuple(number * side for number, side in zip(self.grid, self.pixels_a_side, strict=True))
        large = torch.nn.functional.interpolate(
            fields[:, None].float(), size=whole, mode="bilinear", align_corners=False
        )
        more = [max(0, length - reach) for length, reach in zip(self.size, whole, strict=True)]
        if any(more):
            large = torch.nn.functional.pad(large, (0, more[1], 0, more[0]), mode="replicate")
        return large[:, 0, : self.size[0], : self.size[1]]

    @property
    def pixels_a_side(self) -> Shape:
        """Height and width of a patch in whole pixels."""
        if any(side.denominator != 1 for side in self.side):
            raise InputError(
                f"{_product(self.grid)} cells do not divide an image of {_product(self.size)} pixels; use a grid that does"
            )
        return int(self.side[0]), int(self.side[1])

    @property
    def are_cut(self) -> bool:
        """Whether the last row or column of patches ends outside the image, which the model pads."""
        return any(n * side > length for n, side, length in zip(self.grid, self.side, self.size, strict=True))

    def _shares(self, axis: int, like: Tensor) -> Tensor:
        """Share of each row or column of patches that lies on the image, (n,)."""
        return self.lengths[axis].to(like) / self.pixels_a_side[axis]

    def _whole(self, fields: Tensor) -> Tensor:
        """Fields (k, H, W) cut at the last patch, or with zeros up to its end."""
        missing = [n * side - have for n, side, have in zip(self.grid, self.pixels_a_side, self.size, strict=True)]
        return self._fit(fields, [(0, missing[1]), (0, missing[0])])

    @staticmethod
    def _fit(fields: Tensor, missing: list[tuple[int, int]]) -> Tensor:
        flat = [count for pair in missing for count in pair]
        return torch.nn.functional.pad(fields, flat) if any(flat) else fields


def embedding_of(backbone: nn.Module) -> nn.Module | None:
    """The module that cuts images into patches: ``patch_embed``, NaFlexViT's ``embeds``, the ``stem`` of an MLP-Mixer."""
    for name in ("patch_embed", "embeds", "stem"):
        found = getattr(backbone, name, None)
        if isinstance(found, torch.nn.ModuleList):  # one per branch (CrossViT), so there is no single grid
            return None
        if isinstance(found, torch.nn.Module) and (name != "stem" or hasattr(found, "grid_size")):
            return found
    return None


def find_patches(backbone: nn.Module, size: Shape) -> Patches | None:
    """The patches of a timm model for images of ``size``, from its patch embedding; None for a model without one.

    A single convolution whose kernel is its stride, without padding, cuts the image into patches: pixels behind the last
    whole patch are not seen, or the image is padded at the lower and right edge (``dynamic_img_pad``). Of any other
    embedding (overlapping kernels, a stem of several layers) patches are the cells of its total stride, which must divide
    the image.

    Raises:
        InputError: the patches do not fit the image; the text names both sizes.
    """
    embedding: Any = embedding_of(backbone)
    if embedding is None:
        return None
    grid = getattr(embedding, "grid_size", None)
    if grid is None:
        return _cells(backbone, embedding, size)
    grid = (int(grid[0]), int(grid[1]))
    stride = _tiling(embedding)
    if stride is None:
        if not any(length % number for length, number in zip(size, grid, strict=True)):
            return Patches(size, grid, (size[0] // grid[0], size[1] // grid[1]))
        if hasattr(backbone, "blocks"):  # whose tokens are these patches
            _refuse(backbone, size, f"{_product(grid)} overlapping patches", "that the patches divide")
        return _cells(backbone, embedding, size)
    exact = not any(length % side for length, side in zip(size, stride, strict=True))
    pads, any_size = bool(getattr(embedding, "dynamic_img_pad", False)), not getattr(embedding, "strict_img_size", True)
    if not exact and pads != any_size:  # timm would stop: padded patches have no positions, or nothing is padded
        _refuse(backbone, size, f"patches of {_product(stride)} pixels", "that is a multiple of the patch")
    rows, columns = (
        math.ceil(length / side) if pads else length // side for length, side in zip(size, stride, strict=True)
    )
    return Patches(size, (rows, columns), stride)


def _cells(backbone: nn.Module, embedding: Any, size: Shape) -> Patches | None:
    """Cells of the total stride of the embedding's convolutions, or of its patch size; None where there is neither."""
    told = getattr(embedding, "patch_size", None)
    strides = [m.stride for m in embedding.modules() if isinstance(m, torch.nn.Conv2d)]
    if not strides and isinstance(told, int | tuple):
        side = (told, told) if isinstance(told, int) else (int(told[0]), int(told[1]))
    else:
        side = (math.prod(int(s[0]) for s in strides), math.prod(int(s[1]) for s in strides))
    if side == (1, 1):
        return None
    if any(length % pixels for length, pixels in zip(size, side, strict=True)):
        _refuse(backbone, size, f"patches of {_product(side)} pixels", "that is a multiple of the patch")
    return Patches(size, (size[0] // side[0], size[1] // side[1]), side)


def _tiling(embedding: nn.Module) -> Shape | None:
    """Stride of the convolution that is the whole embedding, where its kernel neither overlaps nor pads; else None."""
    convolutions = [m for m in embedding.modules() if isinstance(m, torch.nn.modules.conv._ConvNd)]
    if len(convolutions) != 1:
        return None
    only: Any = convolutions[0]
    plain = only.kernel_size == only.stride and not any(only.padding) and only.dilation == (1, 1)
    return (int(only.stride[0]), int(only.stride[1])) if plain else None


def _refuse(backbone: nn.Module, size: Shape, patches: str, wanted: str) -> None:
    raise InputError(
        f"model {type(backbone).__name__} has {patches}, which do not fit its images of {_product(size)} pixels; set "
        f"img_size, and the dataset's preprocessing, to a size {wanted}"
    )


def _product(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))

"""Sets of patches that do not depend on explainers, and requests for the model's responses to their removal.

f(x without S) for a random or fixed set S of patches does not depend on the scored map, so one evaluation of S
serves all maps of all explainers. Sets are described by :class:`Subsets`, :class:`Singles` and :class:`Cells`; with a
fill they make a :class:`BankRequest`, which the engine answers once per batch. :class:`vitfaith.metrics.bank.store.Bank`
keeps the responses of a whole condition, so explainers added later cost no forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from vitfaith.errors import InputError
from vitfaith.lazy import torch
from vitfaith.metrics.engine.ranking import ranking_of
from vitfaith.metrics.engine.requests import Features, Prepared
from vitfaith.metrics.engine.segments import MaskSegment
from vitfaith.metrics.fills.registry import FILLS, prepare_fill
from vitfaith.registry import Item
from vitfaith.rng import uniform

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.metrics.context import Response, ScoreContext

FIELDS = ("logit", "probability", "log_probability", "kl", "prediction")
"""Fields of each response that a bank keeps, see :class:`~vitfaith.metrics.context.Response`."""


@dataclass(frozen=True)
class Singles:
    """Each patch of the map, one at a time."""

    def masks(self, grid: tuple[int, int], image_ids: Sequence[str], seed: int) -> Tensor:
        """(B, S, P) bool, S = P; True = removed."""
        patches = grid[0] * grid[1]
        return torch.eye(patches, dtype=torch.bool).expand(len(image_ids), -1, -1)

    def __str__(self) -> str:
        """Column ``masks`` of the bank."""
        return "singles"


@dataclass(frozen=True)
class Cells:
    """Each cell of a ``side`` × ``side`` grid, one at a time; the sides of cells differ by at most one patch."""

    side: int

    def masks(self, grid: tuple[int, int], image_ids: Sequence[str], seed: int) -> Tensor:
        """(B, S, P) bool, S = side²; True = removed."""
        return cell_masks(grid, self.side).expand(len(image_ids), -1, -1)

    def __str__(self) -> str:
        """Column ``masks`` of the bank."""
        return f"cells({self.side})"


@dataclass(frozen=True)
class Subsets:
    """``count`` random sets of ``size`` patches, drawn uniformly and independently per image.

    ``size`` is a number of patches or, as a float below 1, a share of them (at least one). With ``side`` the sets are
    drawn from the cells of a coarse grid instead (see :class:`Cells`).
    """

    size: int | float
    count: int
    side: int | None = None

    def masks(self, grid: tuple[int, int], image_ids: Sequence[str], seed: int) -> Tensor:
        """(B, S, P) bool, S = count; True = removed. Raises :class:`InputError` if a set would contain every patch."""
        features = grid[0] * grid[1] if self.side is None else self.side * self.side
        size = self.size if isinstance(self.size, int) else max(1, int(self.size * features + 0.5))
        if not 0 < size < features:
            raise InputError(
                f"size={self.size} makes sets of {size} out of {features} features; choose 1 … {features - 1}"
            )
        draws = uniform(seed, image_ids, f"bank {self.size} {self.side}", (self.count, features))
        chosen = draws.argsort(dim=2, stable=True)[..., :size]
        masks = torch.zeros(draws.shape, dtype=torch.bool).scatter_(2, chosen, True)
        if self.side is None:
            return masks
        return (masks.float() @ cell_masks(grid, self.side).float()) > 0

    def __str__(self) -> str:
        """Column ``masks`` of the bank."""
        return f"subsets(size={self.size} count={self.count}" + (f" side={self.side})" if self.side else ")")


MaskSet = Singles | Cells | Subsets
SETS: dict[str, type[MaskSet]] = {"singles": Singles, "cells": Cells, "subsets": Subsets}


def cell_masks(grid: tuple[int, int], side: int) -> Tensor:
    """Patches (side², P) bool of each cell of a side × side grid; raises :class:`InputError` if finer than the map."""
    if side > min(grid):
        raise InputError(f"a grid of {side}×{side} cells is finer than the map ({grid[0]}×{grid[1]}); use fewer cells")
    row, column = (torch.arange(length) * side // length for length in grid)
    cell = (row[:, None] * side + column).flatten()
    return cell == torch.arange(side * side)[:, None]


@lru_cache(maxsize=4)
def _masks(masks: MaskSet, grid: tuple[int, int], image_ids: tuple[str, ...], seed: int) -> Tensor:
    """Masks of the latest contexts, because several metrics and the engine request the same masks."""
    return masks.masks(grid, image_ids, seed)


@dataclass(frozen=True)
class BankRequest(Prepared):
    """Images without the patches of each mask; the response is image-major, B·S long (see :func:`by_image`)."""

    masks: MaskSet
    fill: Item

    @property
    def key(self) -> tuple[str, str]:
        """Columns ``masks`` and ``fill`` of the bank."""
        return str(self.masks), str(self.fill)

    def spec(self) -> dict[str, Any]:
        """The request as plain JSON values, which :meth:`from_spec` reads."""
        name = next(name for name, kind in SETS.items() if kind is type(self.masks))
        return {"masks": {"set": name, **asdict(self.masks)}, "fill": self.fill.spec()}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> BankRequest:
        """The request that :meth:`spec` described."""
        settings = dict(spec["masks"])
        return cls(SETS[settings.pop("set")](**settings), FILLS.from_spec(spec["fill"]))

    def chosen(self, context: ScoreContext) -> Tensor:
        """The masks (B, S, P) bool of the context's images, on its device."""
        rows, columns = context.maps.shape[2:]
        return _masks(self.masks, (rows, columns), tuple(context.image_ids), context.seed).to(context.images.device)

    def segment(self, context: ScoreContext) -> MaskSegment:
        """See :class:`~vitfaith.metrics.context.Request`."""
        masks = self.chosen(context)
        ranking = ranking_of(context, Features("patch"))
        image = torch.arange(len(masks)).repeat_interleave(masks.shape[1])
        return MaskSegment(context, ranking, prepare_fill(self.fill, context), masks.flatten(0, 1), image)


def by_image(response: Response, images: int) -> Response:
    """A response of B·S rows, image-major, as (B, S)."""
    return each(response, lambda column: column.unflatten(0, (images, -1)))


def each(response: Response, change: Callable[[Tensor], Tensor]) -> Response:
    """``response`` with ``change`` applied to every column."""
    return replace(response, **{name: change(getattr(response, name)) for name in FIELDS})

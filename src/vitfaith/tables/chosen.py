"""The images that the gallery shows, chosen by their SaCo in all conditions, which come one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitfaith.statistics import COVERAGE, common_images

STATE = ("total", "lost", "count")


class Chooser:
    """Image id → role: best, median and worst by SaCo averaged over compared methods and conditions (ties by id).

    Where ``explained`` is given, maps of that class alone count, so that further classes change no choice. Without an
    image that all of them have the images with the lowest ids are taken, under the role "first".
    """

    def __init__(self, coverage: float = COVERAGE, explained: str | None = None) -> None:
        self._coverage, self._explained = coverage, explained
        self._first: list[str] = []
        self._done = pd.DataFrame({name: pd.Series(dtype=float) for name in STATE})
        self._dataset: str | None = None
        self._images = pd.Index([])
        self._asked = 0
        self._found = np.zeros(0, np.int64)
        self._state: dict[str, NDArray[np.float64]] = {}

    def see(self, names: pd.Index) -> None:
        """Enter the sorted images of a condition that has any score."""
        self._first = sorted({*self._first, *names[:3]})[:3]

    def add(
        self,
        dataset: str,
        explained: str,
        images: pd.Index,
        cells: list[tuple[NDArray[np.float64], NDArray[np.bool_]]],
    ) -> None:
        """Add the compared values of one condition; conditions of a dataset must be consecutive.

        Args:
            images: (N,) sorted.
            cells: values (N,) of each compared method, metric and variant, sorted by these, and which of them are compared.
        """
        if self._explained is not None and explained != self._explained:
            return
        if dataset != self._dataset:
            self._close()
            self._dataset, self._images, self._asked = dataset, images, 0
            # an id that two datasets share has one mean over both
            self._state = {name: self._done[name].reindex(images).fillna(0.0).to_numpy() for name in STATE}
            self._found = np.zeros(len(images), np.int64)
        for values, compared in cells:
            self._asked += 1
            self._found += compared
            total, lost = self._state["total"], self._state["lost"]
            # compensated as pandas adds up groups, so that means are its means
            value = np.where(compared, values, 0.0) - lost
            new = total + value
            self._state["lost"] = np.where(compared, new - total - value, lost)
            self._state["total"] = np.where(compared, new, total)
            self._state["count"] = self._state["count"] + compared

    def _close(self) -> None:
        if self._dataset is None or not self._asked:
            return
        kept = self._found == self._asked  # an image's mean is over all cells of its dataset that are compared
        here = pd.DataFrame({name: self._state[name][kept] for name in STATE}, index=self._images[kept])
        rest = self._done[~self._done.index.isin(here.index)]
        self._done = pd.concat([rest, here]) if len(rest) else here

    def roles(self, per_role: int = 1) -> dict[str, str]:
        """The chosen images, once all conditions are entered."""
        self._close()
        self._dataset = None
        if self._done.empty:
            return dict.fromkeys(self._first[: 3 * per_role], "first")
        means = pd.DataFrame({"image_id": self._done.index, "value": (self._done["total"] / self._done["count"]).array})
        order = means.sort_values(["value", "image_id"], ascending=[False, True]).image_id.tolist()
        middle = max(0, (len(order) - per_role) // 2)
        roles = {"worst": order[-per_role:], "median": order[middle : middle + per_role], "best": order[:per_role]}
        return {image: role for role, images in roles.items() for image in images}


Unit = tuple[list[tuple[tuple[Any, ...], int]], NDArray[np.float64]]
"""Keys of methods that are compared, each with its row of the values (K, N)."""


def compared_cells(units: list[Unit], coverage: float) -> list[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """The cells of :meth:`Chooser.add` from units of methods that are compared.

    Args:
        units: one per metric and variant; their keys have the order of the cells.
    """
    found = []
    for keys, values in units:
        common = common_images(np.isfinite(values), coverage)
        found += [(key, values[row], common.images) for key, row in keys if common.compared[row]]
    return [(values, images) for _, values, images in sorted(found, key=lambda cell: cell[0])]

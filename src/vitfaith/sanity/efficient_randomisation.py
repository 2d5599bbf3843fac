"""Efficient MPRT: rise of the maps' complexity when all weights are random."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.lazy import np, pa, torch
from vitfaith.map_values import map_flags
from vitfaith.registry import Parameters
from vitfaith.sanity.noise import check_rows
from vitfaith.sanity.registry import Subject, check

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


class EfficientRandomisationParameters(Parameters):
    """Resolution of the histogram of a map's values."""

    bins: int | None = Field(
        None, ge=2, description="number of equal bins between the smallest and the largest value of a map; default ⌈√P⌉"
    )


@check(
    "efficient_randomisation",
    citation="Hedström et al., Sanity Checks Revisited, 2024, arXiv 2401.06465 (eMPRT)",
    explanations="1",
    parameters=EfficientRandomisationParameters,
)
def efficient_randomisation(subject: Subject, parameters: EfficientRandomisationParameters) -> pa.Table:
    """Relative rise of each map's complexity (entropy of its histogram) when all weights are random."""
    from vitfaith.sanity.randomisation import randomised_models

    every = 10**6  # parts: only the last model, in which all are random
    (_, _, model), = randomised_models(subject.classifier, stride=every, seed=subject.seed)  # fmt: skip
    maps = subject.explain(model, subject.images, subject.targets, subject.image_ids)
    tables = []
    for method, random in maps.items():
        values, flags = complexity_rise(subject.maps[method], random, parameters.bins)
        tables.append(check_rows(subject, method, "random model", "complexity_rise", values, flags))
    return pa.concat_tables(tables)


def complexity_rise(maps: Tensor, random: Tensor, bins: int | None) -> tuple[Tensor, list[str]]:
    """(C(ê) − C(e)) / C(e) of each pair of maps (B, rows, columns), with C the entropy of the map's histogram.

    Returns:
        (B,) float64, NaN where one of the maps has a flag ("nan" or "constant"); B flags.
    """
    pairs = [one.detach().float().numpy() for one in (maps, random)]
    flags = ["nan" if "nan" in (x, y) else x or y for x, y in zip(*(map_flags(one) for one in pairs), strict=True)]
    number = bins or math.ceil(math.sqrt(maps[0].numel())) if len(maps) else 0
    values = [
        math.nan if flag else histogram_entropy(y, number) / histogram_entropy(x, number) - 1
        for flag, x, y in zip(flags, *pairs, strict=True)
    ]
    return torch.tensor(values, dtype=torch.float64), flags


def histogram_entropy(values: NDArray[np.floating], bins: int) -> float:
    """−Σ s log s in nats over the shares s of the values in ``bins`` equal bins from their minimum to their maximum."""
    counts, _ = np.histogram(values.astype(np.float64), bins=bins)
    shares = counts[counts > 0] / values.size
    return float(-(shares * np.log(shares)).sum())

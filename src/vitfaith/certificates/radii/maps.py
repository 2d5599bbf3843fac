"""Bounds on the entries of the cheapest swap of a sampled map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vitfaith.certificates.radii.base import base_map, mean_base_map
from vitfaith.certificates.radii.bounds import simultaneous_bounds
from vitfaith.certificates.radii.top_k import Floats, Swap, check_top_k, exact_swap, swaps_to_break, worst_swap_values
from vitfaith.certificates.settings import CertificateParameters
from vitfaith.errors import InputError
from vitfaith.map_values import map_flags
from vitfaith.rng import derive_seed


class SampledSwap(NamedTuple):
    """``swap`` (B, k0) from samples, and ``flag`` (B,): "nan", "constant" or ""."""

    swap: Swap
    flag: list[str]


def sampled_swap(
    selection: ArrayLike, estimation: ArrayLike, parameters: CertificateParameters, image_ids: Sequence[str], seed: int
) -> SampledSwap:
    """Ranking from the selection samples (B, m0, n), bounds from the estimation samples (B, m, n).

    With ``bound="none"`` both are pooled, and their mean is used as the expectation. Images are processed one at a time, so
    memory holds one image in float64, and no image affects another.
    """
    first, second = np.asarray(selection), np.asarray(estimation)
    if first.ndim != 3 or second.ndim != 3 or first.shape[::2] != second.shape[::2] or len(image_ids) != len(first):
        raise InputError(
            "selection and estimation must be (images, samples, entries) with the images of image_ids, "
            f"not {first.shape} and {second.shape} for {len(image_ids)} identifiers"
        )
    if min(first.shape[1], second.shape[1]) < 1:
        raise InputError("selection and estimation must hold at least one sample each")
    k, k0 = parameters.k, swaps_to_break(parameters.k, parameters.beta)
    check_top_k(k, k0, first.shape[2])
    rows: list[tuple[Floats, Floats]] = []
    flags: list[str] = []
    for image_id, chosen, counted in zip(image_ids, first, second, strict=True):
        ranked, bounded = (base_map(part, parameters.base, k) for part in (chosen, counted))
        mean = mean_base_map(np.concatenate([chosen, counted]), parameters.base, k)
        flags += map_flags(mean[None])
        if flags[-1] or parameters.bound == "none":  # NaN gives NaN, a constant map a swap of equal entries
            rows.append(exact_swap(mean, k, k0))
        else:
            key = derive_seed(seed, image_id, "certify rounding")
            limits = simultaneous_bounds(bounded, parameters.alpha, parameters.bound, seed=key)
            rows.append(worst_swap_values(limits.lower, limits.upper, ranked.mean(axis=0), k, k0))
    shape = (-1, k0)
    inside = np.array([row[0] for row in rows], dtype=np.float64).reshape(shape)
    outside = np.array([row[1] for row in rows], dtype=np.float64).reshape(shape)
    return SampledSwap(Swap(inside, outside), flags)

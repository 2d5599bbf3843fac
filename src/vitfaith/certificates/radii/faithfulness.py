"""The (R, D_α, γ, β, k)-faithfulness of a smoothed explanation (FViT, arXiv 2311.17983): largest R, and the part that limits it.

A smoothed map and its prediction are faithful with radius R when, for all ``‖δ‖₂ < R``, (i) the top-k overlap stays at
least β and (ii) the prediction distribution moves by at most γ in D_α.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitfaith.certificates.radii.base import as_probabilities, mass, mean_base_map
from vitfaith.certificates.radii.cohen import certify
from vitfaith.certificates.radii.lipschitz import grouped_radius
from vitfaith.certificates.radii.renyi import broken_divergence, divergence_radius, label_divergence, renyi_radius
from vitfaith.certificates.radii.top_k import Floats, Integers, Swap, exact_swap, swaps_to_break
from vitfaith.certificates.settings import ORDERS, CertificateParameters
from vitfaith.errors import InputError


class Faithfulness(NamedTuple):
    """Per image: ``radius`` (B,) = min(``map_radius``, ``prediction_radius``), and ``limit`` (B,), the smaller part.

    ``limit`` is "map", "prediction" or "" where a radius is NaN. ``single_order_radius`` (B,) is the published shape,
    ``σ max_α sqrt(2/α min(Γ_α, γ_α))``: never larger, because it uses one α for both parts.
    """

    radius: Floats
    map_radius: Floats
    prediction_radius: Floats
    single_order_radius: Floats
    limit: NDArray[np.str_]


def faithfulness(
    maps: ArrayLike,
    probabilities: ArrayLike,
    k: int,
    beta: float | str | Fraction,
    sigma: float,
    *,
    gamma: float | None = None,
    order: float = 2.0,
    orders: ArrayLike = ORDERS,
) -> Faithfulness:
    """Largest R of each image, for smoothed maps and class probabilities that are known exactly.

    Args:
        maps: (B, n) smoothed maps, probability vectors (each sample normalised before the mean).
        probabilities: (B, C) smoothed class probabilities.
        k: size of the top-k set.
        beta: overlap to keep, in (0, 1].
        sigma: standard deviation of the noise, in the units of the input.
        gamma: largest allowed D_α of the prediction, in nats; with ``None`` its arg-max must stay instead.
        order: the α in which ``gamma`` is measured; unused without ``gamma``.
        orders: orders over which the certificates are optimised, (A,).

    Raises:
        InputError: when a row is not a probability vector. Rows with NaN give NaN radii.
    """
    weights = _probability_rows(maps, "maps")
    classes = _probability_rows(probabilities, "probabilities")
    if len(weights) != len(classes) or classes.shape[1] < 2:
        raise InputError(
            f"maps {weights.shape} and probabilities {classes.shape} must have as many rows, and 2 classes"
        )
    grid = np.asarray(orders, dtype=np.float64)
    broken = broken_divergence(exact_swap(weights, k, swaps_to_break(k, beta)), grid)
    map_radius = divergence_radius(broken, grid, sigma)
    if gamma is None:
        top = np.sort(classes, axis=1)[:, ::-1]
        allowed = label_divergence(top[:, 0], np.where(np.isnan(classes).any(axis=1), np.nan, top[:, 1]), grid)
        prediction_radius = divergence_radius(allowed, grid, sigma)
        single = divergence_radius(np.minimum(broken, allowed), grid, sigma)
    else:
        if gamma < 0 or not order > 1:
            raise InputError(f"gamma must not be negative and order must exceed 1, not {gamma} and {order}")
        reach = sigma * np.sqrt(2 * gamma / order)
        prediction_radius = np.where(np.isnan(classes).any(axis=1), np.nan, reach)
        at_order = broken_divergence(exact_swap(weights, k, swaps_to_break(k, beta)), [order])
        single = np.minimum(divergence_radius(at_order, [order], sigma), prediction_radius)
    radius, limit = limiting_part(map_radius, prediction_radius)
    return Faithfulness(radius, map_radius, prediction_radius, single, limit)


def limiting_part(map_radius: ArrayLike, prediction_radius: ArrayLike) -> tuple[Floats, NDArray[np.str_]]:
    """The smaller radius (B,) and its name (B,), for parts from any certificates; "map" where they are equal.

    Radii from samples hold together with probability at least 1 minus the sum of both failure probabilities.
    """
    first, second = np.asarray(map_radius, dtype=np.float64), np.asarray(prediction_radius, dtype=np.float64)
    radius = np.minimum(first, second)
    return radius, np.where(np.isnan(radius), "", np.where(first <= second, "map", "prediction"))


class Parts(NamedTuple):
    """Per image: ``radius`` (B,), the smaller of ``map_radius`` and ``prediction_radius``, ``limit`` (B,) its name, and
    the certified ``prediction`` (B,), :data:`vitfaith.certificates.radii.cohen.ABSTAIN` where undecided."""

    radius: Floats
    map_radius: Floats
    prediction_radius: Floats
    limit: NDArray[np.str_]
    prediction: Integers


def sampled_parts(
    swap: Swap,
    selection: ArrayLike,
    estimation: ArrayLike,
    single: CertificateParameters,
    *,
    gamma: float | None = None,
    order: float = 2.0,
) -> Parts:
    """Largest R of each image from samples.

    The map's radius is the best of the sound certificates, which rest on the same event. The prediction's is Cohen's,
    or, with ``gamma``, the ``σ sqrt(2γ/α)`` within which no prediction moves further, which needs no samples. Each
    fails with at most ``single.alpha`` per image, both together with at most twice that.

    Args:
        swap: (B, k0) from :func:`vitfaith.certificates.radii.maps.sampled_swap`.
        selection, estimation: (B, C) class votes, as for :func:`vitfaith.certificates.radii.cohen.certify`.
        single: noise, base, k and the failure probability of each part.
        gamma: as for :func:`faithfulness`.
        order: as for :func:`faithfulness`.
    """
    radii = [grouped_radius(swap, single.sigma, mass(single.base, single.k))]  # never below lipschitz
    if np.isfinite(mass(single.base, single.k)):
        radii.append(renyi_radius(as_probabilities(swap, single.base, single.k), single.sigma))
    map_radius = np.maximum.reduce(radii)
    certified = certify(selection, estimation, single.sigma, single.alpha)
    reach = certified.radius
    if gamma is not None:
        reach = np.full(len(map_radius), single.sigma * np.sqrt(2 * gamma / order))
    radius, limit = limiting_part(map_radius, reach)
    return Parts(radius, map_radius, reach, limit, certified.prediction)


def plugged_in_parts(
    maps: ArrayLike,
    probabilities: Floats,
    single: CertificateParameters,
    *,
    gamma: float | None = None,
    order: float = 2.0,
) -> Parts:
    """:func:`faithfulness` with sample means in place of expectations, which guarantees nothing.

    Args:
        maps: (B, S, n) raw maps of S noisy copies.
        probabilities: (B, C) mean over the noisy copies.
        single: noise, k, beta, and a base with a fixed sum.
        gamma: as for :func:`faithfulness`.
        order: as for :func:`faithfulness`.
    """
    total = mass(single.base, single.k)
    means = np.stack([mean_base_map(one, single.base, single.k) for one in np.asarray(maps)]) / total
    found = faithfulness(means, probabilities, single.k, single.beta, single.sigma, gamma=gamma, order=order)
    return Parts(found.radius, found.map_radius, found.prediction_radius, found.limit, probabilities.argmax(1))


def _probability_rows(rows: ArrayLike, name: str) -> Floats:
    """``rows`` as float64 (B, n); rows without NaN must be non-negative and sum to 1 within 1e-4 (float32 averages)."""
    values = np.asarray(rows, dtype=np.float64)
    if values.ndim != 2:
        raise InputError(f"{name} must be (images, entries), not {values.shape}")
    known = values[~np.isnan(values).any(axis=1)]
    if np.any(known < 0) or np.any(np.abs(known.sum(axis=1) - 1) > 1e-4):
        raise InputError(f"{name} must hold probability vectors; divide each sample by its sum before taking the mean")
    return values

"""Certified radii from the Rényi divergence between smoothed maps, after FViT (arXiv 2311.17983).

A map that is a probability vector moves by at most ``D_α ≤ α ‖δ‖² / (2σ²)`` under Gaussian smoothing, in both
directions (data processing). Γ is the smallest divergence to a vector whose top-k overlap is broken; ``δ`` with
``α ‖δ‖² / (2σ²) < Γ_α`` for one α > 1 cannot break it. Proofs: ``docs/certificates.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitfaith.certificates.radii.top_k import Floats, Swap
from vitfaith.certificates.settings import ORDERS, DivergenceDirection
from vitfaith.errors import InputError

_ROUNDING = 64 * np.finfo(np.float64).eps


def check_orders(orders: ArrayLike) -> Floats:
    """``orders`` as float64 (A,); raises :class:`InputError` unless all are finite and above 1."""
    values = np.asarray(orders, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.all(np.isfinite(values) & (values > 1)):
        raise InputError(f"orders must be a non-empty list of finite numbers above 1, not {orders!r}")
    return values


def _cumulative_log_power(values: Floats, exponents: Floats) -> Floats:
    """log of the running sums of ``values ** exponents``: logs (..., k0), exponents (A,) → (..., A, k0 + 1)."""
    powers = exponents[:, None] * values[..., None, :]
    running = np.logaddexp.accumulate(powers, axis=-1)
    return np.concatenate([np.full((*running.shape[:-1], 1), -np.inf), running], axis=-1)


def pool_threshold(swap: Swap, exponents: ArrayLike) -> Floats:
    """log τ (..., A): the level at which the cheapest swap meets, by exact water-filling.

    τ is the power mean, with exponent s, of the pool {inside > τ} ∪ {outside < τ}. The balance
    ``sign(s) Σ_pool ((p/τ)^s - 1)`` falls with τ; it is evaluated at each of the 2·k0 entries, which finds the pool,
    and the pool gives τ in closed form. All in logarithms: p^200 underflows, and 0^s is infinite for s < 0.

    Args:
        swap: non-negative values.
        exponents: (A,) non-zero s; s = α for D_α(w‖Q), s = 1 - α for D_α(Q‖w).
    """
    s = np.asarray(exponents, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        inside, rising = np.log(swap.inside), np.log(swap.outside[..., ::-1])
        # τ is in one of the intervals that begin at these points; the counts give the pool there.
        points = np.sort(np.concatenate([inside, rising], axis=-1), axis=-1)
        above = (inside[..., None, :] > points[..., :, None]).sum(axis=-1)
        below = (rising[..., None, :] < points[..., :, None]).sum(axis=-1)
        up_to = (rising[..., None, :] <= points[..., :, None]).sum(axis=-1)
        sums_in, sums_out = _cumulative_log_power(inside, s), _cumulative_log_power(rising, s)

        def pick(sums: Floats, counts: NDArray[np.int64]) -> Floats:
            wide = np.broadcast_to(counts[..., None, :], (*sums.shape[:-1], counts.shape[-1]))
            return np.take_along_axis(sums, wide, axis=-1)

        scaled = s[:, None] * points[..., None, :]
        powers = np.exp(pick(sums_in, above) - scaled) + np.exp(pick(sums_out, below) - scaled)
        balance = np.sign(s)[:, None] * (powers - (above + below)[..., None, :])
        # An entry of 0 has an undefined power; the root is never below it, so it is always a valid lower end.
        positive = (balance >= 0) | np.isneginf(points)[..., None, :]
        last = np.maximum(
            positive.sum(axis=-1, keepdims=True) - 1, 0
        )  # the balance falls, so the True entries come first
        size = np.take_along_axis(np.broadcast_to((above + up_to)[..., None, :], positive.shape), last, axis=-1)
        pooled = np.logaddexp(pick(sums_in, above), pick(sums_out, up_to))
        log_sum = np.take_along_axis(pooled, last, axis=-1)
        threshold = (log_sum - np.log(size)) / s[:, None]
        # Rounding can move a power mean slightly outside its interval; a broken ranking has an empty pool.
        low = np.take_along_axis(np.broadcast_to(points[..., None, :], positive.shape), last, axis=-1)
        threshold = np.where(size > 0, np.maximum(threshold, low), low)
    return threshold[..., 0]


def _excess(swap: Swap, exponents: Floats) -> Floats:
    """|Σ_pool (τ - p)| (..., A): change of the total mass by pooling, minus a margin for rounding."""
    scale = swap.inside[..., :1]
    scale = np.where(scale > 0, scale, 1.0)  # logarithms of ratios near 1 keep digits that logarithms of 1e-3 lose
    inside, outside = swap.inside / scale, swap.outside / scale
    tau = np.exp(pool_threshold(Swap(inside, outside), exponents))[..., None]
    change = np.minimum(tau - inside[..., None, :], 0).sum(axis=-1)
    change += np.maximum(tau - outside[..., None, :], 0).sum(axis=-1)
    # Cancellation makes tiny excesses meaningless; rounding must shrink a certificate, never enlarge it.
    allowance = _ROUNDING * (inside.sum(axis=-1) + outside.sum(axis=-1))[..., None]
    return scale * np.maximum(np.sign(exponents) * change - allowance, 0.0)


def broken_divergence(swap: Swap, orders: ArrayLike = ORDERS, direction: DivergenceDirection = "both") -> Floats:
    """Γ_α (..., A): smallest Rényi divergence, in nats, between a probability vector and one with a broken overlap.

    ``to_broken``: ``α/(α-1) ln(1 + Σ_pool (τ - p))`` with τ^α the mean of p^α over the pool.
    ``from_broken``: ``-ln(1 - Σ_pool (p - τ))`` with τ^(1-α) the mean of p^(1-α). ``both`` takes the larger of the two,
    which is valid because the Gaussian divergence is symmetric. Both are exact if ``swap`` holds the entries
    themselves, and lower bounds if it holds lower bounds inside and upper bounds outside.

    Args:
        swap: entries of probability vectors (the remaining entries of the vectors do not matter).
        orders: α > 1, (A,).
        direction: see :data:`vitfaith.certificates.settings.DivergenceDirection`.
    """
    alpha = check_orders(orders)
    return _divergence(lambda exponents: _excess(swap, exponents), alpha, direction)


def _divergence(change: Callable[[Floats], Floats], alpha: Floats, direction: DivergenceDirection) -> Floats:
    """Γ_α (..., A) from the change of mass that pooling with exponents s (A,) makes."""
    parts = []
    if direction in ("to_broken", "both"):
        parts.append(alpha / (alpha - 1) * np.log1p(change(alpha)))
    if direction in ("from_broken", "both"):
        with np.errstate(divide="ignore"):  # all mass is in the pool and is lost, so the divergence is infinite
            parts.append(-np.log1p(-np.minimum(change(1 - alpha), 1.0)))
    if not parts:
        raise InputError(f"direction must be 'to_broken', 'from_broken' or 'both', not '{direction}'")
    return np.maximum.reduce(parts)


def divergence_radius(divergence: ArrayLike, orders: ArrayLike, sigma: float) -> Floats:
    """l2 radius (...,) ``σ max_α sqrt(2 Γ_α / α)`` from divergences (..., A) at ``orders`` (A,)."""
    return sigma * np.sqrt(2 * np.asarray(divergence, dtype=np.float64) / check_orders(orders)).max(axis=-1)


def renyi_radius(
    swap: Swap, sigma: float, orders: ArrayLike = ORDERS, direction: DivergenceDirection = "both"
) -> Floats:
    """l2 radius (...,) inside which fewer than k0 entries of a probability vector leave the top-k set."""
    return divergence_radius(broken_divergence(swap, orders, direction), orders, sigma)


def label_divergence(
    first: ArrayLike, second: ArrayLike, orders: ArrayLike = ORDERS, direction: DivergenceDirection = "both"
) -> Floats:
    """γ_α (..., A): prediction divergence below which the arg-max cannot change.

    The case k = k0 = 1 of :func:`broken_divergence`. ``from_broken`` is the published form
    ``-ln(1 - p₁ - p₂ + 2 (½ (p₁^(1-α) + p₂^(1-α)))^(1/(1-α)))``, which bounds D_α(Q‖p), with the original
    distribution second.

    Args:
        first: (...,) largest class probability of the smoothed prediction.
        second: (...,) second largest.
        orders: α > 1, (A,).
        direction: see :data:`vitfaith.certificates.settings.DivergenceDirection`.
    """
    p1, p2 = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    return broken_divergence(Swap(p1[..., None], p2[..., None]), orders, direction)


def linf_radius(radius: ArrayLike, dimensions: int) -> Floats:
    """l_inf radius (...,) ``R₂ / sqrt(d)`` with ``d`` = channels · height · width of the input."""
    if dimensions < 1:
        raise InputError(f"dimensions must be at least 1, not {dimensions}")
    return np.asarray(radius, dtype=np.float64) / np.sqrt(dimensions)


class ClosedForm(NamedTuple):
    """Result of :func:`paper_closed_form`: ``divergence`` (..., A) and whether it is a valid lower bound."""

    divergence: Floats
    sound: bool


def paper_closed_form(
    swap: Swap, orders: ArrayLike = ORDERS, direction: DivergenceDirection = "to_broken"
) -> ClosedForm:
    """Divergence to the nearest vector whose 2·k0 swapped entries are all equal: NOT a lower bound for k0 ≥ 2.

    ``α/(α-1) ln(2 k0 (mean_S p^α)^(1/α) + Σ_{i∉S} p)`` for ``to_broken`` and
    ``-ln(2 k0 (mean_S p^(1-α))^(1/(1-α)) + Σ_{i∉S} p)`` for ``from_broken``, the two forms in which the theorem of FViT
    (arXiv 2311.17983) is quoted. A closer vector can break the overlap without making all of S equal; the value
    is then too large, by up to a factor of 1.8 on small random vectors. For the ``from_broken`` form there are maps whose
    overlap breaks inside its radius. The function exists only for comparison;
    :func:`broken_divergence` is the exact value. For k0 = 1 the two agree and ``sound`` is true.

    Args:
        swap: entries of probability vectors, known exactly.
        orders: α > 1, (A,).
        direction: see :data:`vitfaith.certificates.settings.DivergenceDirection`.
    """
    alpha = check_orders(orders)
    entries = np.concatenate(swap, axis=-1)
    total = entries.sum(axis=-1)[..., None]

    def change(exponents: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):  # zero entries, NaN maps
            log_sum = np.logaddexp.reduce(exponents[:, None] * np.log(entries)[..., None, :], axis=-1)
        mean = np.exp((log_sum - np.log(entries.shape[-1])) / exponents)
        return np.maximum(np.sign(exponents) * (entries.shape[-1] * mean - total), 0.0)

    return ClosedForm(_divergence(change, alpha, direction), swap.inside.shape[-1] == 1)

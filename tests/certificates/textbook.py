"""Slow oracles: a constrained minimiser over every swap, and smoothed maps whose expectation is exact."""

from __future__ import annotations

from itertools import combinations, pairwise, product
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import linprog, minimize
from scipy.special import ndtr
from scipy.stats import laplace, uniform

from vitfaith.certificates.radii.top_k import Swap
from vitfaith.map_values import membership
from vitfaith.noise import Noise, scale


def renyi_divergence(p: np.ndarray, q: np.ndarray, alpha: float) -> float:
    """D_α(p‖q) by its definition."""
    return float(np.log(np.sum(p**alpha * q ** (1 - alpha))) / (alpha - 1))


def nearest_broken(
    p: np.ndarray, inside: tuple[int, ...], outside: tuple[int, ...], alpha: float, forward: bool
) -> float:
    """Smallest divergence to (forward) or from a q with every q[inside] <= every q[outside], by SLSQP on log q."""
    n = len(p)

    def softmax(u: np.ndarray) -> np.ndarray:
        weights = np.exp(u - u.max())
        return weights / weights.sum()

    def objective(u: np.ndarray) -> float:
        q = softmax(u)
        return renyi_divergence(p, q, alpha) if forward else renyi_divergence(q, p, alpha)

    pairs = list(product(inside, outside))
    matrix = np.zeros((len(pairs), n))
    for row, (i, o) in enumerate(pairs):
        matrix[row, o], matrix[row, i] = 1.0, -1.0
    constraint = {"type": "ineq", "fun": lambda u: matrix @ u, "jac": lambda u: matrix}
    start = np.log(p).copy()
    moved = list(inside) + list(outside)
    start[moved] = np.log(p[moved].mean())  # feasible: all equal
    found = minimize(
        objective, start, method="SLSQP", constraints=[constraint], options={"maxiter": 500, "ftol": 1e-14}
    )
    assert (matrix @ found.x).min() > -1e-7
    return float(found.fun)


def minimal_divergence(p: np.ndarray, k: int, k0: int, alpha: float, forward: bool) -> float:
    """The minimum over every choice of k0 leaving and k0 entering entries."""
    order = np.argsort(-p, kind="stable")
    return min(
        nearest_broken(p, inside, outside, alpha, forward)
        for inside in combinations(order[:k].tolist(), k0)
        for outside in combinations(order[k:].tolist(), k0)
    )


class StepMap:
    """A map of one number x that is constant between cuts; its Gaussian smoothing is a sum of normal probabilities.

    Step functions along a line are the worst case of Gaussian smoothing, so certificates are put to their limit.
    """

    def __init__(self, cuts: np.ndarray, levels: np.ndarray, sigma: float) -> None:
        self.edges = np.concatenate([[-np.inf], np.sort(cuts), [np.inf]])
        self.levels = levels  # (cuts + 1, n)
        self.sigma = sigma

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Smoothed maps (len(x), n)."""
        masses = [ndtr((high - x) / self.sigma) - ndtr((low - x) / self.sigma) for low, high in pairwise(self.edges)]
        return np.stack(masses, axis=-1) @ self.levels

    def sample(self, x: float, count: int, rng: np.random.Generator) -> np.ndarray:
        """Maps (count, n) of noisy copies of x."""
        noisy = x + self.sigma * rng.normal(size=count)
        return self.levels[np.searchsorted(self.edges[1:-1], noisy)]


class LineMap(StepMap):
    """The same with other noise: ``law`` is a frozen distribution of scipy."""

    def __init__(self, cuts: np.ndarray, levels: np.ndarray, law: Any) -> None:
        super().__init__(cuts, levels, law.std())
        self.law = law

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Smoothed maps (len(x), n)."""
        masses = [self.law.cdf(high - x) - self.law.cdf(low - x) for low, high in pairwise(self.edges)]
        return np.stack(masses, axis=-1) @ self.levels

    def sample(self, x: float, count: int, rng: np.random.Generator) -> np.ndarray:
        """Maps (count, n) of noisy copies of x."""
        noisy = x + self.law.rvs(count, random_state=rng)
        return self.levels[np.searchsorted(self.edges[1:-1], noisy)]


def law_masses(noise: Noise, sigma: float, shift: float, cells: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Masses of the cells of a line under the noise and under the noise moved by ``shift``.

    The ratio of the two densities is constant on the cells at both ends, so they lose nothing; with uniform noise on all cells.
    """
    size = scale(noise, sigma)
    if noise == "uniform":
        edges = np.sort([-size, size, shift - size, shift + size])
        law = uniform(-size, 2 * size)
    else:
        edges = np.concatenate([[-np.inf], np.linspace(0, shift, cells - 1), [np.inf]])
        law = laplace(0, size)
    return np.diff(law.cdf(edges)), np.diff(law.cdf(edges - shift))


class SoftmaxMap:
    """softmax(A x + b) of a point in the plane, smoothed by Gauss-Hermite quadrature (24 x 24 nodes)."""

    def __init__(self, weights: np.ndarray, offsets: np.ndarray, sigma: float) -> None:
        nodes, mass = np.polynomial.hermite_e.hermegauss(24)
        mass = mass / mass.sum()
        self.nodes = sigma * np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 2)
        self.mass = np.outer(mass, mass).reshape(-1)
        self.weights, self.offsets = weights, offsets

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Smoothed maps (len(points), n)."""
        scores = (points[:, None, :] + self.nodes) @ self.weights.T + self.offsets
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        return np.einsum("bqn,q->bn", shares, self.mass)


def breaking_margin(
    swap: Swap, shift: float, masses: tuple[np.ndarray, np.ndarray] | None = None, cells: int = 120
) -> float:
    """How far some base map can push the inside entries under the outside ones at distance ``shift`` (sigma = 1).

    The noise is Gaussian, or that of the ``masses`` of cells before and after the shift (:func:`law_masses`).

    A linear programme over all maps that are step functions of the position along the shift and whose smoothing at the
    start is ``swap``. A margin of at least 0 exhibits such a map, so no certificate may reach ``shift``.
    """
    k0 = len(swap.inside)
    start = np.concatenate([swap.inside, swap.outside, [1 - swap.inside.sum() - swap.outside.sum()]])
    if masses is None:
        edges = np.concatenate([[-np.inf], np.linspace(-3.2, 3.2 + shift, cells - 1), [np.inf]])
        masses = np.diff(ndtr(edges)), np.diff(ndtr(edges - shift))
    before, after = masses
    cells, n = len(before), len(start)
    # unknowns: the map in every cell (cells x n), a level and the margin; inside + margin <= level <= outside - margin
    whole = sparse.hstack([sparse.kron(sparse.eye(cells), np.ones((1, n))), sparse.csr_matrix((cells, 2))])
    at_start = sparse.hstack([sparse.kron(before[None], sparse.eye(n)), sparse.csr_matrix((n, 2))]).tocsr()[:-1]
    at_end = sparse.kron(after[None], sparse.eye(n)).tocsr()
    under = sparse.hstack([at_end[:k0], np.tile([[-1.0, 1.0]], (k0, 1))])
    over = sparse.hstack([-at_end[k0 : 2 * k0], np.tile([[1.0, 1.0]], (k0, 1))])
    found = linprog(
        np.concatenate([np.zeros(cells * n + 1), [-1.0]]),
        A_ub=sparse.vstack([under, over]),
        b_ub=np.zeros(2 * k0),
        A_eq=sparse.vstack([whole, at_start]),
        b_eq=np.concatenate([np.ones(cells), start[:-1]]),
        bounds=[(0, None)] * (cells * n) + [(0, 1), (-1, 1)],
        method="highs",
    )
    assert found.status == 0, found.message
    return -float(found.fun)


def overlap(first: np.ndarray, second: np.ndarray, k: int) -> np.ndarray:
    """Smallest top-k overlap ``|T ∩ T'| / k`` (...,) of two maps (..., n) over all orders of equal entries, in [0, 1].

    A certificate promises an overlap however ties are broken, so this is the overlap that it is held against. (The
    stability measure ``top_k_overlap`` is the expectation over these orders.)
    """
    chances = membership(first, k), membership(second, k)
    surely_a, surely_b = (chance == 1 for chance in chances)
    maybe_a, maybe_b = ((chance > 0) & (chance < 1) for chance in chances)

    def count(entries: np.ndarray) -> np.ndarray:
        return np.asarray(entries.sum(axis=-1), dtype=np.int64)

    # The tied entries that each map takes into its set: first those of no use to the other, then those that tie in both.
    free_a, free_b = count(maybe_a & ~surely_b & ~maybe_b), count(maybe_b & ~surely_a & ~maybe_a)
    left_a = np.maximum(k - count(surely_a) - free_a, 0)
    left_b = np.maximum(k - count(surely_b) - free_b, 0)
    shared = np.maximum(left_a + left_b - count(maybe_a & maybe_b), 0)
    return (count(surely_a & surely_b) + shared) / k

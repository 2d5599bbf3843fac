"""Everything that says from outside what a stability measure must give; each registered one has at least one entry."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import linprog
from skimage.metrics import structural_similarity
from sklearn.metrics.pairwise import cosine_similarity

from tests.oracle import Oracle, Pair
from vitfaith.stability.compare import compare_maps
from vitfaith.stability.registry import STABILITY_MEASURES

__all__ = ["ORACLES", "maps", "only", "rows_of_pairs", "values_of"]

Array = NDArray[np.floating]


def maps(seed: int, count: int = 4, shape: tuple[int, int] = (4, 5), ties: bool = False) -> Array:
    values = np.random.default_rng(seed).normal(size=(count, *shape))
    return (np.round(values) if ties else values).astype(np.float32)


def values_of(name: str, a: Array, b: Array, **settings: object) -> dict[str, Array]:
    measure = STABILITY_MEASURES.item(name, **settings)
    return {variant: values for variant, (values, _) in compare_maps(a, b, measure).items()}


def only(name: str, a: Array, b: Array, **settings: object) -> Array:
    (values,) = values_of(name, a, b, **settings).values()
    return values


def rows_of_pairs(a: Array, b: Array) -> list[tuple[Array, Array]]:
    return list(zip(a.reshape(len(a), -1).astype(float), b.reshape(len(b), -1).astype(float), strict=True))


def image_by_image(
    name: str, oracle: Callable[[Array, Array], float], seed: int = 2, ties: bool = False, **shape: object
) -> Pair:
    """``oracle`` of the flat float64 maps of each image."""
    a, b = maps(seed, ties=ties, **shape), maps(seed + 1, ties=ties, **shape)  # type: ignore[arg-type]
    expected = [oracle(x, y) for x, y in rows_of_pairs(a, b)]
    return torch.from_numpy(only(name, a, b)), torch.tensor(expected, dtype=torch.float64)


def top_k(ties: bool) -> Pair:
    a, b = maps(0, ties=ties), maps(1, ties=ties)
    counts = {"k=0.05": 1, "k=0.1": 2, "k=0.5": 10, "k=3": 3, "k=20": 20}
    found = values_of("top_k_overlap", a, b, k=(0.05, 0.1, 0.5, 3, 20))
    expected = []
    for count, (x, y) in itertools.product(counts.values(), rows_of_pairs(a, b)):
        expected.append(float(sum(chance_of(x, i, count) * chance_of(y, i, count) for i in range(20)) / count))
    ours = np.concatenate([found[variant] for variant in counts])
    return torch.from_numpy(ours), torch.tensor(expected, dtype=torch.float64)


def chance_of(row: Array, patch: int, count: int) -> Fraction:
    """Chance that a patch is among the ``count`` highest: its places are those behind all higher ones, as many as it ties with."""
    higher, equal = int((row > row[patch]).sum()), int((row == row[patch]).sum())
    return min(Fraction(1), max(Fraction(0), Fraction(count - higher, equal)))


def every_order() -> Pair:
    """Overlap and its ceilings as means over all pairs of orders of five patches; only orders that sort the map count."""
    rows = np.array([[3, 1, 1, 1, 0], [1, 1, 0, 0, 2], [0, 0, 0, 0, 1], [2, 2, 2, 1, 2]], dtype=np.float32)
    pairs = list(itertools.product(range(4), range(4)))
    a, b = rows[[i for i, _ in pairs]], rows[[j for _, j in pairs]]
    found = values_of("top_k_overlap", a[:, None], b[:, None], k=(1, 2, 3))
    expected = []
    for count in (1, 2, 3):
        sets = [
            [set(order[:count]) for order in itertools.permutations(range(5)) if (np.diff(row[list(order)]) <= 0).all()]
            for row in rows
        ]

        def overlap(i: int, j: int, sets: list = sets, count: int = count) -> float:
            return float(np.mean([len(s & t) / count for s in sets[i] for t in sets[j]]))

        expected += [[overlap(i, j) for i, j in pairs], [min(overlap(i, i), overlap(j, j)) for i, j in pairs]]
    ours = np.stack([found[f"k={k}{end}"] for k in (1, 2, 3) for end in ("", " ceiling")])
    return torch.from_numpy(ours), torch.tensor(expected, dtype=torch.float64)


def normed(order: int) -> Callable[[Array, Array], float]:
    return lambda x, y: float(np.linalg.norm(x / np.linalg.norm(x, 1) - y / np.linalg.norm(y, 1), order))


def concordant_pairs(x: Array, y: Array) -> float:
    total = in_x = in_y = 0.0
    for i, j in itertools.combinations(range(len(x)), 2):
        sx, sy = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
        total, in_x, in_y = total + sx * sy, in_x + abs(sx), in_y + abs(sy)
    return total / math.sqrt(in_x * in_y)


def unit_range(m: Array) -> Array:
    m = m.astype(float)
    return (m - m.min()) / (m.max() - m.min())


def ssim(oracle: Callable[[Array, Array], float], shape: tuple[int, int], variant: str, **settings: object) -> Pair:
    """``oracle`` of maps scaled to [0, 1]; ``variant`` names the window that is used."""
    a, b = maps(6, shape=shape), maps(7, shape=shape)
    expected = [oracle(unit_range(x), unit_range(y)) for x, y in zip(a, b, strict=True)]
    ours = values_of("ssim", a, b, **settings)[variant]
    return torch.from_numpy(ours), torch.tensor(expected, dtype=torch.float64)


def of_skimage(sigma: float, x: Array, y: Array) -> float:
    return structural_similarity(x, y, gaussian_weights=True, sigma=sigma, use_sample_covariance=False, data_range=1.0)


def ssim_loop(window: int, x: Array, y: Array) -> float:
    """Window by window."""
    radius = window // 2
    offsets = range(-radius, radius + 1)
    weight = {(i, j): math.exp(-(i * i + j * j) / (2 * 1.5**2)) for i in offsets for j in offsets}
    total = sum(weight.values())
    local = []
    for r, c in itertools.product(range(radius, x.shape[0] - radius), range(radius, x.shape[1] - radius)):
        inside = [(w / total, x[r + i, c + j], y[r + i, c + j]) for (i, j), w in weight.items()]
        mx = sum(w * p for w, p, _ in inside)
        my = sum(w * q for w, _, q in inside)
        vx = sum(w * (p - mx) ** 2 for w, p, _ in inside)
        vy = sum(w * (q - my) ** 2 for w, _, q in inside)
        cov = sum(w * (p - mx) * (q - my) for w, p, q in inside)
        local.append((2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)))
    return float(np.mean(local))


def centre_shift(shape: tuple[int, int], x: Array, y: Array) -> float:
    """Patch by patch."""
    centres = []
    for values in (x, y):
        mass = [abs(float(value)) for value in values]
        row = sum(m * (i // shape[1]) for i, m in enumerate(mass)) / sum(mass)
        column = sum(m * (i % shape[1]) for i, m in enumerate(mass)) / sum(mass)
        centres.append((row, column))
    return math.dist(*centres) / math.dist((0, 0), (shape[0] - 1, shape[1] - 1))


def transport(shape: tuple[int, int], x: Array, y: Array) -> float:
    """The dense programme with a variable for each pair of patches."""
    patches = len(x)
    p, q = np.abs(x) / np.abs(x).sum(), np.abs(y) / np.abs(y).sum()
    place = np.array(list(itertools.product(range(shape[0]), range(shape[1]))))
    cost = np.abs(place[:, None] - place[None]).sum(-1)
    rows, columns = np.kron(np.eye(patches), np.ones(patches)), np.kron(np.ones(patches), np.eye(patches))
    found = linprog(cost.ravel(), A_eq=np.vstack([rows, columns[:-1]]), b_eq=np.concatenate([p, q[:-1]]))
    return found.fun


def on_a_line(x: Array, y: Array) -> float:
    return stats.wasserstein_distance(range(len(x)), range(len(x)), np.abs(x), np.abs(y))


FLAT: dict[str, tuple[str, str, Callable[[Array, Array], float]]] = {
    "pearson": ("pearsonr", "package scipy", lambda x, y: stats.pearsonr(x, y).statistic),
    "spearman": ("spearmanr", "package scipy", lambda x, y: stats.spearmanr(x, y).statistic),
    "kendall": ("kendalltau", "package scipy, which ours calls", lambda x, y: stats.kendalltau(x, y).statistic),
    "cosine": ("cosine_similarity", "package scikit-learn", lambda x, y: cosine_similarity(x[None], y[None])[0, 0]),
    "l1": ("linalg.norm", "package NumPy", normed(1)),
    "l2": ("linalg.norm", "package NumPy", normed(2)),
}

ORACLES: list[Oracle] = sorted(
    [
        *[
            Oracle(
                "top_k_overlap", "textbook loop", f"patch by patch; {what}; five sizes", tolerance, partial(top_k, ties)
            )
            for ties, what, tolerance in ((False, "no ties", 0.0), (True, "with ties", 1e-15))
        ],
        Oracle("top_k_overlap", "textbook loop", "all orders of tied patches; values and ceilings", 1e-14, every_order),
        *[
            Oracle(name, source, f"{remark}; {what}", 5e-13, partial(image_by_image, name, oracle, ties=ties))
            for name, (source, remark, oracle) in FLAT.items()
            for ties, what in ((False, "no ties"), (True, "with ties"))
        ],
        Oracle(
            "kendall",
            "textbook loop",
            "pair by pair; with ties",
            1e-12,
            partial(image_by_image, "kendall", concordant_pairs, seed=4, ties=True),
        ),
        *[
            Oracle(
                "ssim",
                "structural_similarity",
                f"package scikit-image; window {window}, {shape[0]} × {shape[1]} patches",
                1e-10,
                partial(
                    ssim,
                    partial(of_skimage, sigma),
                    shape,
                    f"window={window},sigma={sigma:g}",
                    window=window,
                    sigma=sigma,
                ),
            )
            for window, sigma, shape in ((11, 1.5, (14, 16)), (7, 0.9, (8, 9)), (7, 0.9, (7, 7)))
        ],
        *[
            Oracle(
                "ssim",
                "textbook loop",
                f"window by window; the window that {shape[0]} × {shape[1]} patches allow",
                1e-12,
                partial(ssim, partial(ssim_loop, window), shape, f"window={window},sigma=1.5"),
            )
            for shape, window in (((3, 3), 3), ((4, 9), 3), ((6, 5), 5), ((9, 9), 7))
        ],
        Oracle(
            "centre_of_mass_shift",
            "textbook loop",
            "patch by patch",
            1e-12,
            partial(image_by_image, "centre_of_mass_shift", partial(centre_shift, (4, 5))),
        ),
        Oracle(
            "wasserstein",
            "linprog",
            "package scipy; dense transport programme, 3 × 4 patches",
            1e-10,
            partial(image_by_image, "wasserstein", partial(transport, (3, 4)), seed=10, count=2, shape=(3, 4)),
        ),
        Oracle(
            "wasserstein",
            "wasserstein_distance",
            "package scipy; one row of patches",
            1e-10,
            partial(image_by_image, "wasserstein", on_a_line, seed=12, shape=(1, 6)),
        ),
    ],
    key=lambda oracle: oracle.subject,
)

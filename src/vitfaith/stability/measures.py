"""Rank, correlation and distance measures between two maps of the same image.

Every function takes ``a`` and ``b``, (B, rows, columns) finite non-constant maps, works per image in float64,
and returns ``{variant: (B,) float64}``. All but :func:`l1`, :func:`l2`, :func:`centre_of_mass_shift` and
:func:`wasserstein` ignore the positive scale of the maps; these four normalise the maps first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator

from vitfaith.errors import InputError
from vitfaith.lazy import np
from vitfaith.map_values import CEILING, CHANCE, membership, within_rounding
from vitfaith.registry import Parameters
from vitfaith.stability.registry import Maps, Values, measure, one_value

if TYPE_CHECKING:
    from numpy.typing import NDArray


def flatten(maps: Maps) -> NDArray[np.float64]:
    """(B, rows·columns) float64, row by row."""
    return np.asarray(maps, dtype=np.float64).reshape(len(maps), -1)


def unit_mass(maps: Maps) -> NDArray[np.float64]:
    """(B, rows·columns) float64 with Σ|·| = 1 in each row."""
    flat = flatten(maps)
    flat = flat / np.abs(flat).max(axis=1, keepdims=True)  # so the sum of tiny values does not underflow
    return flat / np.abs(flat).sum(axis=1, keepdims=True)


def row_pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> Values:
    """Pearson correlation of the rows of two (B, n) arrays; NaN where a row is constant."""

    def standardise(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):
            constant = within_rounding(rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True))
            centred = np.where(constant, 0.0, rows - rows.mean(axis=1, keepdims=True))
            centred = centred / np.abs(centred).max(axis=1, keepdims=True)
            return centred / np.sqrt((centred * centred).sum(axis=1, keepdims=True))

    return np.clip((standardise(a) * standardise(b)).sum(axis=1), -1.0, 1.0)


def row_ranks(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks 1…n of each row of a (B, n) array; ties share their mean rank."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(rows, axis=1), dtype=np.float64)


class TopK(Parameters):
    """Sizes of the sets of leading patches."""

    k: tuple[Annotated[int, Field(strict=True)] | float, ...] = Field(
        (0.05, 0.1, 0.2, 0.5),
        description="numbers of patches (integers), or shares of all patches (rounded to the nearest count ≥ 1)",
    )

    @field_validator("k")
    @classmethod
    def _sizes(cls, sizes: tuple[int | float, ...]) -> tuple[int | float, ...]:
        if not sizes:
            raise ValueError("k must name at least one size")
        for size in sizes:
            if not (size >= 1 if isinstance(size, int) else 0 < size < 1):
                raise ValueError(f"k holds {size}; give integers ≥ 1 or shares between 0 and 1")
        return sizes


def top_k_count(size: int | float, patches: int) -> int:
    """Number of patches for ``size`` on a grid of ``patches``; raises :class:`InputError` if the grid has fewer."""
    count = size if isinstance(size, int) else max(1, int(size * patches + 0.5))
    if count > patches:
        raise InputError(f"k={size} is more than the {patches} patches of the map; give a share such as 0.1")
    return count


@measure(
    "top_k_overlap",
    direction="higher",
    parameters=TopK,
    variants=lambda parameters: tuple(f"k={size}{end}" for end in ("", CEILING, CHANCE) for size in parameters.k),
    citation="Ghorbani et al. 2019; Hu et al. 2024 (arXiv 2311.17983)",
)
def top_k_overlap(a: Maps, b: Maps, parameters: TopK) -> dict[str, Values]:
    """Share of the k highest patches that both maps have in common, in [0, 1]; its expectation over orders of ties.

    Both maps break their ties independently and uniformly. The value is the expectation Σ π^a π^b / k, with π the
    probability that a patch is among the k highest (:func:`vitfaith.map_values.membership`). If ties cross the k-th
    place, even identical maps have a value below 1. The variants ``k=… ceiling`` give the largest possible value,
    min(Σ (π^a)², Σ (π^b)²) / k, which identical maps reach; it is 1 if no tie crosses the k-th place. The variants
    ``k=… chance`` give k/P, the expected overlap of two independent random maps of P patches. A method that draws the
    same random map for both images still has an overlap of 1.
    """
    x, y = flatten(a), flatten(b)
    result, ceilings, chances = {}, {}, {}
    for size in parameters.k:
        count = top_k_count(size, x.shape[1])
        in_a, in_b = membership(x, count), membership(y, count)
        result[f"k={size}"] = (in_a * in_b).sum(axis=1) / count
        own = np.minimum((in_a * in_a).sum(axis=1), (in_b * in_b).sum(axis=1)) / count
        ceilings[f"k={size}{CEILING}"] = np.minimum(own, 1.0)
        chances[f"k={size}{CHANCE}"] = np.full(len(x), count / x.shape[1])
    bounded = {name: np.minimum(values, ceilings[f"{name}{CEILING}"]) for name, values in result.items()}
    return bounded | ceilings | chances


@measure("pearson", direction="higher", citation="Pearson correlation", variants=one_value)
def pearson(a: Maps, b: Maps, parameters: Parameters) -> dict[str, Values]:
    """Pearson correlation over patches, in [-1, 1]."""
    return {"": row_pearson(flatten(a), flatten(b))}


@measure("spearman", direction="higher", citation="Spearman rank correlation; Ghorbani et al. 2019", variants=one_value)
def spearman(a: Maps, b: Maps, parameters: Parameters) -> dict[str, Values]:
    """Spearman rank correlation over patches, in [-1, 1]; ties share their mean rank."""
    return {"": row_pearson(row_ranks(flatten(a)), row_ranks(flatten(b)))}


@measure("kendall", direction="higher", citation="Kendall 1945 (tau-b)", variants=one_value)
def kendall(a: Maps, b: Maps, parameters: Parameters) -> dict[str, Values]:
    """Kendall's rank correlation τ-b over patches, in [-1, 1]."""
    from scipy.stats import kendalltau

    rows = zip(flatten(a), flatten(b), strict=True)
    return {"": np.array([kendalltau(x, y, method="asymptotic").statistic for x, y in rows], dtype=np.float64)}


@measure("cosine", scale_dependent=True, direction="higher", citation="cosine similarity", variants=one_value)
def cosine(a: Maps, b: Maps, parameters: Parameters) -> dict[str, Values]:
    """Cosine of the angle between the maps, in [-1, 1]; unlike ``pearson`` it depends on their means."""
    x, y = unit_mass(a), unit_mass(b)
    return {"": np.clip((x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1)), -1.0, 1.0)}


@measure(
    "l1", scale_dependent=True, direction="lower", citation="L1 distance after L1 normalisation", variants=one_value
)
def l1(a: Maps, b: Maps, parameters: Parameters) -> dict[str, Values]:
    """Σ|a − b| of maps scaled to Σ|·| = 1, in [0, 2]: twice the total variation for non-negative maps."""
    return {"": np.minimum(np.abs(unit_mass(a) - unit_mass(b)).sum(axis=1), 2.0)}  # rounding of sums, for opposite maps


@measure(
    "l2", scale_dependent=True, direction="lower", citation="L2 distance after L1 normalisation", variants=one_value
)
def l2(a: Maps, b: Maps, parameters: Parameters) -> dict[str, Values]:
    """√Σ(a − b)² of maps scaled to Σ|·| = 1, in [0, 2]."""
    difference = unit_mass(a) - unit_mass(b)
    return {"": np.minimum(np.sqrt((difference * difference).sum(axis=1)), 2.0)}

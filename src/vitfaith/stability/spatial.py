"""Measures between two maps that use the positions of patches: structural similarity, centre of mass, transport."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from vitfaith.errors import InputError
from vitfaith.lazy import np
from vitfaith.map_values import unit_range
from vitfaith.registry import Parameters
from vitfaith.stability.measures import unit_mass
from vitfaith.stability.registry import Maps, Values, measure, one_value

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array


class Ssim(Parameters):
    """The Gaussian window of the local statistics."""

    window: int = Field(
        default=7,
        ge=3,
        description="side of the window in patches, odd; reduced to the largest odd number that fits the grid; 11 suits pixel maps",
    )
    sigma: float = Field(default=1.5, gt=0, description="standard deviation of the window's weights, patches")

    @field_validator("window")
    @classmethod
    def _odd(cls, window: int) -> int:
        if window % 2 == 0:
            raise ValueError(f"window must be odd, not {window}")
        return window


@measure("ssim", direction="higher", parameters=Ssim, citation="Wang et al. 2004")
def ssim(a: Maps, b: Maps, parameters: Ssim) -> dict[str, Values]:
    """Structural similarity of maps scaled to [0, 1], with Gaussian weights, averaged where the window fits.

    The constants are K1 = 0.01, K2 = 0.03 and the data range 1; covariances are population covariances. The variant
    names the window. Raises :class:`InputError` for grids thinner than 3 patches.

    Written by hand, because scikit-image takes one pair of maps per call, and there are thousands of small maps.
    """
    from scipy.ndimage import correlate1d

    side = min(a.shape[1:])
    if side < 3:
        raise InputError(f"ssim needs a grid of at least 3×3 patches, not {a.shape[1]}×{a.shape[2]}; leave it out")
    window = min(parameters.window, side - 1 + side % 2)
    radius = window // 2
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / parameters.sigma) ** 2)
    weights /= weights.sum()

    def local_mean(maps: NDArray[np.float64]) -> NDArray[np.float64]:
        for axis in (1, 2):
            maps = correlate1d(maps, weights, axis=axis)
        return maps[:, radius : maps.shape[1] - radius, radius : maps.shape[2] - radius]

    x, y = (unit_range(np.asarray(maps, dtype=np.float64), constant=np.nan) for maps in (a, b))
    mean_x, mean_y = local_mean(x), local_mean(y)
    variance_x = local_mean(x * x) - mean_x * mean_x
    variance_y = local_mean(y * y) - mean_y * mean_y
    covariance = local_mean(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    local = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x * mean_x + mean_y * mean_y + c1) * (variance_x + variance_y + c2)
    )
    return {f"window={window},sigma={parameters.sigma:g}": np.clip(local.mean(axis=(1, 2)), -1.0, 1.0)}


@measure(
    "centre_of_mass_shift",
    scale_dependent=True,
    direction="lower",
    variants=one_value,
    citation="Ghorbani et al. 2019 (mass-centre attack)",
)
def centre_of_mass_shift(a: Maps, b: Maps, parameters: Parameters) -> dict[str, Values]:
    """Distance between the maps' centres of mass |·|, as a share of the grid's diagonal, in [0, 1]."""
    rows, columns = a.shape[1:]
    position = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")).reshape(2, -1).astype(float)
    shift = (np.abs(unit_mass(a)) - np.abs(unit_mass(b))) @ position.T
    return {"": np.minimum(np.sqrt((shift * shift).sum(axis=1)) / np.hypot(rows - 1, columns - 1), 1.0)}


@measure(
    "wasserstein",
    scale_dependent=True,
    direction="lower",
    citation="Kantorovich 1942; Beckmann 1952 (flow form)",
    variants=one_value,
)
def wasserstein(a: Maps, b: Maps, parameters: Parameters) -> dict[str, Values]:
    """Least work, in patches, to move one map's mass |·| onto the other's along rows and columns (exact W1).

    With city-block distances the transport problem is a flow between neighbouring patches, so the linear programme
    has four variables per patch instead of one per pair of patches. It is still by far the slowest measure.
    """
    from scipy.optimize import linprog

    rows, columns = a.shape[1:]
    divergence = _divergence(rows, columns)
    cost = np.ones(divergence.shape[1])
    values = []
    for surplus in np.abs(unit_mass(a)) - np.abs(unit_mass(b)):
        surplus = surplus - surplus.mean()  # rounding could make the programme infeasible
        # one balance follows from the others
        solution = linprog(cost, A_eq=divergence[:-1], b_eq=surplus[:-1], bounds=(0, None), method="highs")
        values.append(max(solution.fun, 0.0) if solution.success else np.nan)
    return {"": np.array(values, dtype=np.float64)}


def _divergence(rows: int, columns: int) -> csr_array:
    """(patches, edges) matrix: +1 where a directed edge between neighbours leaves a patch, −1 where it enters."""
    from scipy.sparse import csr_array

    index = np.arange(rows * columns).reshape(rows, columns)
    start = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    end = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    start, end = np.concatenate([start, end]), np.concatenate([end, start])
    edge = np.arange(len(start))
    ones = np.ones(len(start))
    return csr_array(
        (np.concatenate([ones, -ones]), (np.concatenate([start, end]), np.concatenate([edge, edge]))),
        shape=(rows * columns, len(start)),
    )

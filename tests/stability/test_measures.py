"""Each measure against a slow textbook form and an outside implementation."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats
from skimage.metrics import structural_similarity
from sklearn.metrics.pairwise import cosine_similarity

from vitfaith.errors import InputError
from vitfaith.registry import Parameters
from vitfaith.stability import STABILITY_MEASURES
from vitfaith.stability.compare import compare_maps
from vitfaith.stability.measures import TopK
from vitfaith.stability.spatial import Ssim

NAMES = STABILITY_MEASURES.names
BOUNDS = {
    "top_k_overlap": (0, 1),
    "pearson": (-1, 1),
    "spearman": (-1, 1),
    "kendall": (-1, 1),
    "cosine": (-1, 1),
    "l1": (0, 2),
    "l2": (0, 2),
    "ssim": (-1, 1),
    "centre_of_mass_shift": (0, 1),
    "wasserstein": (0, math.inf),
}


def maps(seed: int, count: int = 4, shape: tuple[int, int] = (4, 5), ties: bool = False) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(count, *shape))
    return (np.round(values) if ties else values).astype(np.float32)


def values_of(name: str, a: np.ndarray, b: np.ndarray, **settings: object) -> dict[str, np.ndarray]:
    parameters = STABILITY_MEASURES[name].parameters(**settings)
    return {variant: values for variant, (values, _) in compare_maps(a, b, name, parameters).items()}


def only(name: str, a: np.ndarray, b: np.ndarray, **settings: object) -> np.ndarray:
    (values,) = values_of(name, a, b, **settings).values()
    return values


def pairs_of_rows(a: np.ndarray, b: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(zip(a.reshape(len(a), -1).astype(float), b.reshape(len(b), -1).astype(float), strict=True))


@pytest.mark.parametrize("ties", [False, True])
def test_top_k_overlap_is_the_share_of_common_leaders(ties: bool) -> None:
    a, b = maps(0, ties=ties), maps(1, ties=ties)
    result = values_of("top_k_overlap", a, b, k=(0.05, 0.1, 0.5, 3, 20))
    for variant, count in {"k=0.05": 1, "k=0.1": 2, "k=0.5": 10, "k=3": 3, "k=20": 20}.items():
        for image, (x, y) in enumerate(pairs_of_rows(a, b)):
            leaders = [set(sorted(range(20), key=lambda i: (-row[i], i))[:count]) for row in (x, y)]
            assert result[variant][image] == len(leaders[0] & leaders[1]) / count


def test_top_k_by_hand() -> None:
    a = np.array([[[4.0, 3.0], [2.0, 1.0]]])
    b = np.array([[[1.0, 3.0], [2.0, 3.0]]])  # patches 1 and 3 tie, then 2
    assert values_of("top_k_overlap", a, b, k=(1, 0.5, 3)) == {"k=1": [0.0], "k=0.5": [0.5], "k=3": [2 / 3]}


@pytest.mark.parametrize("k", [(), (0,), (1.5,), (0.0,), (1.0,), (-1,)])
def test_top_k_refuses_sizes_without_meaning(k: tuple) -> None:
    with pytest.raises(ValidationError, match="k "):
        TopK(k=k)


def test_top_k_refuses_more_patches_than_there_are() -> None:
    with pytest.raises(InputError, match="k=21"):
        values_of("top_k_overlap", maps(0), maps(1), k=(21,))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("pearson", lambda x, y: stats.pearsonr(x, y).statistic),
        ("spearman", lambda x, y: stats.spearmanr(x, y).statistic),
        ("kendall", lambda x, y: stats.kendalltau(x, y).statistic),
        ("cosine", lambda x, y: cosine_similarity(x[None], y[None])[0, 0]),
        ("l1", lambda x, y: np.linalg.norm(x / np.linalg.norm(x, 1) - y / np.linalg.norm(y, 1), 1)),
        ("l2", lambda x, y: np.linalg.norm(x / np.linalg.norm(x, 1) - y / np.linalg.norm(y, 1), 2)),
    ],
)
def test_flat_measures_match_outside_implementations(name: str, oracle: object, ties: bool) -> None:
    a, b = maps(2, ties=ties), maps(3, ties=ties)
    expected = [oracle(x, y) for x, y in pairs_of_rows(a, b)]  # type: ignore[operator]
    np.testing.assert_allclose(only(name, a, b), expected, atol=1e-12)


def test_kendall_counts_concordant_pairs() -> None:
    a, b = maps(4, ties=True), maps(5, ties=True)
    for image, (x, y) in enumerate(pairs_of_rows(a, b)):
        total = in_x = in_y = 0.0
        for i, j in itertools.combinations(range(len(x)), 2):
            sx, sy = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
            total, in_x, in_y = total + sx * sy, in_x + abs(sx), in_y + abs(sy)
        assert only("kendall", a, b)[image] == pytest.approx(total / math.sqrt(in_x * in_y), abs=1e-12)


def unit_range(m: np.ndarray) -> np.ndarray:
    m = m.astype(float)
    return (m - m.min()) / (m.max() - m.min())


@pytest.mark.parametrize(("window", "sigma", "shape"), [(11, 1.5, (14, 16)), (7, 0.9, (8, 9)), (7, 0.9, (7, 7))])
def test_ssim_equals_skimage(window: int, sigma: float, shape: tuple[int, int]) -> None:
    a, b = maps(6, shape=shape), maps(7, shape=shape)
    result = values_of("ssim", a, b, window=window, sigma=sigma)
    expected = [
        structural_similarity(
            unit_range(x),
            unit_range(y),
            gaussian_weights=True,
            sigma=sigma,
            use_sample_covariance=False,
            data_range=1.0,
        )
        for x, y in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(result[f"window={window},sigma={sigma:g}"], expected, atol=1e-10)


@pytest.mark.parametrize(("shape", "window"), [((3, 3), 3), ((4, 9), 3), ((6, 5), 5), ((9, 9), 7)])
def test_ssim_textbook_with_the_window_the_grid_allows(shape: tuple[int, int], window: int) -> None:
    a, b = maps(8, count=2, shape=shape), maps(9, count=2, shape=shape)
    result = values_of("ssim", a, b)
    assert list(result) == [f"window={window},sigma=1.5"]
    radius = window // 2
    offsets = range(-radius, radius + 1)
    weight = {(i, j): math.exp(-(i * i + j * j) / (2 * 1.5**2)) for i in offsets for j in offsets}
    total = sum(weight.values())
    for image in range(2):
        x, y = unit_range(a[image]), unit_range(b[image])
        local = []
        for r, c in itertools.product(range(radius, shape[0] - radius), range(radius, shape[1] - radius)):
            window_of = {k: (w / total, x[r + k[0], c + k[1]], y[r + k[0], c + k[1]]) for k, w in weight.items()}
            mx = sum(w * p for w, p, _ in window_of.values())
            my = sum(w * q for w, _, q in window_of.values())
            vx = sum(w * (p - mx) ** 2 for w, p, _ in window_of.values())
            vy = sum(w * (q - my) ** 2 for w, _, q in window_of.values())
            cov = sum(w * (p - mx) * (q - my) for w, p, q in window_of.values())
            local.append((2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)))
        assert next(iter(result.values()))[image] == pytest.approx(np.mean(local), abs=1e-12)


def test_ssim_names_grids_and_windows_that_cannot_work() -> None:
    with pytest.raises(InputError, match="3×3"):
        values_of("ssim", maps(0, shape=(2, 9)), maps(1, shape=(2, 9)))
    with pytest.raises(ValidationError, match="odd"):
        Ssim(window=4)


def test_centre_of_mass_shift_by_hand() -> None:
    a, b = np.zeros((2, 3, 5)), np.zeros((2, 3, 5))
    a[0, 0, 0] = 2.0  # corner to corner
    b[0, 2, 4] = -5.0
    a[1, 1, 1] = a[1, 1, 3] = 1.0  # two equal masses have their centre between them
    b[1, 1, 2] = 3.0
    np.testing.assert_allclose(only("centre_of_mass_shift", a, b), [1.0, 0.0], atol=1e-15)


def test_wasserstein_matches_the_dense_transport_programme() -> None:
    a, b = maps(10, count=2, shape=(3, 4)), maps(11, count=2, shape=(3, 4))
    place = np.array(list(itertools.product(range(3), range(4))))
    for image, (x, y) in enumerate(pairs_of_rows(a, b)):
        p, q = np.abs(x) / np.abs(x).sum(), np.abs(y) / np.abs(y).sum()
        expected = stats.wasserstein_distance_nd  # euclidean: a lower bound of the city-block work
        cost = np.abs(place[:, None] - place[None]).sum(-1)
        from scipy.optimize import linprog

        rows = np.kron(np.eye(12), np.ones(12))
        columns = np.kron(np.ones(12), np.eye(12))
        dense = linprog(cost.ravel(), A_eq=np.vstack([rows, columns[:-1]]), b_eq=np.concatenate([p, q[:-1]]))
        assert only("wasserstein", a, b)[image] == pytest.approx(dense.fun, abs=1e-9)
        assert expected(place, place, p, q) <= dense.fun + 1e-9


def test_wasserstein_on_one_row_is_the_distance_on_a_line() -> None:
    a, b = np.abs(maps(12, shape=(1, 6))), np.abs(maps(13, shape=(1, 6)))
    expected = [stats.wasserstein_distance(range(6), range(6), x, y) for x, y in pairs_of_rows(a, b)]
    np.testing.assert_allclose(only("wasserstein", a, b), expected, atol=1e-9)


def test_every_measure_has_known_bounds() -> None:
    assert set(BOUNDS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(1e-6, 1e6), ties=st.booleans())
def test_laws(name: str, seed: int, scale: float, ties: bool) -> None:
    a, b = maps(seed, ties=ties), maps(seed + 1, ties=ties)
    together, swapped = values_of(name, a, b), values_of(name, b, a)
    low, high = BOUNDS[name]
    best = {"higher": 1.0, "lower": 0.0}[STABILITY_MEASURES[name].traits["direction"]]
    for variant, values in together.items():
        assert ((values >= low) & (values <= high)).all()
        np.testing.assert_allclose(swapped[variant], values, atol=1e-9)
        singles = [values_of(name, a[i : i + 1], b[i : i + 1])[variant][0] for i in range(len(a))]
        np.testing.assert_allclose(singles, values, rtol=1e-9, atol=1e-12)
    for variant, values in values_of(name, a, a.astype(float) * scale).items():
        np.testing.assert_allclose(values, best, atol=1e-6), variant


@pytest.mark.parametrize("name", NAMES)
def test_unusable_maps_are_flagged_and_leave_their_neighbours_alone(name: str) -> None:
    a, b = maps(14, count=6), maps(15, count=6)
    expected = values_of(name, a, b)
    a[1], b[2], a[3, 0, 0], b[4, 1, 1] = 0.25, 0.0, np.nan, np.inf
    b[3] = 1.0
    for variant, (values, flags) in compare_maps(a, b, name, STABILITY_MEASURES[name].parameters()).items():
        assert flags == ["", "constant", "constant", "nan", "nan", ""]
        assert np.isnan(values[1:5]).all()
        np.testing.assert_allclose(values[[0, 5]], expected[variant][[0, 5]], rtol=1e-12)


def test_shapes_must_agree() -> None:
    with pytest.raises(InputError, match="one shape"):
        compare_maps(maps(0), maps(0, shape=(5, 4)), "pearson", Parameters())


def test_importing_the_stage_does_not_import_torch() -> None:
    code = "import sys, vitfaith.stability, vitfaith.sanity.checks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

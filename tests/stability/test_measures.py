"""Each measure against its oracles, by hand, and by its laws."""

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

from tests.oracle import Oracle
from tests.stability.oracles import ORACLES, maps, only, rows_of_pairs, values_of
from vitfaith.errors import InputError
from vitfaith.map_values import CEILING, CHANCE
from vitfaith.stability.compare import compare_maps
from vitfaith.stability.measures import TopK
from vitfaith.stability.registry import STABILITY_MEASURES
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


@pytest.mark.parametrize("oracle", ORACLES, ids=str)
def test_measures_agree_with_their_oracles(oracle: Oracle) -> None:
    assert oracle.error() <= oracle.tolerance


def test_every_measure_has_an_oracle() -> None:
    assert set(NAMES) <= {oracle.subject for oracle in ORACLES}


def test_top_k_by_hand() -> None:
    a = np.array([[[4.0, 3.0], [2.0, 1.0]]])
    b = np.array([[[1.0, 3.0], [2.0, 3.0]]])  # patches 1 and 3 tie, then 2
    found = {variant: float(values[0]) for variant, values in values_of("top_k_overlap", a, b, k=(1, 0.5, 3)).items()}
    ceilings = {"k=1 ceiling": 0.5, "k=0.5 ceiling": 1.0, "k=3 ceiling": 1.0}
    chances = {"k=1 chance": 1 / 4, "k=0.5 chance": 2 / 4, "k=3 chance": 3 / 4}
    assert found == {"k=1": 0.0, "k=0.5": 0.5, "k=3": 2 / 3, **ceilings, **chances}


def test_chance_is_the_mean_overlap_of_independent_random_maps() -> None:
    draw = np.random.default_rng(0)
    found = values_of("top_k_overlap", draw.random((4000, 7, 7)), draw.random((4000, 7, 7)), k=(0.1, 20))
    for variant in ("k=0.1", "k=20"):
        error = 4 * found[variant].std() / 4000**0.5
        assert found[variant].mean() == pytest.approx(found[f"{variant} chance"][0], abs=error)
    same = draw.random((3, 7, 7))
    assert (values_of("top_k_overlap", same, same, k=(0.1,))["k=0.1"] == 1).all()


def test_the_place_of_equal_patches_does_not_count_in_top_k() -> None:
    a, b = np.zeros((1, 7, 7)), np.zeros((1, 7, 7))
    a[0, 0, :3], b[0, 6, :3] = (3, 2, 1), (3, 2, 1)  # disjoint: ten leading patches are three and seven of 46
    value, ceiling, _ = (float(v[0]) for v in values_of("top_k_overlap", a, b, k=(10,)).values())
    share = 7 / 46
    assert value == pytest.approx((6 * share + 43 * share**2) / 10)
    assert value == pytest.approx(0.19, abs=0.005)  # ties by position: 0.70
    assert ceiling == pytest.approx((3 + 46 * share**2) / 10)
    draw = np.random.default_rng(0)
    overlaps = [
        len({*np.lexsort((draw.random(49), -a.ravel()))[:10]} & {*np.lexsort((draw.random(49), -b.ravel()))[:10]}) / 10
        for _ in range(4000)
    ]
    assert value == pytest.approx(np.mean(overlaps), abs=4 * np.std(overlaps) / 4000**0.5)


def test_top_k_of_untied_maps_is_a_number_of_patches_whatever_their_place() -> None:
    a, b = maps(20, count=50), maps(21, count=50)
    move = np.random.default_rng(1).permutation(20)
    found = values_of("top_k_overlap", a, b, k=(3, 7))
    moved = values_of("top_k_overlap", *(m.reshape(50, 20)[:, move].reshape(m.shape) for m in (a, b)), k=(3, 7))
    for count in (3, 7):
        assert set(found[f"k={count}"] * count) <= set(np.arange(count + 1) / count * count)
        assert (found[f"k={count} ceiling"] == 1).all()
        np.testing.assert_array_equal(moved[f"k={count}"], found[f"k={count}"])


@pytest.mark.parametrize("k", [(), (0,), (1.5,), (0.0,), (1.0,), (-1,)])
def test_top_k_refuses_sizes_without_meaning(k: tuple) -> None:
    with pytest.raises(ValidationError, match="k "):
        TopK(k=k)


def test_top_k_refuses_more_patches_than_there_are() -> None:
    with pytest.raises(InputError, match="k=21"):
        values_of("top_k_overlap", maps(0), maps(1), k=(21,))


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


def test_wasserstein_is_no_less_than_the_distance_along_straight_lines() -> None:
    a, b = maps(10, count=2, shape=(3, 4)), maps(11, count=2, shape=(3, 4))
    place = np.array(list(itertools.product(range(3), range(4))))
    for work, (x, y) in zip(only("wasserstein", a, b), rows_of_pairs(a, b), strict=True):
        assert stats.wasserstein_distance_nd(place, place, np.abs(x), np.abs(y)) <= work + 1e-9


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
    same = values_of(name, a, a.astype(float) * scale)
    for variant, values in same.items():
        if variant.endswith(CHANCE):
            continue
        if not variant.endswith(CEILING):
            np.testing.assert_allclose(values, same.get(variant + CEILING, best), atol=1e-6)
        if not ties:
            np.testing.assert_allclose(values, best, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_rounding_does_not_exceed_a_bound(name: str) -> None:
    """Equal maps, opposite maps and single patches in opposite corners reach the bounds; sums of rounded shares pass them."""
    low, high = BOUNDS[name]
    pairs = [(maps(575, ties=True), maps(576, ties=True))]  # |a − b| of the first pair sums to 2 + 4e-16
    for rows, columns in itertools.product(range(3, 9), range(3, 9)):
        a = maps(rows, count=4, shape=(rows, columns), ties=columns % 2 == 0)
        corner, opposite = np.zeros((1, rows, columns)), np.zeros((1, rows, columns))
        corner[0, 0, 0] = opposite[0, -1, -1] = 1 / 3
        pairs += [(a, a), (a, -a), (corner, opposite), (corner, -corner), (corner, corner)]
    for a, b in pairs:
        for values in values_of(name, a, b).values():
            assert ((values >= low) & (values <= high)).all()


@pytest.mark.parametrize("name", NAMES)
def test_unusable_maps_are_flagged_and_leave_their_neighbours_alone(name: str) -> None:
    a, b = maps(14, count=6), maps(15, count=6)
    expected = values_of(name, a, b)
    a[1], b[2], a[3, 0, 0], b[4, 1, 1] = 0.25, 0.0, np.nan, np.inf
    b[3] = 1.0
    for variant, (values, flags) in compare_maps(a, b, STABILITY_MEASURES.item(name)).items():
        assert flags == ["", "constant", "constant", "nan", "nan", ""]
        assert np.isnan(values[1:5]).all()
        np.testing.assert_allclose(values[[0, 5]], expected[variant][[0, 5]], rtol=1e-12)


def test_shapes_must_agree() -> None:
    with pytest.raises(InputError, match="one shape"):
        compare_maps(maps(0), maps(0, shape=(5, 4)), STABILITY_MEASURES.item("pearson"))


def test_importing_the_stage_does_not_import_torch() -> None:
    code = "import sys, vitfaith.stability, vitfaith.sanity.checks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

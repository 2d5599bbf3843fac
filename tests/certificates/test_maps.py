from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import binomtest

from tests.certificates.test_lipschitz import step_map
from tests.certificates.textbook import overlap
from vitfaith.artifacts.schemas import CERTIFICATES as ROWS
from vitfaith.certificates.of_maps import certify_maps
from vitfaith.certificates.radii.base import base_map
from vitfaith.certificates.radii.top_k import swaps_to_break
from vitfaith.certificates.registry import CERTIFICATES
from vitfaith.certificates.settings import CertificateParameters, RenyiParameters
from vitfaith.errors import ConfigError, InputError

IDS = ["a", "b", "c"]
OF_MAPS = [entry.name for entry in CERTIFICATES if entry.traits["certifies"] == "map"]


def raw_maps(seed: int, samples: int, n: int = 12) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centre = np.random.default_rng(99).normal(size=(3, 1, n))
    return np.exp(2 * centre + 0.5 * rng.normal(size=(3, samples, n))).astype(np.float32)


def parameters(certificate: str, **changes: object) -> CertificateParameters:
    settings = {"k": 4, "beta": 0.5, "sigma": 0.1, "alpha": 0.01, "base": "vote"} | changes
    return CERTIFICATES[certificate].traits["single"](**settings)  # type: ignore[no-any-return]


def rows(
    certificate: str, selection: np.ndarray, estimation: np.ndarray, ids: list[str] = IDS, **changes: object
) -> Any:
    table = certify_maps(
        selection, estimation, certificate, parameters(certificate, **changes), image_ids=ids, method="m", dimensions=48
    )
    assert table.schema == ROWS
    return table.to_pandas()


def test_vote_certificate_by_loops() -> None:
    selection, estimation = raw_maps(0, 50), raw_maps(1, 400)
    found = rows("lipschitz", selection, estimation)
    for i, image_id in enumerate(IDS):
        votes, chosen = np.zeros(12), np.zeros(12)
        for counter, samples in ((votes, estimation[i]), (chosen, selection[i])):
            for sample in samples:
                counter[np.argsort(-sample)[:4]] += 1
        top = set(np.argsort(-chosen, kind="stable")[:4].tolist())
        limits = [
            binomtest(int(v), 400).proportion_ci(1 - 2 * 0.01 / 12, "exact") for v in votes
        ]  # one-sided at 0.01 / 12 each
        low = sorted(limits[j].low for j in top)[2]  # k0 = 3: third smallest inside, third largest outside
        high = sorted((limits[j].high for j in range(12) if j not in top), reverse=True)[2]
        expected = max(0.0, 0.1 / 2 * (ndtri(low) - ndtri(high)))
        row = found[found.image_id == image_id].iloc[0]
        assert row.radius == pytest.approx(expected, rel=1e-7)
        assert (row.inside, row.outside) == (pytest.approx(low, rel=1e-7), pytest.approx(high, rel=1e-7))
        assert row.linf == pytest.approx(expected / np.sqrt(48), rel=1e-7)
    assert (found.radius > 0).any()


@pytest.mark.parametrize("certificate", OF_MAPS)
@pytest.mark.parametrize("bound", ["none", "chernoff", "clopper_pearson"])
def test_batch_is_a_stack_of_singles(certificate: Any, bound: Any) -> None:
    selection, estimation = raw_maps(2, 20), raw_maps(3, 200)
    together = rows(certificate, selection, estimation, bound=bound, base="share")
    for i, image_id in enumerate(IDS):
        alone = rows(certificate, selection[i : i + 1], estimation[i : i + 1], [image_id], bound=bound, base="share")
        np.testing.assert_allclose(together[together.image_id == image_id].radius, alone.radius, rtol=1e-10)
    backwards = rows(certificate, selection[::-1], estimation[::-1], IDS[::-1], bound=bound, base="share")
    merged = together.merge(backwards, on="image_id")
    np.testing.assert_allclose(merged.radius_x, merged.radius_y, rtol=1e-10)


@pytest.mark.parametrize("certificate", [name for name in OF_MAPS if CERTIFICATES[name].traits["sound"]])
@pytest.mark.parametrize("base", ["share", "vote"])
def test_certified_radius_from_samples_holds(certificate: Any, base: Any) -> None:
    """End to end on smoothed maps whose expectation is exact, with a generous failure probability to be exceeded."""
    alpha, k, beta, repeats = 0.2, 3, 0.6, 60
    wrong, certified = 0, 0
    for seed in range(repeats):
        sigma = 1.0
        smoothed = step_map(seed, sigma)
        smoothed.levels = smoothed.levels[:, :6]  # raw maps; the base map below makes them shares or votes
        rng = np.random.default_rng(seed)
        x = float(rng.normal())
        selection, estimation = smoothed.sample(x, 100, rng), smoothed.sample(x, 3000, rng)
        settings = {"base": base, "k": k, "beta": beta, "sigma": sigma, "alpha": alpha}
        found = rows(certificate, selection[None], estimation[None], [str(seed)], **settings)
        radius = float(found.radius.iloc[0])
        smoothed.levels = base_map(smoothed.levels, base, k)
        claimed = base_map(selection, base, k).mean(axis=0)
        near = smoothed(x + min(radius, 5.0) * np.linspace(-0.999, 0.999, 201))
        kept = overlap(near, np.broadcast_to(claimed, near.shape), k)
        certified += radius > 0
        wrong += bool(radius > 0 and (kept < beta).any())
    assert certified > 10
    assert wrong / repeats <= alpha


def test_the_selection_samples_choose_the_set() -> None:
    estimation = np.tile(np.arange(12.0), (1, 50, 1))
    agreeing, contrary = np.arange(12.0)[None, None], -np.arange(12.0)[None, None]
    assert rows("lipschitz", agreeing, estimation, ["a"]).radius.min() > 0
    found = rows("lipschitz", contrary, estimation, ["a"])
    assert found.radius.max() == 0
    assert found.inside[0] < found.outside[0]


def test_sound_and_flag_columns() -> None:
    selection, estimation = raw_maps(4, 10), raw_maps(5, 30)
    selection[1] = estimation[1] = 2.0
    estimation[2, 3, 5] = np.nan
    found = rows("grouped", selection, estimation, bound="hoeffding", base="share")
    l2 = found.set_index("image_id")
    assert l2.flag.to_dict() == {"a": "abstain", "b": "constant", "c": "nan"}
    np.testing.assert_array_equal(l2.radius, [0, 0, np.nan])
    assert l2.sound.all()
    assert not rows("grouped", selection, estimation, bound="none").sound.any()
    assert rows("grouped", selection, estimation, bound="none").alpha.isna().all()
    assert not rows("paper_closed_form", selection, estimation).sound.any()
    assert rows("paper_closed_form", selection, estimation, beta=1.0).sound.all()  # one swap: the closed form is exact
    assert swaps_to_break(4, 1.0) == 1


def test_plugged_in_mean_pools_all_samples() -> None:
    selection, estimation = raw_maps(6, 10), raw_maps(7, 30)
    split = rows("renyi", selection, estimation, bound="none", base="share")
    moved = np.concatenate([selection, estimation], axis=1)
    other = rows("renyi", moved[:, :25], moved[:, 25:], bound="none", base="share")
    np.testing.assert_allclose(split.radius, other.radius, rtol=1e-9)
    assert (split.radius > 0).all()


def test_rounding_is_keyed_by_image() -> None:
    same = np.repeat(raw_maps(8, 60)[:1], 2, axis=0)
    found = certify_maps(
        same, same, "lipschitz", parameters("lipschitz", base="share"), image_ids=["a", "b"], method="m", dimensions=3
    ).to_pandas()
    again = certify_maps(
        same, same, "lipschitz", parameters("lipschitz", base="share"), image_ids=["a", "b"], method="m", dimensions=3
    ).to_pandas()
    np.testing.assert_array_equal(found.inside, again.inside)
    assert found.inside[0] != found.inside[1]


def test_errors_name_the_argument() -> None:
    selection, estimation = raw_maps(9, 5), raw_maps(10, 5)
    with pytest.raises(ConfigError, match="did you mean 'lipschitz'"):
        certify_maps(
            selection, estimation, "lipshitz", parameters("lipschitz"), image_ids=IDS, method="m", dimensions=3
        )
    with pytest.raises(ConfigError, match="RenyiParameters"):
        certify_maps(selection, estimation, "renyi", parameters("lipschitz"), image_ids=IDS, method="m", dimensions=3)
    with pytest.raises(ConfigError, match="share"):
        rows("renyi", selection, estimation, base="unit")
    with pytest.raises(InputError, match="identifiers"):
        rows("renyi", selection, estimation, ["a"])
    with pytest.raises(InputError, match="k0"):
        rows("renyi", selection, estimation, k=10)
    with pytest.raises(InputError, match="at least one sample"):
        rows("renyi", selection[:, :0], estimation)


def test_no_images_give_an_empty_table() -> None:
    assert len(rows("renyi", raw_maps(0, 5)[:0], raw_maps(0, 5)[:0], [])) == 0


@pytest.mark.parametrize("wrong", [{"k": 0}, {"beta": 0}, {"sigma": 0}, {"alpha": 1}, {"bound": "x"}, {"orders": [1]}])
def test_parameters_are_checked(wrong: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RenyiParameters(**({"k": 5, "beta": 0.8, "sigma": 0.1} | wrong))


def test_imports_without_torch() -> None:
    code = (
        "import sys, vitfaith.certificates.radii.maps, vitfaith.certificates.radii.faithfulness, vitfaith.certificates.radii.cohen;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_registry_fills_without_torch_numpy_and_scipy() -> None:
    code = (
        "import sys; from vitfaith.certificates.registry import CERTIFICATES; assert 'grouped' in CERTIFICATES.names;"
        "assert not {'torch', 'numpy', 'scipy', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

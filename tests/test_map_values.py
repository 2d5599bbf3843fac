"""The one definition of a constant map, the share of tied features, and top-k sets over random orders of ties."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.files import ShardOnDisk, shard_on_disk
from tests.sanity.subjects import subject_of
from vitfaith.artifacts.maps import read_maps
from vitfaith.artifacts.schemas import MAPS
from vitfaith.artifacts.store import write_table
from vitfaith.certificates.of_maps import certify_maps
from vitfaith.certificates.radii.base import base_map
from vitfaith.certificates.settings import CertificateParameters
from vitfaith.errors import ArtifactError
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.figures.drawing.pictures import decode_map
from vitfaith.map_values import map_flags, membership, membership_of, tied_share, unit_range, within_rounding
from vitfaith.models.classifier import Classifier
from vitfaith.sanity.sensitivity import sensitivity
from vitfaith.smoothings.aggregate import aggregate_maps
from vitfaith.stability.compare import compare_maps
from vitfaith.stability.measures import row_pearson
from vitfaith.stability.registry import STABILITY_MEASURES
from vitfaith.stages.attribute import map_table

METHODS = {"rollout": EXPLAINERS.item("attention_rollout")}
IDS = [f"image-{i}" for i in range(5)]


@pytest.fixture
def rounded(vit: Classifier, images: Tensor, targets: Tensor) -> Tensor:
    """Rollout of a model that attends to all tokens alike: its maps differ by rounding alone, and are not exactly constant."""
    uniform = copy.deepcopy(vit)
    for block in uniform.backbone.blocks:
        width = block.attn.qkv.in_features
        block.attn.qkv.weight.data[: 2 * width] = 0
        block.attn.qkv.bias.data[: 2 * width] = 0
    maps = explain(uniform, images, targets, IDS, METHODS, seed=0, batch_size=5)["rollout"]
    # three blocks of 17 tokens may round alike; deeper models do not
    return maps * (1 + 3e-7 * torch.rand(maps.shape, generator=torch.Generator().manual_seed(0)))


def by_hand(values: list[float]) -> str:
    """The definition, value by value."""
    if not all(map(math.isfinite, values)):
        return "nan"
    gap = max(abs(a - b) for a in values for b in values)
    return "constant" if gap <= 1e-6 * max(map(abs, values)) else ""


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_flags_follow_the_definition_at_every_scale(kind: type) -> None:
    draw = np.random.default_rng(0)
    cases = [centre + width * draw.normal(size=6) for centre in (0, 1, -1) for width in (0, 1e-8, 1e-6, 1e-4, 1)]
    cases += [np.array([1.0, v, 0, 0, 0, 0]) for v in (np.nan, np.inf, -np.inf)]
    maps: np.ndarray = np.stack([case * scale for case in cases for scale in (1e-30, 1.0, 1e30)]).astype(kind)
    expected = [by_hand([float(v) for v in one]) for one in maps]
    assert map_flags(maps.reshape(-1, 2, 3)) == expected
    assert {"", "constant", "nan"} == set(expected)


def test_the_definition_is_one_for_numbers_arrays_and_tensors() -> None:
    low, high = np.array([1.0, 1.0, np.nan, -np.inf, 0.0]), np.array([1 + 9e-7, 1 + 2e-6, 1.0, np.inf, 0.0])
    with np.errstate(invalid="ignore"):
        found = within_rounding(low, high).tolist()
    assert found == [True, False, False, False, True]
    assert within_rounding(torch.tensor(low), torch.tensor(high)).tolist() == found
    assert [bool(within_rounding(float(a), float(b))) for a, b in zip(low, high, strict=True)] == found


def test_maps_that_differ_by_rounding_are_constant_everywhere(
    rounded: Tensor, vit: Classifier, images: Tensor, targets: Tensor, tmp_path: Path
) -> None:
    flat = rounded.flatten(1)
    assert bool((flat.amax(1) > flat.amin(1)).all()), "exactly constant, so nothing would be tested"
    constant = ["constant"] * 5
    assert map_table(IDS, "rollout", targets, rounded, None).column("flag").to_pylist() == constant

    shard: ShardOnDisk = shard_on_disk(tmp_path, images, targets)
    shard.write_maps({"rollout": rounded.numpy()})
    shard.metrics = {"saco": {"groups": [4]}, "average_drop": {}, "pointing_game": {}, "admissible_mask": {}}
    scores = shard.score(truth=tmp_path / "shard.parquet")
    assert set(scores.flag) == {"constant"}
    assert scores.value.isna().all()
    assert pd.read_parquet(tmp_path / "curves.parquet").probability.isna().all()

    other = np.random.default_rng(0).normal(size=(5, 4, 4))
    for name in STABILITY_MEASURES.names:
        for values, flags in compare_maps(rounded.numpy(), other, STABILITY_MEASURES.item(name)).values():
            assert flags == constant
            assert np.isnan(values).all()
    assert np.isnan(row_pearson(flat.double().numpy(), other.reshape(5, -1))).all()

    subject = subject_of(vit, lambda *_, **__: {"rollout": rounded}, images, targets, IDS)
    assert sensitivity(subject, samples=2)["rollout"].flags == constant

    samples = rounded[None].expand(20, -1, -1, -1)
    for how in ("mean", "percentile_max"):
        assert not aggregate_maps(samples, how)[0].any()  # type: ignore[arg-type]
    single = CertificateParameters(k=3, beta=0.5, sigma=0.25, bound="none", base="vote")
    raw = samples.transpose(0, 1).flatten(2).numpy()
    assert np.allclose(base_map(raw, "vote", 3), 3 / 16)
    assert not base_map(raw, "unit", 3).any()
    for base in ("vote", "share", "unit"):
        chosen = single.model_copy(update={"base": base})
        rows = certify_maps(raw[:, :5], raw[:, 5:], "grouped", chosen, image_ids=IDS, method="m", dimensions=768)
        assert rows.column("flag").to_pylist() == constant
        assert rows.column("radius").to_pylist() == [0.0] * 5

    assert unit_range(rounded.double(), constant=torch.nan).isnan().all()
    row = pd.Series({"map": flat[0].tolist(), "rows": 4, "columns": 4, "method": "rollout", "image_id": "a"})
    assert decode_map(row) is None


@pytest.mark.parametrize("constant", [0.0, float("nan"), None])
def test_arrays_and_tensors_are_scaled_onto_the_unit_range_alike(constant: float | None) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    maps[0, 1] = 2.5
    maps[1, 2, 0, 0] = np.nan
    with np.errstate(invalid="ignore"):
        found = unit_range(maps, constant=constant)
    tensor = unit_range(torch.from_numpy(maps), constant=constant)
    assert found.dtype == np.float32
    assert np.array_equal(found, tensor.numpy(), equal_nan=True)
    expected = np.nan if constant is None else constant
    assert np.array_equal(found[0, 1], np.full((4, 4), expected), equal_nan=True)
    assert np.isnan(found[1, 2]).all()
    sound = found[[0, 0, 1, 1], [0, 2, 0, 1]]
    assert (sound.min((1, 2)) == 0).all()
    assert (sound.max((1, 2)) == 1).all()


def test_scaling_onto_the_unit_range_passes_gradients() -> None:
    maps = torch.tensor([[0.0, 1.0, 4.0]], requires_grad=True)
    unit_range(maps, axes=(-1,))[0, 1].backward()
    assert torch.allclose(maps.grad, torch.tensor([[-3 / 16, 1 / 4, -1 / 16]]))  # type: ignore[arg-type]


def test_the_share_of_tied_features_counts_values_that_are_there_already() -> None:
    maps = np.array(
        [[[1, 2], [3, 4]], [[0, 0], [0, 4]], [[-0.0, 0.0], [1, 1]], [[7, 7], [7, 7]], [[1, 1], [2, np.nan]]]
    )
    np.testing.assert_array_equal(tied_share(maps), [0, 0.5, 0.5, 0.75, np.nan])
    rounded = np.random.default_rng(0).normal(size=(20, 5, 6)).round(1)
    np.testing.assert_allclose(tied_share(rounded), [1 - len(set(one.ravel())) / 30 for one in rounded], rtol=1e-12)
    assert tied_share(np.zeros((0, 2, 2))).shape == (0,)


def test_the_share_is_stored_beside_the_flag_and_older_files_are_refused(targets: Tensor, tmp_path: Path) -> None:
    maps = torch.rand(5, 4, 4, generator=torch.Generator().manual_seed(0))
    maps[0, :2], maps[1, 0, 0], maps[2] = 0, torch.nan, 0.5
    table = map_table(IDS, "m", targets, maps, None)
    assert table.column("flag").to_pylist() == ["", "nan", "constant", "", ""]
    np.testing.assert_array_equal(table.column("tied").to_numpy(), [7 / 16, np.nan, 15 / 16, 0, 0])
    path = tmp_path / "maps.parquet"
    write_table(table, path, MAPS, {})
    assert set(read_maps(path)) == {"m"}
    pq.write_table(pq.read_table(path).drop_columns("tied"), path)
    with pytest.raises(ArtifactError, match=r"maps\.parquet' has no column 'tied'; .* delete it and run again"):
        read_maps(path)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.data())
def test_membership_is_the_frequency_over_random_orders(values: list[int], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(values)))
    found = membership(values, k)
    assert found.sum() == pytest.approx(k)
    draw = np.random.default_rng(0)
    leading = [np.lexsort((draw.random(len(values)), -np.array(values)))[:k] for _ in range(2000)]
    frequency = np.bincount(np.concatenate(leading), minlength=len(values)) / 2000
    np.testing.assert_allclose(found, frequency, atol=5 * 0.5 / 2000**0.5)
    np.testing.assert_array_equal(membership_of(torch.tensor(values, dtype=torch.float32), k).numpy(), found)
    np.testing.assert_array_equal(membership([values, values[::-1]], k), [found, found[::-1]])


def test_membership_without_ties_is_the_set() -> None:
    values = np.random.default_rng(0).permutation(50)
    for k in (1, 7, 50):
        assert set(np.flatnonzero(membership(values, k))) == set(np.argsort(-values)[:k])
        assert set(membership(values, k)) <= {0.0, 1.0}

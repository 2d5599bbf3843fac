"""Which metrics depend on the scale and sign of a map, and what they read behind a smoothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from tests.conftest import tiny_vit
from tests.files import IDS, ShardOnDisk
from vitfaith.artifacts.maps import read_maps, read_raw_maps, read_sample_maps
from vitfaith.artifacts.schemas import CERTIFIED_MAPS, MAPS, SAMPLE_MAPS, SMOOTHED_MAPS
from vitfaith.artifacts.store import write_table
from vitfaith.errors import ArtifactError, ConfigError, InputError
from vitfaith.map_values import CHANCE
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.smoothings.aggregate import aggregate_maps
from vitfaith.stability.compare import compare_maps
from vitfaith.stability.registry import STABILITY_MEASURES
from vitfaith.stages.attribute import map_table
from vitfaith.stages.stability import run_stability
from vitfaith.study.load import load_study, read_yaml

ROOT = Path(__file__).resolve().parents[2]
SMALL: dict[str, dict[str, Any]] = {"irof": {"segments": 12}}
OTHER: list[tuple[str, dict[str, Any]]] = [
    ("saco", {"salience": "sum"}),
    ("saco_rank", {"salience": "sum"}),
    ("saco", {"level": "pixel"}),
    ("mu_fidelity", {"side": 3, "size": 3}),
    ("faithfulness_correlation", {"side": 3, "size": 3}),
    ("infidelity", {"scaled": False}),
    ("infidelity", {"side": 3, "size": 3}),
]
CASES = [(name, SMALL.get(name, {})) for name in METRICS.names] + OTHER
KEYS = ["image_id", "method", "metric", "variant"]


def quantised(count: int = 4) -> Tensor:
    """Maps on a 7 × 7 grid, which neither 10 groups nor 3 or 4 cells a side divide; a multiple of them is exact."""
    return torch.randint(-512, 512, (count, 7, 7), generator=torch.Generator().manual_seed(4)) / 64


def scored(maps: Mapping[str, Tensor], metrics: Mapping[str, Any], **options: Any) -> pd.DataFrame:
    vit = tiny_vit(img_size=28)
    images = torch.rand(4, 3, 28, 28, generator=torch.Generator().manual_seed(5))
    truth = torch.zeros(4, 28, 28, dtype=torch.int8)
    truth[:, 6:17, 3:20] = 1
    targets = torch.tensor([0, 3, 1, 4])
    table = evaluate(
        vit, images, targets, list("abcd"), maps, metrics, labels=targets, truth=truth, batch_size=128, **options
    ).scores
    return table.to_pandas().set_index(KEYS)


@pytest.mark.parametrize(("name", "settings"), CASES, ids=[f"{n}-{s}" for n, s in CASES])
def test_metrics_are_invariant_or_say_that_they_are_not(name: str, settings: dict[str, Any]) -> None:
    item = METRICS.item(name, **settings)
    maps = quantised()
    frame = scored({"m": maps, "n": 4 * maps + 32}, {"x": item}).value.unstack("method")
    dependent = item.implementation(item.parameters).scale_dependent
    same = np.allclose(frame.m, frame.n, rtol=1e-4, atol=1e-6, equal_nan=True)
    assert same is not dependent


@pytest.mark.parametrize("entry", STABILITY_MEASURES, ids=lambda entry: entry.name)
def test_measures_are_invariant_or_say_that_they_are_not(entry: Any) -> None:
    a, b = quantised().numpy(), quantised(8)[4:].numpy()
    plain, moved = (compare_maps(one, b, STABILITY_MEASURES.item(entry.name)) for one in (a, 4 * a + 32))
    same = all(np.allclose(plain[v][0], moved[v][0], rtol=1e-6, atol=1e-9) for v in plain)
    assert same is not entry.traits["scale_dependent"]


@pytest.mark.parametrize("samples", [1, 3, 10])
def test_without_noise_every_metric_is_as_without_the_smoothing(samples: int) -> None:
    """A smoothing that returns the image: its samples' maps are the map itself."""
    metrics = {f"{name}-{i}": METRICS.item(name, **settings) for i, (name, settings) in enumerate(CASES)}
    maps = torch.randn(4, 7, 7, generator=torch.Generator().manual_seed(4)) + 3.5  # no two pixels tie by chance
    stacked = maps.expand(samples, -1, -1, -1)
    smoothed, _ = aggregate_maps(stacked, "mean")
    plain = scored({"m": maps}, metrics).value.sort_index()
    behind = scored({"m": smoothed}, metrics, raw_maps={"m": stacked.double().mean(0).float()}).value.sort_index()
    np.testing.assert_allclose(behind, plain, rtol=1e-4, atol=1e-6)
    scaled = scored({"m": smoothed}, metrics).value.sort_index()
    wrong = ~np.isclose(scaled, plain, rtol=1e-4, atol=1e-6, equal_nan=True)
    assert {"completeness_error", "infidelity", "energy_pointing_game", "sparsity_gini"} <= {
        str(key).rsplit("-", 1)[0] for key in plain.index.get_level_values("metric")[wrong]
    }


def write_smoothed(path: Path, sampled: Tensor, schema: pa.Schema = SMOOTHED_MAPS) -> None:
    """The attribute stage's file for samples (S, 5, rows, columns)."""
    mean, spread = aggregate_maps(sampled, "mean")
    table = map_table(IDS, "a", torch.zeros(5, dtype=torch.int64), mean, spread, sampled)
    write_table(pa.concat_tables([table]), path, schema, {})


def test_raw_means_are_the_same_with_and_without_the_samples(tmp_path: Path) -> None:
    """And those of earlier versions, whose files hold the samples alone."""
    sampled = torch.randn(7, 5, 4, 4, generator=torch.Generator().manual_seed(9))
    path, expected = tmp_path / "maps.parquet", sampled.double().mean(0).float().numpy()
    earlier = pa.schema([*MAPS, SAMPLE_MAPS.field("sample_maps")])
    for schema in (SMOOTHED_MAPS, CERTIFIED_MAPS, earlier):
        write_smoothed(path, sampled, schema)
        found = read_raw_maps(path)
        assert found is not None
        assert found["a"][0] == IDS
        np.testing.assert_array_equal(found["a"][1], expected)
        if schema is SMOOTHED_MAPS:
            with pytest.raises(ArtifactError, match=r"no column 'sample_maps'.*certificate"):
                read_sample_maps(path)
        else:
            np.testing.assert_array_equal(read_sample_maps(path)["a"][1], sampled.transpose(0, 1).numpy())


def test_scaled_maps_without_a_raw_mean_are_an_error(tmp_path: Path) -> None:
    write_smoothed(tmp_path / "maps.parquet", torch.rand(3, 5, 4, 4), MAPS)
    with pytest.raises(ArtifactError, match="no column 'raw_mean'"):
        read_raw_maps(tmp_path / "maps.parquet")


def test_the_stage_reads_the_mean_of_the_raw_maps(shard: ShardOnDisk) -> None:
    shard.metrics = {"sparsity_gini": {}, "entropy": {}, "completeness_error": {}, "infidelity": {"count": 8},
                     "deletion_auc": {"steps": 4}}  # fmt: skip
    maps = torch.randint(-512, 512, (5, 4, 4), generator=torch.Generator().manual_seed(6)) / 64
    shard.write_maps({"a": maps.numpy()})
    plain = shard.score().set_index(KEYS).value.sort_index()
    path = shard.folder / "maps.parquet"
    assert read_raw_maps(path) is None
    write_smoothed(path, maps.expand(3, -1, -1, -1))
    raw = read_raw_maps(path)
    assert raw is not None
    np.testing.assert_array_equal(raw["a"][1], maps.numpy())
    assert not np.allclose(read_maps(path)["a"][1], maps.numpy())
    behind = shard.score().set_index(KEYS).value.sort_index()
    np.testing.assert_allclose(behind, plain, rtol=1e-4, atol=1e-6)


def test_a_raw_mean_is_the_mean_of_the_samples(shard: ShardOnDisk) -> None:
    sampled = torch.randn(3, 5, 4, 4, generator=torch.Generator().manual_seed(7))
    sampled[1, 2, 0, 0] = torch.nan
    write_smoothed(shard.folder / "maps.parquet", sampled)
    found = read_raw_maps(shard.folder / "maps.parquet")
    assert found is not None
    np.testing.assert_allclose(found["a"][1], sampled.numpy().mean(0), rtol=1e-5, atol=1e-6)
    assert [bool(np.isnan(one).any()) for one in found["a"][1]] == [False, False, True, False, False]


def test_measures_behind_a_smoothing_without_noise_find_no_difference(tmp_path: Path) -> None:
    maps = torch.randint(-512, 512, (5, 4, 4), generator=torch.Generator().manual_seed(8)) / 64
    write_smoothed(tmp_path / "smoothed.parquet", maps.expand(3, -1, -1, -1))
    table = map_table(IDS, "a", torch.zeros(5, dtype=torch.int64), maps, None)
    from vitfaith.artifacts.schemas import MAPS

    write_table(table, tmp_path / "plain.parquet", MAPS, {})
    names = [entry.name for entry in STABILITY_MEASURES]
    spec = {"measures": {name: {"use": name} for name in names}}
    out = tmp_path / "out.parquet"
    run_stability(spec, "", tmp_path / "smoothed.parquet", out, undefended=tmp_path / "plain.parquet")
    frame = pd.read_parquet(out)
    assert set(frame.metric) == set(names)
    frame = frame[~frame.variant.str.endswith(CHANCE)]  # what maps without relation would reach
    for name, part in frame.groupby("metric"):
        perfect = 1.0 if STABILITY_MEASURES[str(name)].traits["direction"] == "higher" else 0.0
        np.testing.assert_allclose(part.value, perfect, atol=1e-5, err_msg=str(name))


def test_raw_maps_must_be_of_the_same_methods() -> None:
    maps = quantised()
    with pytest.raises(InputError, match=r"raw_maps has the methods \['n'\], maps has \['m'\]"):
        scored({"m": maps}, {}, raw_maps={"n": maps})


@pytest.mark.parametrize(("section", "name"), [("metrics", "entropy"), ("metrics", "infidelity"), ("stability", "l1")])
def test_a_maximum_of_scaled_maps_has_no_scale(section: str, name: str) -> None:
    raw = read_yaml(ROOT / "config" / "tiny.yaml")
    raw[section]["asked"] = {"metric" if section == "metrics" else "measure": name}
    raw["experiments"]["tiny"][section] = list(raw[section])
    load_study(raw)
    raw["smoothings"]["dds"]["aggregation"] = "percentile_max"
    with pytest.raises(ConfigError) as caught:
        load_study(raw)
    assert str(caught.value) == (
        f"experiments.tiny.{section}: 'asked' depends on the scale or sign of a map, which smoothing 'dds' does not keep "
        "(aggregation percentile_max); set smoothings.dds.aggregation: mean, or move 'asked' to an experiment without this "
        "smoothing"
    )
    raw["experiments"]["tiny"][section].remove("asked")
    load_study(raw)

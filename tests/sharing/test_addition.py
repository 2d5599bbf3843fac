"""Which conditions of a benchmark maps from outside are of."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vitfaith.artifacts.paths import Condition
from vitfaith.errors import InputError
from vitfaith.sharing.addition import _by_condition, _check_targets, _target, _targets, _with_trained_files
from vitfaith.tables.collect import CONDITION

NAMES = product(["d"], ["m"], ["clean", "pgd"], ["none", "dds"], ["clean_prediction", "class_3"])
KNOWN = [dict(zip(CONDITION, values, strict=True)) for values in NAMES]
MAPS = Path("mine.parquet")


def table(**columns: list[str]) -> pa.Table:
    return pa.table({"image_id": ["a", "b", "a", "b"], "map": [[1.0], [2.0], [3.0], [4.0]], **columns})


def test_maps_without_columns_are_of_the_simplest_condition() -> None:
    ((condition, part),) = _by_condition(table().slice(0, 2), KNOWN, MAPS)
    assert list(condition.values()) == ["d", "m", "clean", "none", "clean_prediction"]
    assert part.column_names == ["image_id", "map"]


def test_each_condition_gets_its_own_maps() -> None:
    found = _by_condition(table(attack=["pgd", "pgd", "clean", "clean"]), KNOWN, MAPS)
    assert [condition["attack"] for condition, _ in found] == ["clean", "pgd"]
    assert [part["map"].to_pylist() for _, part in found] == [[[3.0], [4.0]], [[1.0], [2.0]]]


def test_a_value_that_the_benchmark_lacks_is_refused() -> None:
    with pytest.raises(InputError, match=r"column 'attack': the benchmark has no 'pdg' .did you mean 'pgd'"):
        _by_condition(table(attack=["pdg"] * 4), KNOWN, MAPS)
    other = [*KNOWN, {**KNOWN[0], "model": "other"}]
    with pytest.raises(InputError, match="needs the column 'model': the benchmark has m, other"):
        _by_condition(table(), other, MAPS)
    with pytest.raises(InputError, match="no condition d, other, pgd"):
        _by_condition(table(model=["other"] * 4, attack=["pgd"] * 4), other, MAPS)


def test_a_class_is_a_number_in_the_study() -> None:
    assert (_target("class_3"), _target("prediction"), _target("class_cat")) == (3, "prediction", "class_cat")


def test_trained_networks_are_files_of_the_benchmark() -> None:
    raw = {
        "models": {
            "a": {"timm": "x", "weights": "trained", "training": {"epochs": 1}},
            "b": {"weights": "b.safetensors"},
        },
        "denoisers": {"u": {"path": "trained", "training": {}}},
        "explainers": {"random": None, "mask": {"explainer": "diffmask", "weights": "trained", "training": {}}},
    }
    found = _with_trained_files(raw)
    assert found["models"] == {
        "a": {"timm": "x", "weights": "train/classifier/a.safetensors"},
        "b": {"weights": "b.safetensors"},
    }
    assert found["denoisers"] == {"u": {"path": "train/denoiser/u"}}
    assert found["explainers"]["mask"] == {"explainer": "diffmask", "weights": "train/diffmask/mask"}


def test_maps_of_another_class_are_refused(tmp_path: Path) -> None:
    """The benchmark explains class 3 of image a and class 5 of image b, by two families and shards."""
    condition = Condition(**KNOWN[0])
    for family, shard, images, classes in (
        ("one_pass", "0", ["a"], [3]),
        ("one_pass", "1", ["b"], [5]),
        ("path", "0", ["a"], [3]),
    ):
        path = tmp_path / "attribute" / condition.folder / f"family={family}" / f"shard-00{shard}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"image_id": images, "target": pa.array(classes, pa.int32()), "map": [[0.0]]}), path)
    known = _targets(tmp_path, condition)
    assert known == {"a": 3, "b": 5}
    right = pa.table({"image_id": ["b", "a"], "target": [5, 3]})
    _check_targets(right, known, KNOWN[0], MAPS)
    _check_targets(pa.table({"image_id": ["unknown"], "target": [9]}), known, KNOWN[0], MAPS)  # told elsewhere
    wrong = pa.table({"image_id": ["a", "b"], "target": [3, 4]})
    with pytest.raises(InputError, match=r"1 of 2 maps explain another class.*image 'b' with 4 instead of 5"):
        _check_targets(wrong, known, KNOWN[0], MAPS)
    for targets in (pa.array([3.0, 5.0]), pa.array([3, None])):
        with pytest.raises(InputError, match="give the number of the explained class"):
            _check_targets(pa.table({"image_id": ["a", "b"], "target": targets}), known, KNOWN[0], MAPS)


def test_targets_stay_with_their_maps() -> None:
    found = _by_condition(table(attack=["pgd", "pgd", "clean", "clean"], target=[1, 2, 3, 4]), KNOWN, MAPS)
    assert [part["target"].to_pylist() for _, part in found] == [[3, 4], [1, 2]]

"""Which conditions of a benchmark maps from outside are of."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vitfaith.artifacts.paths import Condition
from vitfaith.errors import ArtifactError, ConfigError, InputError
from vitfaith.sharing.addition import (
    _by_condition,
    _check_maps,
    _check_targets,
    _read,
    _study,
    _target,
    _targets,
    _with_trained_files,
    prepare,
)
from vitfaith.sharing.layout import check_sums, write_sums
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
        "explainers": {
            "random": None,
            "mask": {"explainer": "diffmask", "weights": "trained", "training": {}},
            "vit_shapley": {"weights": "trained", "training": {}},
        },
    }
    found = _with_trained_files(raw)
    assert found["models"] == {
        "a": {"timm": "x", "weights": "train/classifier/a.safetensors"},
        "b": {"weights": "b.safetensors"},
    }
    assert found["denoisers"] == {"u": {"path": "train/denoiser/u"}}
    assert found["explainers"]["mask"] == {"explainer": "diffmask", "weights": "train/diffmask/mask"}
    assert found["explainers"]["vit_shapley"] == {"weights": "train/shapley/vit_shapley"}


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


@pytest.mark.parametrize("name", ["../x", "a/b", "", "Mine", "mine\n", ".x", "ü", "a" * 81])
def test_a_name_is_part_of_file_names(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"use a lower-case letter or digit, .* at most 80 characters"):
        prepare(MAPS, tmp_path, name)


def test_maps_are_looked_at_before_images_are_made() -> None:
    def check(part: pa.Table) -> None:
        _check_maps(part, ["a", "b"], KNOWN[0], MAPS)

    check(pa.table({"image_id": ["b", "other", "a"], "map": [[1.0], [2.0], [float("nan")]]}))
    with pytest.raises(
        InputError, match=r"'mine.parquet' has no map of 1 of the 2 images under d, m, clean.*first 'b'"
    ):
        check(pa.table({"image_id": ["a"], "map": [[1.0]]}))
    with pytest.raises(ArtifactError, match=r"'mine.parquet' hold image 'a' twice"):
        check(pa.table({"image_id": ["a", "b", "a"], "map": [[1.0]] * 3}))
    with pytest.raises(ArtifactError, match=r"'mine.parquet': the map of image 'b' is null"):
        check(pa.table({"image_id": ["a", "b"], "map": [[1.0], None]}))
    with pytest.raises(ArtifactError, match="2 values, but rows × columns say 1×3"):
        check(pa.table({"image_id": ["a", "b"], "map": [[1.0, 2.0]] * 2, "rows": [1, 1], "columns": [3, 3]}))


def test_files_of_maps_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    with pytest.raises(ConfigError, match=r"mine.parquet' does not exist"):
        _read(path)
    pq.write_table(pa.table({"image_id": [1, 2], "map": [[1.0]] * 2}), path)
    with pytest.raises(ArtifactError, match=r"mine.parquet': column 'image_id' is int64"):
        _read(path)
    pq.write_table(pa.table({"image_id": ["a", None], "map": [[1.0]] * 2}), path)
    with pytest.raises(InputError, match=r"mine.parquet', column 'image_id': 1 names are missing"):
        _read(path)
    twice = [pa.array(["a"]), pa.array([[1.0]]), pa.array([[1.0]])]
    pq.write_table(pa.Table.from_arrays(twice, names=["image_id", "map", "map"]), path)
    with pytest.raises(ArtifactError, match=r"write it again, each column once$"):
        _read(path)


def test_a_column_of_the_condition_holds_texts() -> None:
    attacks = pa.array([["pgd"]] * 4)
    with pytest.raises(InputError, match=r"column 'attack': the benchmark has no '\['pgd'\]'"):
        _by_condition(table().append_column("attack", attacks), KNOWN, MAPS)


def test_the_study_of_a_benchmark_is_named(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    for text in ("models: [a]", "models: {vit: a}", "networks: {}"):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"study\.yaml': (models|networks)"):
            _study(path)


def test_lists_of_checksums_are_read_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "a b.txt").write_text("a")
    write_sums(tmp_path)
    check_sums(tmp_path)
    sums = tmp_path / "SHA256SUMS"
    good = sums.read_bytes()
    for damaged, message in (
        (good + b"\n", "line 2: '' is no checksum, two spaces and a file"),
        (b"hello\n", "line 1: 'hello' is no checksum"),
        (b"\xff", "SHA256SUMS' is not UTF-8 text"),
        (good.replace(b"a b", b"b"), "b.txt' is missing by SHA256SUMS"),
        (b"", "a b.txt' is not listed by SHA256SUMS .1 such files.; move it out of the benchmark"),
        (b"0" * 64 + good[64:], "a b.txt' was altered by SHA256SUMS"),
    ):
        sums.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=message):
            check_sums(tmp_path)


def test_data_and_a_licence_may_lie_in_a_benchmark(tmp_path: Path) -> None:
    """The study's relative paths mean files in this folder."""
    for name in ("study.yaml", "plugins/mine.py", "train/classifier/vit.safetensors"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    write_sums(tmp_path)
    for name in (
        "data/images.parquet",
        "weights.safetensors",
        "LICENSE",
        "results/x.py",
        ".snakemake/x.py",
        "logs/x.log",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    check_sums(tmp_path)
    assert write_sums(tmp_path) == 3
    (tmp_path / "plugins" / "mine.py").write_text("altered")
    with pytest.raises(ArtifactError, match=r"mine.py' was altered"):
        check_sums(tmp_path)
    (tmp_path / "plugins" / "mine.py").unlink()
    with pytest.raises(ArtifactError, match=r"mine.py' is missing"):
        check_sums(tmp_path)

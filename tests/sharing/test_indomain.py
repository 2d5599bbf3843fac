"""Maps for a benchmark in which a network answers for the maps of another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from vitfaith.artifacts.paths import Condition
from vitfaith.artifacts.schemas import CURVES, MAPS, SCORES
from vitfaith.artifacts.store import write_parquet, write_table
from vitfaith.errors import InputError
from vitfaith.sharing.addition import prepare, take
from vitfaith.sharing.images import DIGESTS
from vitfaith.sharing.layout import write_sums

TINY = Path(__file__).parents[2] / "config" / "tiny.yaml"
SCORERS = ("tuned", "vit_patch4")


def condition(model: str) -> Condition:
    return Condition("tiny", model, "clean", "none", "clean_prediction")


def rows(schema: pa.Schema, **values: Any) -> pa.Table:
    """Two rows, of images a and b; columns that ``values`` leaves out are empty."""
    empty = {"string": "", "float": 0.0, "double": 0.0, "bool": False}
    columns = {}
    for field in schema:
        given = values.get(field.name, [empty.get(str(field.type), [] if pa.types.is_list(field.type) else 0)] * 2)
        columns[field.name] = pa.array(given if isinstance(given, list) else [given] * 2).cast(field.type)
    return pa.table(columns, schema=schema)


@pytest.fixture
def benchmark_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Scores of two images by a network and by one that scores its maps."""
    folder = tmp_path / "benchmark"
    study = yaml.safe_load(TINY.read_text())
    study["models"]["tuned"] = {**study["models"]["vit_patch4"], "maps_of": "vit_patch4"}
    for model in SCORERS:
        table = rows(SCORES, image_id=["a", "b"], method="random", metric="saco")
        write_table(
            table, folder / "scores" / condition(model).folder / "family=none" / "shard-000.parquet", SCORES, {}
        )
    write_parquet(DIGESTS.empty_table(), folder / "images.parquet")
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    write_sums(folder)
    monkeypatch.chdir(folder)
    return folder


def given(path: Path, *, other: float) -> Path:
    """Maps for both networks; ``other`` is the first value for the network that explains nothing."""
    maps = [[0.0] * 48 + [1.0], [other] + [0.0] * 47 + [1.0]] * 2
    table = {"image_id": ["a", "a", "b", "b"], "model": ["vit_patch4", "tuned"] * 2, "map": maps}
    pq.write_table(pa.table(table), path)
    return path


def test_models_that_score_the_same_maps_share_one_file(benchmark_folder: Path, tmp_path: Path) -> None:
    ready = prepare(given(tmp_path / "mine.parquet", other=0.0), benchmark_folder, "mine")
    study = yaml.safe_load((benchmark_folder / ready.config).read_text())
    assert [name for name in study["explainers"] if name.startswith("mine")] == ["mine.0"]
    assert [e["explainers"] for e in study["experiments"].values()] == [["mine.0"], ["mine.0"]]
    assert [e["models"] for e in study["experiments"].values()] == [["tuned"], ["vit_patch4"]]
    assert len(ready.images) == 1
    assert [f"model={name}/" in file for name, file in zip(SCORERS, ready.scores, strict=True)] == [True, True]
    assert len(set(ready.maps)) == 1
    assert "/attribute/dataset=tiny/model=vit_patch4/" in ready.maps[0]

    for file in ready.scores:
        write_table(
            rows(SCORES, image_id=["a", "b"], method="mine.0", metric="saco"), benchmark_folder / file, SCORES, {}
        )
        curves = benchmark_folder / file.replace("/scores/", "/curves/")
        write_table(rows(CURVES, image_id=["a", "b"], method="mine.0"), curves, CURVES, {})
    write_table(rows(MAPS, image_id=["a", "b"], method="mine.0"), benchmark_folder / ready.maps[0], MAPS, {})
    take(ready)
    added = sorted(
        path.relative_to(benchmark_folder).parts[:3:2] for path in benchmark_folder.glob("*/**/family=added.mine/*")
    )
    assert added == [("attribute", "model=vit_patch4")] + [
        (s, f"model={m}") for s in ("curves", "scores") for m in SCORERS
    ]


def test_other_maps_for_the_network_that_explains_nothing_are_refused(benchmark_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scores the maps of 'vit_patch4', but its map of image 'a' is another one"):
        prepare(given(tmp_path / "mine.parquet", other=0.5), benchmark_folder, "mine")

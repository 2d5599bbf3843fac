"""An altered bit in a result shows: in every reader, and in the digest of the whole file."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import tiny_vit
from vitfaith.artifacts.record import check_recorded, digest_of, read_record, record_beside, write_record
from vitfaith.artifacts.schemas import SCORES
from vitfaith.artifacts.seal import EMPTY, KEY, is_intact
from vitfaith.artifacts.store import (
    open_parquet,
    read_any,
    read_dataset,
    read_frame,
    read_provenance,
    read_table,
    write_parquet,
    write_table,
)
from vitfaith.datasets.files.parquet_files import column_values
from vitfaith.datasets.files.parquet_files import read_rows as read_foreign
from vitfaith.errors import ArtifactError
from vitfaith.models.checkpoint import read_checkpoint
from vitfaith.models.classifier import save_classifier

PROVENANCE = {"stage": "score", "spec": {"seed": 7, "metrics": {"saco": {"use": "saco"}}}, "code": "0123456789ab"}


def scores(rows: int = 40) -> pa.Table:
    values = np.random.default_rng(0).normal(size=rows)
    names = [f"image-{i}" for i in range(rows)]
    texts = {"method": ["random"] * rows, "metric": ["saco"] * rows, "variant": [""] * rows}
    return pa.table({"image_id": names, **texts, "value": values, "flag": [""] * rows}).cast(SCORES)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "scores.parquet"
    write_table(scores(), path, SCORES, PROVENANCE)
    return path


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_every_single_bit_of_a_file_counts(written: Path, tmp_path: Path) -> None:
    whole = written.read_bytes()
    assert is_intact(written) is True
    path = tmp_path / "flipped.parquet"
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        assert is_intact(path) is not True, place


def test_a_seal_is_the_digest_of_the_file_with_zeros_in_its_place(written: Path) -> None:
    digits = pq.read_metadata(written).metadata[KEY.encode()]
    assert hashlib.sha256(written.read_bytes().replace(digits, EMPTY.encode())).hexdigest().encode() == digits


def test_readers_of_others_read_it_and_see_no_seal(written: Path) -> None:
    assert pd.read_parquet(written).equals(scores().to_pandas())
    assert set(pq.read_schema(written).metadata) == {b"vitfaith"}


def test_equal_work_gives_equal_bytes(written: Path, tmp_path: Path) -> None:
    write_table(scores(), tmp_path / "again.parquet", SCORES, PROVENANCE)
    assert (tmp_path / "again.parquet").read_bytes() == written.read_bytes()


READERS: list[Callable[[Path], object]] = [
    lambda path: read_table(path, SCORES),
    lambda path: read_dataset([path], SCORES),
    lambda path: open_parquet(path, SCORES).read(),
    read_any,
    read_frame,
    read_provenance,
]


@pytest.mark.parametrize("read", READERS)
def test_no_reader_passes_over_an_altered_bit(read: Callable[[Path], object], written: Path) -> None:
    """Without digests a third of these changed values, names or settings in silence."""
    whole, draw = written.read_bytes(), random.Random(5)
    for _ in range(100):
        written.write_bytes(whole)
        flip(written, draw.randrange(8 * (len(whole) - 8)))
        if is_intact(written) is False:
            with pytest.raises(ArtifactError, match=r"scores\.parquet' was altered"):
                read(written)


def test_nothing_silent_in_what_a_stage_reads(written: Path) -> None:
    """Also where the flip hides the digest itself, which then is no longer compared."""
    whole, draw = written.read_bytes(), random.Random(6)
    for _ in range(400):
        written.write_bytes(whole)
        flip(written, draw.randrange(8 * len(whole)))
        try:
            table, facts = read_table(written, SCORES), read_provenance(written)
        except ArtifactError:
            continue
        assert table.equals(scores())
        assert facts == PROVENANCE


def test_a_hostile_name_cannot_take_the_place_of_the_seal(tmp_path: Path) -> None:
    table = pa.table({"image_id": [f"{KEY}\x18@{EMPTY}"]})
    path = tmp_path / "a.parquet"
    with pytest.raises(ArtifactError, match="no single key"):
        write_parquet(table, path)
    assert not path.exists()


def test_files_of_others_are_read_and_their_checksums_compared(tmp_path: Path) -> None:
    path = tmp_path / "theirs.parquet"
    table = pa.table({"label": list(range(1000)), "bytes": [b"x" * 20] * 1000})
    pq.write_table(table, path, compression="none", write_page_checksum=True, use_dictionary=False)
    assert is_intact(path) is None
    assert read_any(path).equals(table)
    assert column_values([path], "label", "integers") == list(range(1000))
    flip(path, 8 * 1000)
    for read in (
        lambda: read_any(path),
        lambda: column_values([path], "label", "integers"),
        lambda: read_foreign([path], np.arange(3), ["label"]),
    ):
        with pytest.raises(ArtifactError, match=r"theirs\.parquet' is damaged .*CRC"):
            read()


def test_every_bit_of_a_record_and_of_what_it_lists_counts(tmp_path: Path) -> None:
    figure = tmp_path / "a.png"
    figure.write_bytes(b"picture")
    record = record_beside(figure)
    write_record(record, PROVENANCE, [figure])
    assert record.name == ".a.json"
    assert read_record(record).files == {"a.png": digest_of(figure)}
    assert read_record(record).provenance == PROVENANCE
    check_recorded(figure, record)
    whole = record.read_bytes()
    for place in range(len(whole)):
        record.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        with pytest.raises(ArtifactError, match=r"\.a\.json"):
            read_record(record)
    record.write_bytes(whole)
    flip(figure, 3)
    with pytest.raises(ArtifactError, match=r"a\.png' was altered"):
        check_recorded(figure, record)


def test_altered_weights_of_a_training_are_refused(tmp_path: Path) -> None:
    """Nothing in a safetensors file itself tells of a flipped weight."""
    path = tmp_path / "vit.safetensors"
    save_classifier(tiny_vit(), path, {})
    write_record(record_beside(path), {"stage": "train"}, [path])
    before = {name: value.clone() for name, value in read_checkpoint(path).state.items()}
    flip(path, 8 * (path.stat().st_size - 100))
    with pytest.raises(ArtifactError, match=r"vit\.safetensors' was altered"):
        read_checkpoint(path)
    record_beside(path).unlink()
    assert any(not np.array_equal(v, before[k]) for k, v in read_checkpoint(path).state.items())


def test_a_record_is_plain_json(tmp_path: Path) -> None:
    write_record(tmp_path / ".record.json", PROVENANCE, [])
    assert set(json.loads((tmp_path / ".record.json").read_text())) == {"provenance", "files", "digest"}

"""What is fuzzed: the validator of configurations, the readers of datasets, and the reader of external maps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.datasets.files import CASES
from tests.datasets.test_readers import opened
from tests.fuzz.mutations import Change, Damage, changed, changes, damaged, damages
from vitfaith.errors import VitfaithError
from vitfaith.explainers.external import ExternalParameters, lacking, read_maps
from vitfaith.study.load import load_study, read_yaml

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "config").glob("*.yaml"))
Outcomes = Counter[str]
_SNIPPETS = st.sampled_from(
    [b" ", b"\n", b": ", b"- ", b"#", b"0", b"9", b"x", b"{}", b"[", b"}", b"&a ", b"*a", b"!!", b"'", b"\xff", b"\t"]
)


def _try(action: Callable[[], Any], outcomes: Outcomes) -> None:
    """Run; any error but a :class:`VitfaithError` of one or more full lines goes on to hypothesis."""
    try:
        action()
    except VitfaithError as error:
        if not str(error).strip():
            raise AssertionError("an error without a text") from error
        outcomes["refused"] += 1
    else:
        outcomes["accepted"] += 1


def _many(examples: int, start: int) -> Callable[[Any], Any]:
    chosen = settings(
        max_examples=examples, deadline=None, database=None, phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    return lambda test: seed(start)(chosen(test))


def fuzz_settings(folder: Path, examples: int, start: int) -> Outcomes:
    """Shipped configurations with changed keys and values."""
    outcomes: Outcomes = Counter()
    parsed = [read_yaml(path) for path in CONFIGS]

    @_many(examples, start)
    @given(st.integers(0, len(parsed) - 1), changes())
    def attempt(which: int, drawn: list[Change]) -> None:
        _try(lambda: load_study(changed(parsed[which], drawn)), outcomes)

    attempt()
    return outcomes


def fuzz_yaml(folder: Path, examples: int, start: int) -> Outcomes:
    """Shipped configurations with damaged bytes."""
    outcomes: Outcomes = Counter()
    contents = [path.read_bytes() for path in CONFIGS]
    path = folder / "study.yaml"

    @_many(examples, start)
    @given(st.integers(0, len(contents) - 1), damages(_SNIPPETS))
    def attempt(which: int, drawn: list[Damage]) -> None:
        path.write_bytes(damaged(contents[which], drawn))
        _try(lambda: load_study(read_yaml(path)), outcomes)

    attempt()
    return outcomes


def fuzz_reader(name: str) -> Callable[[Path, int, int], Outcomes]:
    """A reader on the small files of a case, one of them damaged."""

    def fuzz(folder: Path, examples: int, start: int) -> Outcomes:
        outcomes: Outcomes = Counter()
        reader, write_files = CASES[name]
        case = write_files(folder)
        files = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

        def read() -> None:
            source = opened(reader, case.settings)
            everything = np.arange(len(source.labels))
            if source.headers is not None:
                source.headers(everything)
            source.read(everything)
            if source.masks is not None:
                source.masks(everything)

        @_many(examples, start)
        @given(st.integers(0, len(files) - 1), damages())
        def attempt(which: int, drawn: list[Damage]) -> None:
            path = list(files)[which]
            path.write_bytes(damaged(files[path], drawn))
            try:
                _try(read, outcomes)
            finally:
                path.write_bytes(files[path])

        attempt()
        return outcomes

    return fuzz


def fuzz_external(suffix: str) -> Callable[[Path, int, int], Outcomes]:
    """The reader of external maps on a damaged file."""

    def fuzz(folder: Path, examples: int, start: int) -> Outcomes:
        outcomes: Outcomes = Counter()
        names, maps = [f"i{k}" for k in range(5)], np.random.default_rng(0).random((5, 7, 7), dtype=np.float32)
        path = folder / f"maps.{suffix.removeprefix('each.')}"
        if suffix == "parquet":
            pq.write_table(pa.table({"image_id": names, "map": list(maps.reshape(5, -1))}), path)
        elif suffix == "npz":
            np.savez(path, image_ids=np.array(names), maps=maps)
        else:
            np.savez_compressed(path, **dict(zip(names, maps, strict=True)))
        content = path.read_bytes()

        def read() -> None:
            read_maps(ExternalParameters(path=path), names, (7, 7), (28, 28))
            lacking(path, names)

        @_many(examples, start)
        @given(damages())
        def attempt(drawn: list[Damage]) -> None:
            path.write_bytes(damaged(content, drawn))
            _try(read, outcomes)

        attempt()
        return outcomes

    return fuzz


TARGETS: dict[str, Callable[[Path, int, int], Outcomes]] = {
    "configuration: settings": fuzz_settings,
    "configuration: bytes": fuzz_yaml,
    **{f"dataset: {name}": fuzz_reader(name) for name in CASES},
    **{f"external maps: {suffix}": fuzz_external(suffix) for suffix in ("parquet", "npz", "each.npz")},
}
GROUPS = ("configuration", "dataset", "external maps")

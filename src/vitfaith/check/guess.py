"""Which dataset reader fits a path, from what lies there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vitfaith.datasets.image_folder import sorts_in_two_ways
from vitfaith.errors import ArtifactError, ConfigError

Settings = dict[str, Any]

FIXED_SIZE = ("cifar10", "cifar100", "mnist", "parquet")
"""Readers of images that have one size already."""


def _names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def _flat(folder: Path) -> Path | None:
    return next((p for p in folder.iterdir() if p.name.startswith("ILSVRC2012_val_")), None)


def _devkit(path: Path) -> Settings:
    beside = sorted(p for p in path.parent.iterdir() if "devkit" in p.name.lower())
    if not beside:
        raise ConfigError(
            f"'{path}' has no labels; put ILSVRC2012_devkit_t12.tar.gz beside it, or use the folder of the classes"
        )
    return {"reader": "imagenet", "path": path, "devkit": beside[0]}


def _cifar(path: Path) -> Settings | None:
    names = _names(path) if path.is_dir() else {path.name}
    if names & {"test_batch", "test_batch.bin", "cifar-10-python.tar.gz", "cifar-10-binary.tar.gz"}:
        return {"reader": "cifar10", "path": path, "split": "test"}
    if "test.bin" in names or {"test", "meta"} <= names or path.name.startswith("cifar-100-"):
        return {"reader": "cifar100", "path": path, "split": "test"}
    return None


def _parquet(path: Path) -> Settings:
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = path if path.is_file() else min(path.rglob("*.parquet"))
    try:
        schema = pq.read_schema(first)
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(f"'{first}' is not a readable Parquet file ({error}); fetch it again") from error
    if {"pixels", "channels", "image_id"} <= set(schema.names):
        return {"reader": "parquet", "path": first}

    def first_of(is_kind: Callable[[pa.DataType], bool], preferred: str) -> str | None:
        found = [f.name for f in schema if is_kind(f.type)]
        return preferred if preferred in found else next(iter(found), None)

    def encoded(kind: pa.DataType) -> bool:
        return bool(pa.types.is_binary(kind) or (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0))

    image, label = first_of(encoded, "image"), first_of(pa.types.is_integer, "label")
    if image is None:
        raise ConfigError(
            f"'{first}' has no column of pictures (binary, or a struct with bytes); it has {schema.names}"
        )
    return {"reader": "hugging_face", "path": path, "image": image, "label": label}


def guess_reader(path: Path) -> Settings:
    """``reader`` and the settings that say where its files are.

    Raises:
        ConfigError: there is nothing, or nothing that a reader knows.
    """
    if not path.exists():
        raise ConfigError(f"--images: '{path}' does not exist")
    if path.suffix == ".csv":
        return {"reader": "csv", "path": path}
    if path.suffix == ".mat":
        return {"reader": "imagenet_segmentation", "path": path}
    cifar = _cifar(path)
    if cifar is not None:
        return cifar
    if path.suffix == ".tar":
        return _devkit(path)
    if path.suffix == ".parquet":
        return _parquet(path)
    if path.is_dir():
        if any(path.glob("t10k-images*")):
            return {"reader": "mnist", "folder": path, "split": "test"}
        if _flat(path) is not None:
            return _devkit(path)
        folders = [p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")]
        if any(path.glob("*.parquet")) or (len(folders) == 1 and any(folders[0].glob("*.parquet"))):
            return _parquet(path)
        if folders:
            order = {"order": "text"} if sorts_in_two_ways([f.name for f in folders]) else {}
            return {"reader": "image_folder", "folder": path, **order}
    raise ConfigError(
        f"--images: '{path}' is nothing that is known: class folders, a CSV list, Parquet, ImageNet's archive, CIFAR, IDX; "
        "docs/datasets.md says what each reader takes"
    )

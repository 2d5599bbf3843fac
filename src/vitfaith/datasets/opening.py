"""A dataset opened by its reader, and what holds for every reader's result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitfaith.datasets.files.class_lists import LARGEST_LABEL
from vitfaith.datasets.registry import DATASETS, UNLABELLED, Source
from vitfaith.datasets.subset import stratified_subset
from vitfaith.errors import ArtifactError, ConfigError
from vitfaith.lazy import np
from vitfaith.registry import Item

if TYPE_CHECKING:
    from numpy.typing import NDArray


def open_dataset(reader: Item) -> Source:
    """The images behind a reader.

    Raises:
        ArtifactError: as the reader does; a path is a pipe or a device; an image's name is no UTF-8; a label is below
            −1 or beyond 32 bits.
    """
    for field in type(reader.parameters).model_fields:
        value = getattr(reader.parameters, field)
        if isinstance(value, Path) and value.exists() and not (value.is_file() or value.is_dir()):
            raise ArtifactError(f"{field}: '{value}' is a pipe or a device; copy its content to a file")
    source: Source = reader.implementation(reader.parameters)
    strange = next((image_id for image_id in source.image_ids if not _is_text(image_id)), None)
    if strange is not None:
        shown = strange.encode("utf-8", "backslashreplace").decode()
        raise ArtifactError(f"the name '{shown}' of a picture is not UTF-8; rename the file")
    outside = np.flatnonzero((source.labels < UNLABELLED) | (source.labels > LARGEST_LABEL))
    if len(outside):
        i = int(outside[0])
        raise ArtifactError(
            f"image '{source.image_ids[i]}' has label {source.labels[i]}; labels count classes from 0, correct it"
        )
    return source


def open_source(reader: Mapping[str, Any]) -> Source:
    """The images behind a dataset entry of a specification, whose key ``use`` names the reader.

    Raises:
        ArtifactError: as :func:`open_dataset`.
    """
    return open_dataset(DATASETS.from_spec(reader))


def read_all(reader: Mapping[str, Any]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All images uint8 (N, C, H, W) and labels (N,) behind a dataset entry of a specification."""
    return _read(open_source(reader), None, 0)


def training_set(
    spec: Mapping[str, Any], part: str, shape: tuple[int, int, int] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images uint8 (N, C, H, W) and labels (N,) of ``part``, "train_on" or "test_on", of a training's specification.

    ``spec["subset"][part]``, ``{"images": count, "seed": seed}``, takes the images that shards would hold; the default is all images.
    ``shape`` (C, H, W) is the input of the model that the training is for.

    Raises:
        ArtifactError: as :func:`open_dataset`.
        ConfigError: more images are asked for than there are, or they do not have ``shape``.
    """
    subset = spec.get("subset", {}).get(part, {"images": None, "seed": 0})
    images, labels = _read(open_source(spec[part]), subset["images"], subset["seed"])
    if shape is not None and images.shape[1:] != shape:
        raise ConfigError(
            f"training: {part}: images are {images.shape[1:]}, the model takes {shape}; set its preprocessing to that size"
        )
    return images, labels


def _read(source: Source, count: int | None, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    chosen = stratified_subset(source.labels, count, seed)
    return source.read(chosen), source.labels[chosen]


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True

"""Parquet files as Hugging Face's datasets library writes them: encoded pictures and integer labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from vitfaith.datasets.files.class_lists import as_labels, check_labels, check_unique
from vitfaith.datasets.files.parquet_files import column_type, column_values, is_of, read_rows, schema_of
from vitfaith.datasets.files.pictures import MaskParameters, picture_size, read_mask, read_pictures
from vitfaith.datasets.files.preprocessing import PictureParameters, prepare_mask
from vitfaith.datasets.files.splits import of_split
from vitfaith.datasets.registry import DATASETS, UNLABELLED, Source
from vitfaith.errors import ArtifactError
from vitfaith.lazy import np, pa, pq

if TYPE_CHECKING:
    from numpy.typing import NDArray


class HuggingFaceParameters(MaskParameters, PictureParameters):
    """Which files and columns."""

    path: str = Field(description="a Parquet file, a folder of them, or a pattern such as data/validation-*.parquet")
    split: str | None = Field(
        None, description="which files of the folder to read, by their split: train, validation, test, or train+test"
    )
    image: str = Field("image", description="column with the pictures: encoded bytes, or a struct with a field bytes")
    label: str | None = Field("label", description="column with the labels (integers); null for images without")
    mask: str | None = Field(None, description="column with mask pictures, stored like the images; may have nulls")
    cluster: str | None = Field(
        None, description="column that names the object, scene or subject of an image: text or integers, without nulls"
    )
    image_id: str | None = Field(None, description="column with unique names; default: the row numbers")


def find_files(pattern: str, split: str | None = None) -> list[Path]:
    """The sorted files of one split behind a path or pattern; raises :class:`ArtifactError` when there are none, or of several."""
    path = Path(pattern)
    if path.is_file():
        return of_split([path], path.parent, split, f"'{pattern}'")
    anchor = Path(path.anchor)
    files = sorted(path.rglob("*.parquet") if path.is_dir() else anchor.glob(str(path.relative_to(anchor))))
    if not files:
        raise ArtifactError(f"no Parquet file at '{pattern}'; give a file, a folder of them, or a pattern with *")
    return of_split(files, path if path.is_dir() else anchor, split, f"'{pattern}'")


def _bytes_column(files: list[Path], name: str) -> str:
    """The leaf column that holds encoded pictures: ``name`` itself, or its field ``bytes``; the same in all files."""
    leaves = {path: _leaf(schema_of(path), name, path) for path in files}
    other = next((p for p, leaf in leaves.items() if leaf != leaves[files[0]]), None)
    if other is not None:
        raise ArtifactError(f"'{other}', column '{name}': stored otherwise than in '{files[0]}'; write them alike")
    return leaves[files[0]]


def _leaf(schema: pa.Schema, name: str, path: Path) -> str:
    kind = column_type(schema, name, path)
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind, name = kind.field("bytes").type, f"{name}.bytes"
    if not is_of(kind, "bytes"):
        raise ArtifactError(f"'{path}', column '{name}': type {kind}; pictures are binary, or a struct with bytes")
    return name


def _class_names(schema: pa.Schema, column: str) -> list[str]:
    """Names that the datasets library keeps beside the schema."""
    try:
        info: Any = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        return list(info["info"]["features"][column]["names"])
    except (ValueError, KeyError, TypeError):
        return []


def _labels(files: list[Path], column: str) -> tuple[NDArray[np.int64], list[str]]:
    """The labels of all files as indices into the class names of the first file; no names if no file has names.

    Raises:
        ArtifactError: two files number other classes, or one has class names and another has none.
    """
    names = _class_names(schema_of(files[0]), column)
    labels = []
    for path in files:
        found = as_labels(column_values([path], column, "integers"), f"'{path}', column '{column}'")
        own = _class_names(schema_of(path), column)
        check_labels(found, len(own) or None, f"'{path}', column '{column}'")
        if own != names:
            if sorted(own) != sorted(names) or len(set(own)) < len(own):
                raise ArtifactError(
                    f"'{path}', column '{column}': its classes ({_few(own)}) differ from '{files[0]}' "
                    f"({_few(names)}); read the files as two datasets, or write them with one list of classes"
                )
            found = np.array([names.index(name) for name in own], np.int64)[found]
        labels.append(found)
    return np.concatenate(labels), names


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "") if names else "without names"


@DATASETS.register(
    "hugging_face",
    parameters=HuggingFaceParameters,
    files=lambda parameters: find_files(parameters.path, parameters.split),
)
def hugging_face(parameters: HuggingFaceParameters) -> Source:
    """Encoded pictures in Parquet files, as Hugging Face's datasets library stores them."""
    files = find_files(parameters.path, parameters.split)
    where = f"'{parameters.path}'"
    pictures = _bytes_column(files, parameters.image)
    count = sum(pq.read_metadata(path).num_rows for path in files)
    labels = np.full(count, UNLABELLED, np.int64)
    names: list[str] = []
    if parameters.label is not None:
        labels, names = _labels(files, parameters.label)
    ids = [f"row-{i:08d}" for i in range(count)]
    if parameters.image_id is not None:
        ids = [str(v) for v in column_values(files, parameters.image_id, "integers", "names")]
        check_unique(ids, f"{where}, column '{parameters.image_id}'")

    def encoded(column: str, indices: NDArray[np.int64]) -> list[bytes | None]:
        values = read_rows(files, indices, [column]).columns[0].to_pylist()
        return [v["bytes"] if isinstance(v, dict) else v for v in values]

    def read(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        items = []
        for index, content in zip(indices, encoded(pictures, indices), strict=True):
            if content is None:
                raise ArtifactError(f"{where}, column '{pictures}': row {index} has no bytes; embed the pictures")
            items.append((content, f"of row {index} in {where}"))
        return read_pictures(items, parameters)

    masks = None
    if parameters.mask is not None:
        annotations = _bytes_column(files, parameters.mask)

        def masks(indices: NDArray[np.int64]) -> list[NDArray[np.int8] | None]:
            found: list[NDArray[np.int8] | None] = []
            contents = zip(indices, encoded(pictures, indices), encoded(annotations, indices), strict=True)
            for index, image, mask in contents:
                name = f"of row {index} in {where}"
                if mask is None:
                    found.append(None)
                    continue
                size = picture_size(image or b"", name, parameters)
                found.append(prepare_mask(read_mask(mask, name, parameters), size, parameters, name))
            return found

    clusters = None
    if parameters.cluster is not None:
        clusters = [str(v) for v in column_values(files, parameters.cluster, "integers", "names")]
    return Source(ids, labels, read, masks, names, clusters=clusters)

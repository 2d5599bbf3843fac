"""External maps: explanations that the user computed elsewhere."""

from __future__ import annotations

import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pydantic import Field

from vitfaith.errors import ArtifactError, ConfigError, did_you_mean
from vitfaith.explainers.registry import PixelLevel, explainer
from vitfaith.lazy import np, torch

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray
    from torch import Tensor

    from vitfaith.explainers.passes.context import Context

Shape = tuple[int, int]

_BROKEN = (
    ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, SyntaxError, KeyError, TypeError, AttributeError,
    IndexError, RuntimeError, MemoryError, struct.error, tokenize.TokenError, OverflowError,
)  # fmt: skip
"""Exceptions of zipfile and NumPy for damaged archives: headers, compression and encryption, array descriptions."""


class ExternalParameters(PixelLevel):
    """Settings of ``external``."""

    path: Path = Field(description="Parquet file or folder, or NPZ file, with one map per image")


@explainer(
    "external",
    family="external",
    class_specific=True,
    citation="maps computed by the user",
    parameters=ExternalParameters,
    hierarchical=True,
)
def external(context: Context, parameters: ExternalParameters) -> Tensor:
    """Maps read from a file, matched by image name.

    - Parquet (``.parquet`` or a folder): columns ``image_id`` (string) and ``map`` (list of numbers, row by row);
      ``rows`` and ``columns`` state its shape, and are needed only if the length is ambiguous.
    - NPZ: one array (h, w) per image under the image's name, or ``image_ids`` (N,) unicode with ``maps`` (N, h, w).

    A map has the size of the patch grid, or of the image: then it is averaged over the area of each patch, unless
    ``resolution: pixel`` keeps it, which all maps must have the image's size for. NaN stays
    NaN, so that the stage flags the image instead of losing it. Images that are not asked for are ignored.

    Cost per image: no forward, no backward.

    Returns:
        (B, rows, columns) float32.

    Raises:
        ConfigError: the file does not exist or has another ending.
        ArtifactError: an image is missing or there twice, a map has a wrong size or holds no numbers, or the file
            needs unpickling (which could run foreign code and is refused).
    """
    patches = context.classifier.patches
    size: Shape = (int(context.images.shape[-2]), int(context.images.shape[-1]))
    found = read_maps(parameters, context.image_ids, patches.grid, size)
    maps = [torch.from_numpy(one) for one in found]
    if parameters.resolution == "patch":
        maps = [one if one.shape == patches.grid else patches.mean(one[None])[0] for one in maps]
    return torch.stack(maps)


def read_maps(
    parameters: ExternalParameters, image_ids: Sequence[str], grid: Shape, size: Shape
) -> list[NDArray[np.float32]]:
    """The maps of the images in the file, each (rows, columns) of the patch ``grid`` or of the image's ``size``.

    Raises:
        ConfigError, ArtifactError: as :func:`external` says.
    """
    path, wanted = parameters.path, list(image_ids)
    if not (path.is_file() or path.is_dir()):
        raise ConfigError(f"external: path '{path}' does not exist; give a .parquet or .npz file")
    if path.is_dir() or path.suffix == ".parquet":
        found = _read_parquet(path, set(wanted), (grid, size))
    elif path.suffix == ".npz":
        found = _read_npz(path, wanted)
    else:
        raise ConfigError(f"external: path '{path}' ends in '{path.suffix}'; give a .parquet or .npz file")
    missing = _missing(path, wanted, found)
    if missing is not None:
        raise ArtifactError(missing)
    allowed = (size,) if parameters.resolution == "pixel" else (grid, size)
    return [_checked(found[name], name, path, allowed) for name in wanted]


def lacking(path: Path, image_ids: Sequence[str]) -> str | None:
    """Error text if the file lacks maps of some images, None if it has all; reads only names."""
    try:
        return _missing(path, image_ids, _names(path))
    except _BROKEN as error:  # Arrow's errors are among them
        raise ArtifactError(f"external maps '{path}' cannot be read: {error}; write the file again") from error


def _names(path: Path) -> set[str]:
    if path.suffix == ".npz" and path.is_file():
        with np.load(path, allow_pickle=False) as archive:
            stacked = {"image_ids", "maps"} <= set(archive.files)
            return set(archive["image_ids"].tolist() if stacked else archive.files)
    import pyarrow.dataset as ds

    return set(ds.dataset(path, format="parquet").to_table(["image_id"])[0].to_pylist())


def _missing(path: Path, wanted: Sequence[str], found: Container[str]) -> str | None:
    missing = [name for name in wanted if name not in found]
    if not missing:
        return None
    return (
        f"external maps '{path}' lack {len(missing)} of {len(wanted)} images, first '{missing[0]}'; "
        "add them or restrict the dataset to the images that have maps"
    )


def _checked(values: NDArray, name: str, path: Path, allowed: Sequence[Shape]) -> NDArray[np.float32]:
    """One map, of an allowed shape, as float32."""
    _numbers(values, name, path)
    if values.shape not in allowed:
        wanted = f"the image size {allowed[-1]}" + (f" or the patch grid {allowed[0]}" if len(allowed) > 1 else "")
        raise ArtifactError(
            f"external maps '{path}': the map of image '{name}' has shape {values.shape}; give {wanted}"
        )
    return np.ascontiguousarray(values, dtype=np.float32)


def _numbers(values: NDArray, name: str, path: Path) -> NDArray:
    if values.dtype.kind not in "fiub":
        raise ArtifactError(
            f"external maps '{path}': the map of image '{name}' holds {values.dtype}, not numbers; give one flat list, row by row"
        )
    return values


def _read_parquet(path: Path, wanted: set[str], shapes: Sequence[Shape]) -> Mapping[str, NDArray]:
    """Maps of the ``wanted`` images; only their rows are read into memory."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    try:
        checked = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
        data = ds.dataset(path, format=ds.ParquetFileFormat(default_fragment_scan_options=checked))
        names = set(data.schema.names)
        for column in ("image_id", "map"):
            if column not in names:
                raise ArtifactError(f"external maps '{path}' have no column '{column}'{did_you_mean(column, names)}")
        check_names(data.schema.field("image_id").type, path)
        keep = ["image_id", "map"] + (["rows", "columns"] if {"rows", "columns"} <= names else [])
        table = data.to_table(columns=keep, filter=ds.field("image_id").isin(pa.array(sorted(wanted))))
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise ArtifactError(f"external maps '{path}' cannot be read as Parquet: {error}") from error
    return maps_of_table(table, shapes, path)


def check_names(kind: pa.DataType, path: Path) -> None:
    """Raise :class:`ArtifactError` unless a column ``image_id`` of this type holds texts."""
    import pyarrow as pa

    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(values) or pa.types.is_large_string(values) or pa.types.is_string_view(values)):
        raise ArtifactError(
            f"external maps '{path}': column 'image_id' is {kind}; give the names of the images, as text"
        )


def maps_of_table(table: pa.Table, shapes: Sequence[Shape] | None, path: Path) -> dict[str, NDArray]:
    """Image → map of the columns image_id, map and perhaps rows, columns; ``path`` is for the messages.

    Without a stated shape a map gets the first of ``shapes`` that its length fits, or stays flat if ``shapes`` is None.

    Raises:
        ArtifactError: an image is there twice, or a map is missing, holds no numbers, or has another shape.
    """
    import pyarrow as pa

    kind = table.schema.field("map").type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise ArtifactError(f"external maps '{path}': column 'map' is {kind}; give a list of numbers, row by row")
    sides = [
        _sides(table, name, path) for name in ("rows", "columns") if {"rows", "columns"} <= set(table.column_names)
    ]
    found: dict[str, NDArray] = {}
    for row in range(table.num_rows):
        name = table["image_id"][row].as_py()
        if name in found:
            raise ArtifactError(f"external maps '{path}' hold image '{name}' twice; keep one map per image")
        cell = table["map"][row]
        if not cell.is_valid:
            raise ArtifactError(f"external maps '{path}': the map of image '{name}' is null")
        # A missing number inside a list is an unknown attribution: NaN, which the stage flags.
        values = _numbers(cell.values.to_numpy(zero_copy_only=False), name, path)
        found[name] = _shape(values, tuple(side[row] for side in sides), shapes, name, path)
    return found


def _sides(table: pa.Table, column: str, path: Path) -> list[int | None]:
    """The numbers of a column ``rows`` or ``columns``; whole floats are numbers, too, as pandas writes them beside nulls."""
    found: list[int | None] = []
    for value in table[column].to_pylist():
        if value is None or value != value:
            found.append(None)
        elif isinstance(value, int | float) and not isinstance(value, bool) and value >= 1 and value % 1 == 0:
            found.append(int(value))
        else:
            raise ArtifactError(
                f"external maps '{path}', column '{column}': {value!r} is no whole number of at least 1; give the map's {column}"
            )
    return found


def _shape(
    values: NDArray, stated: tuple[int | None, ...], shapes: Sequence[Shape] | None, name: str, path: Path
) -> NDArray:
    """A flat list as (h, w): the stated shape, else the first of ``shapes`` that its length fits."""
    if not stated or None in stated:
        if shapes is None:
            return values
        fitting = next((shape for shape in shapes if shape[0] * shape[1] == len(values)), None)
        if fitting is None:
            options = " or ".join(f"{h}×{w} = {h * w}" for h, w in shapes)
            raise ArtifactError(
                f"external maps '{path}': the map of image '{name}' has {len(values)} values; give {options}"
            )
        return values.reshape(fitting)
    rows, columns = cast("Shape", stated)
    if rows * columns != len(values):
        raise ArtifactError(
            f"external maps '{path}': the map of image '{name}' has {len(values)} values, "
            f"but rows × columns say {rows}×{columns}"
        )
    return values.reshape(rows, columns)


def _read_npz(path: Path, wanted: Sequence[str]) -> Mapping[str, NDArray]:
    """Maps of the ``wanted`` images; pickled content is never loaded."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ArtifactError(f"external maps '{path}' are a single array, no NPZ archive; save with numpy.savez")
        with loaded as archive:
            if {"image_ids", "maps"} <= set(archive.files):
                return _stacked(archive["image_ids"], archive["maps"], set(wanted), path)
            return {name: archive[name] for name in dict.fromkeys(wanted) if name in archive.files}
    except _BROKEN as error:
        raise ArtifactError(
            f"external maps '{path}' cannot be read: {error}; save plain numbers with numpy.savez, without pickle"
        ) from error


def _stacked(image_ids: NDArray, maps: NDArray, wanted: set[str], path: Path) -> Mapping[str, NDArray]:
    if image_ids.dtype.kind != "U" or image_ids.ndim != 1:
        raise ArtifactError(
            f"external maps '{path}': 'image_ids' is {image_ids.dtype} of shape {image_ids.shape}; give (N,) unicode"
        )
    if maps.ndim != 3 or len(maps) != len(image_ids):
        raise ArtifactError(
            f"external maps '{path}': 'maps' has shape {maps.shape}; give ({len(image_ids)}, h, w), one per image_id"
        )
    found: dict[str, NDArray] = {}
    for name, values in zip(image_ids.tolist(), maps, strict=True):
        if name in found:
            raise ArtifactError(f"external maps '{path}' hold image '{name}' twice; keep one map per image")
        if name in wanted:
            found[name] = values
    return found

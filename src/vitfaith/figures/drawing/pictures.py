"""The pictures in a table ``gallery``: images and maps as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.errors import ArtifactError
from vitfaith.lazy import np
from vitfaith.map_values import map_flags, unit_range

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pandas import Series


def decode_pixels(row: Series) -> NDArray[np.float64]:
    """(H, W) or (H, W, 3) in [0, 1] from a row's uint8, channel-first pixels.

    Raises:
        ArtifactError: the number of bytes does not fit the size.
    """
    shape = tuple(int(row[c]) for c in ("channels", "height", "width"))
    flat = np.frombuffer(row["pixels"], np.uint8)
    if flat.size != np.prod(shape) or shape[0] not in (1, 3):
        raise ArtifactError(
            f"table 'gallery', column 'pixels': image {row['image_id']} has {flat.size} bytes for {shape[0]}×{shape[1]}"
            f"×{shape[2]} (1 or 3 channels can be shown); run the tables stage again"
        )
    image = flat.reshape(shape) / 255.0
    return image[0] if shape[0] == 1 else np.moveaxis(image, 0, -1)


def decode_object(row: Series) -> NDArray[np.bool_] | None:
    """(H, W) True on the object of the row's segmentation; None where the row has none.

    Raises:
        ArtifactError: the number of bytes does not fit the size.
    """
    stored = row.get("truth")
    if not isinstance(stored, bytes):
        return None
    shape = int(row["height"]), int(row["width"])
    if len(stored) != shape[0] * shape[1]:
        raise ArtifactError(
            f"table 'gallery', column 'truth': image {row['image_id']} has {len(stored)} bytes for {shape[0]}×{shape[1]} "
            "pixels; run the tables stage again"
        )
    return np.frombuffer(stored, np.int8).reshape(shape) == 1


def decode_map(row: Series) -> NDArray[np.float64] | None:
    """(rows, columns) scaled to [0, 1]; None for a constant map or one that is not finite.

    Raises:
        ArtifactError: the number of values does not fit the grid.
    """
    flat = np.asarray(row["map"], dtype=np.float64)
    shape = int(row["rows"]), int(row["columns"])
    if flat.size != shape[0] * shape[1]:
        raise ArtifactError(
            f"table 'gallery', column 'map': {row['method']} on image {row['image_id']} has {flat.size} values for a"
            f" grid of {shape[0]}×{shape[1]}; run the tables stage again"
        )
    if map_flags(flat[None]) != [""]:
        return None
    return unit_range(flat.reshape(shape))

"""IDX files (the MNIST format): arrays of unsigned bytes, plain or gzipped, read row by row.

By hand, because torchvision reads a whole file into memory, where a shard needs its own rows only.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from vitfaith.errors import ArtifactError
from vitfaith.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package ``dataset-fashion-mnist`` puts the files."""

_STEMS = {"train": "train", "test": "t10k"}
_AWAY = "fetch the file again"


def _open(path: Path, stack: ExitStack) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast("IO[bytes]", stack.enter_context(gzip.open(path)))
    return stack.enter_context(path.open("rb"))


def _header(file: IO[bytes], path: Path) -> tuple[int, ...]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:3] != b"\0\0\x08":
        raise ArtifactError(
            f"'{path}' is not an IDX file of unsigned bytes (magic {magic.hex() or 'missing'}); {_AWAY}"
        )
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ArtifactError(f"IDX file '{path}' is cut off inside its header; {_AWAY}")
    return struct.unpack(f">{magic[3]}I", sizes)


def _size_of_content(path: Path, expected: int) -> int:
    """Bytes of the unpacked file. For gzip, from the last four bytes; unexpected values are verified."""
    if path.suffix != ".gz":
        return path.stat().st_size
    with path.open("rb") as file:
        file.seek(-4, 2)
        told = int.from_bytes(file.read(), "little")
    if told == expected % 2**32:
        return expected
    with gzip.open(path) as unpacked:
        return sum(map(len, iter(lambda: unpacked.read(1 << 20), b"")))


def idx_shape(path: Path) -> tuple[int, ...]:
    """The shape of an IDX file; raises :class:`ArtifactError` on wrong magic, type or length."""
    try:
        with ExitStack() as stack:
            shape = _header(_open(path, stack), path)
        header, expected = 4 + 4 * len(shape), math.prod(shape)
        found = _size_of_content(path, header + expected) - header
    except (OSError, EOFError, zlib.error) as error:
        raise ArtifactError(f"IDX file '{path}' cannot be read: {error}; {_AWAY}") from error
    if found != expected:
        raise ArtifactError(f"IDX file '{path}' holds {found} bytes, its header says {expected}; {_AWAY}")
    return shape


def read_idx_rows(path: Path, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Rows of an IDX file in the order of ``indices``; no more than the rows is held in memory."""
    shape = idx_shape(path)
    size = math.prod(shape[1:])
    rows = np.empty((len(indices), size), np.uint8)
    try:
        with ExitStack() as stack:
            file = _open(path, stack)
            for place in np.argsort(indices, kind="stable"):
                file.seek(4 + 4 * len(shape) + int(indices[place]) * size)
                content = file.read(size)
                if len(content) < size:
                    raise EOFError("it ends early")
                rows[place] = np.frombuffer(content, np.uint8)
    except (OSError, EOFError, zlib.error) as error:
        raise ArtifactError(f"IDX file '{path}' cannot be read: {error}; {_AWAY}") from error
    return rows.reshape(len(indices), *shape[1:])


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The uint8 array of an IDX file; raises :class:`ArtifactError` on wrong magic, type or length."""
    return read_idx_rows(path, np.arange(idx_shape(path)[0]))


def idx_files(folder: Path, split: str) -> tuple[Path, Path]:
    """The image and the label file of ``split`` ('train' or 'test') in a folder with MNIST's file names."""
    found = []
    for part in ("images", "labels"):
        stem = f"{_STEMS[split]}-{part}"
        files = sorted(
            f for f in folder.glob(f"{stem}*") if f.name.removesuffix(".gz")[len(stem) + 1 :].startswith("idx")
        )
        if not files:
            raise ArtifactError(
                f"'{folder}' has no file {stem}-idx{3 if part == 'images' else 1}-ubyte[.gz]; name the folder that has it"
            )
        found.append(files[0])
    return found[0], found[1]


def open_idx(folder: Path, split: str) -> tuple[Path, NDArray[np.int64]]:
    """(image file, labels (N,)) of a split, checked against each other."""
    images, labels = idx_files(folder, split)
    shape, named = idx_shape(images), idx_shape(labels)
    if len(shape) not in (3, 4) or len(named) != 1:
        raise ArtifactError(
            f"'{images}' has {len(shape)} axes and '{labels}' {len(named)}; "
            "images have 3 (or 4 with channels first), labels 1: are the files swapped?"
        )
    if shape[0] != named[0]:
        raise ArtifactError(f"'{folder}': {shape[0]} images but {named[0]} labels in split {split}; {_AWAY}")
    return images, read_idx(labels).astype(np.int64)


def read_idx_images(path: Path, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Images (n, C, H, W) of an IDX file with axes (N, H, W) or (N, C, H, W)."""
    rows = read_idx_rows(path, indices)
    return rows[:, None] if rows.ndim == 3 else rows


def find_idx_folder(given: Path | None) -> Path:
    """The folder with Fashion-MNIST: the given path, the Debian package's folder, or torchvision's download."""
    candidates = [given] if given is not None else [DEBIAN_FOLDER]
    for folder in candidates:
        if any(folder.glob("t10k-images-idx3-ubyte*")):
            return folder
    if given is not None:
        raise ArtifactError(
            f"no Fashion-MNIST IDX files in '{given}' (expected t10k-images-idx3-ubyte[.gz] and three more)"
        )
    return _download()


def _download() -> Path:
    from torchvision.datasets import FashionMNIST

    root = Path.home() / ".cache" / "vitfaith"
    try:
        FashionMNIST(str(root), download=True)
    except Exception as error:  # torchvision raises several kinds for a missing network
        raise ArtifactError(
            "Fashion-MNIST is not here and could not be downloaded; set 'folder' of the dataset to the IDX files, "
            f"or install the Debian package dataset-fashion-mnist ({error})"
        ) from error
    return root / "FashionMNIST" / "raw"

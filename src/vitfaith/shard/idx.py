"""IDX files (the MNIST format): the ubyte arrays of Fashion-MNIST, plain or gzipped, and where to find them."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vitfaith.errors import ArtifactError

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package ``dataset-fashion-mnist`` puts the files."""

_STEMS = {"train": "train", "test": "t10k"}


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The uint8 array of an IDX file; raises :class:`ArtifactError` on wrong magic, type or length."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ArtifactError(f"IDX file '{path}' cannot be read: {error}") from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise ArtifactError(f"'{path}' is not an IDX file of unsigned bytes (magic {raw[:4].hex() or 'missing'})")
    ndim = raw[3]
    header = 4 + 4 * ndim
    if len(raw) < header:
        raise ArtifactError(f"IDX file '{path}' is cut off inside its header")
    shape = struct.unpack(f">{ndim}I", raw[4:header])
    if len(raw) - header != int(np.prod(shape)):
        raise ArtifactError(f"IDX file '{path}' holds {len(raw) - header} bytes, its header says {int(np.prod(shape))}")
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def find_idx_folder(given: Path | None) -> Path:
    """The folder with the IDX files: the given path, the Debian package's folder, or torchvision's download."""
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


def read_fashion_mnist(split: str, folder: Path | None = None) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, 1, 28, 28) uint8 and labels (N,) int64 of ``split`` ('train' or 'test')."""
    root = find_idx_folder(folder)

    def load(part: str) -> NDArray[np.uint8]:
        found = sorted(root.glob(f"{_STEMS[split]}-{part}*"))
        if not found:
            raise ArtifactError(f"'{root}' has no file {_STEMS[split]}-{part}[.gz]")
        return read_idx(found[0])

    images, labels = load("images-idx3-ubyte"), load("labels-idx1-ubyte")
    if len(images) != len(labels):
        raise ArtifactError(f"'{root}': {len(images)} images but {len(labels)} labels in split {split}")
    return images[:, None], labels.astype(np.int64)

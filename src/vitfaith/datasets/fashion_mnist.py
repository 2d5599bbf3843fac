"""IDX files: Fashion-MNIST, and any dataset in MNIST's four files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from vitfaith.datasets.files.arrays import prepare_arrays
from vitfaith.datasets.files.class_lists import check_labels, read_class_list
from vitfaith.datasets.files.idx import DEBIAN_FOLDER, find_idx_folder, idx_files, open_idx, read_idx_images
from vitfaith.datasets.files.preprocessing import ArrayParameters
from vitfaith.datasets.registry import DATASETS, Source
from vitfaith.registry import Parameters

CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


class FashionMnistParameters(Parameters):
    """Where the IDX files are and which split is read."""

    split: Literal["train", "test"] = Field("test", description="60,000 training or 10,000 test images")
    folder: Path | None = Field(
        None, description="folder with the four IDX files; without it the Debian package's folder, then a download"
    )


@DATASETS.register(
    "fashion_mnist",
    parameters=FashionMnistParameters,
    citation="Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747",
    files=lambda parameters: idx_files(parameters.folder or DEBIAN_FOLDER, parameters.split),
)
def fashion_mnist(parameters: FashionMnistParameters) -> Source:
    """Fashion-MNIST from IDX files: grey 28 × 28 images in 10 classes."""
    images, labels = open_idx(find_idx_folder(parameters.folder), parameters.split)
    ids = [f"{parameters.split}-{i:05d}" for i in range(len(labels))]
    return Source(ids, labels, lambda indices: read_idx_images(images, indices), classes=CLASSES)


class IdxParameters(ArrayParameters):
    """Where the IDX files are, which split is read, and what becomes of the images."""

    folder: Path = Field(
        description="folder with train-images-idx3-ubyte, train-labels-idx1-ubyte and the same with t10k-, or .gz"
    )
    split: Literal["train", "test"] = Field("test", description="files named train-… or t10k-…")
    channels: Literal["rgb", "grey"] = Field("grey", description="rgb repeats the grey values three times")
    classes: Path | None = Field(None, description="class list whose names are shown (see image_folder)")


def files_of(parameters: IdxParameters) -> list[Path]:
    """The two files of the split, and the class list."""
    own = [] if parameters.classes is None else [parameters.classes]
    return [*idx_files(parameters.folder, parameters.split), *own]


@DATASETS.register(
    "mnist", parameters=IdxParameters, citation="LeCun, Cortes & Burges, the MNIST database", files=files_of
)
def mnist(parameters: IdxParameters) -> Source:
    """Any dataset in MNIST's IDX files, plain or gzipped: MNIST, Fashion-MNIST, KMNIST, EMNIST with its files renamed."""
    images, labels = open_idx(parameters.folder, parameters.split)
    names = [] if parameters.classes is None else read_class_list(parameters.classes)[1]
    check_labels(labels, len(names) or None, f"'{parameters.folder}'")
    ids = [f"{parameters.split}-{i:05d}" for i in range(len(labels))]
    return Source(
        ids,
        labels,
        lambda indices: prepare_arrays(read_idx_images(images, indices), parameters, f"'{images}'"),
        classes=names,
    )

"""CIFAR-10 and CIFAR-100 in the Python or the binary version, unpacked or as the archive; no pickle is loaded."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from pydantic import Field

from vitfaith.datasets.files.arrays import prepare_arrays
from vitfaith.datasets.files.class_lists import as_labels, check_labels
from vitfaith.datasets.files.pickled import read_plain_pickle
from vitfaith.datasets.files.preprocessing import ArrayParameters
from vitfaith.datasets.registry import DATASETS, Source
from vitfaith.errors import ArtifactError
from vitfaith.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIXELS = 3 * 32 * 32
_CITATION = "Krizhevsky 2009, Learning multiple layers of features from tiny images"


class CifarParameters(ArrayParameters):
    """Where the batches are and which split is read."""

    path: Path = Field(description="folder with the batches (Python or binary version), or the .tar.gz as downloaded")
    split: Literal["train", "test"] = Field("test", description="50,000 training or 10,000 test images")


class Cifar100Parameters(CifarParameters):
    """Also which of the two labels."""

    labels: Literal["fine", "coarse"] = Field("fine", description="100 classes or their 20 groups")


@dataclass(frozen=True)
class _Layout:
    """Names in one version of one dataset: files by split, class names, and where a label stands."""

    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str
    label: str | int
    labels: int
    classes: int


def _layouts(dataset: int, label: str) -> dict[str, _Layout]:
    five = [f"data_batch_{i}" for i in range(1, 6)]
    if dataset == 10:
        return {
            "python": _Layout((*five,), ("test_batch",), "batches.meta", "labels", 0, 10),
            "binary": _Layout((*(f"{b}.bin" for b in five),), ("test_batch.bin",), "batches.meta.txt", 0, 1, 10),
        }
    count = 100 if label == "fine" else 20
    return {
        "python": _Layout(("train",), ("test",), "meta", f"{label}_labels", 0, count),
        "binary": _Layout(("train.bin",), ("test.bin",), f"{label}_label_names.txt", int(label == "fine"), 2, count),
    }


def _files(path: Path, names: Sequence[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """The files of those names that a folder or archive has, open for reading, in its own order."""
    try:
        if path.is_dir():
            for name in names:
                if (path / name).is_file():
                    with (path / name).open("rb") as file:
                        yield name, file
            return
        with tarfile.open(path) as archive:
            for member in archive:
                name = member.name.rsplit("/", 1)[-1]
                if name in names and (content := archive.extractfile(member)) is not None:
                    yield name, content
    except FileNotFoundError:
        raise ArtifactError(f"'{path}' does not exist; give the folder of the batches or the .tar.gz") from None
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise ArtifactError(f"'{path}' cannot be read ({error}); fetch it again") from error


def _parse(file: IO[bytes], layout: _Layout, where: str) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """(labels (n,), pixels (n, 3072)) of one batch."""
    try:
        return _unpack(file, layout, where)
    except (OSError, EOFError, tarfile.TarError, zlib.error, ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(f"batch {where} cannot be read ({error}); fetch it again") from error


def _unpack(file: IO[bytes], layout: _Layout, where: str) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    if isinstance(layout.label, int):
        raw = np.frombuffer(file.read(), np.uint8)
        width = layout.labels + PIXELS
        if not len(raw) or len(raw) % width:
            raise ArtifactError(f"batch {where} has {len(raw)} bytes, no multiple of {width}; fetch it again")
        rows = raw.reshape(-1, width)
        return rows[:, layout.label].astype(np.int64), rows[:, layout.labels :]
    batch = read_plain_pickle(file, where.strip("'"))
    if not isinstance(batch, dict):
        raise ArtifactError(f"batch {where} holds no dictionary; fetch it again")
    by_name = {k.decode() if isinstance(k, bytes) else k: v for k, v in batch.items()}
    for key in ("data", layout.label):
        if key not in by_name:
            raise ArtifactError(
                f"batch {where} has no key '{key}'; is it of the other CIFAR? it has: {sorted(by_name)}"
            )
    labels, pixels = as_labels(by_name[layout.label], f"batch {where}"), np.asarray(by_name["data"])
    if pixels.ndim != 2 or pixels.shape[1] != PIXELS or pixels.dtype != np.uint8:
        raise ArtifactError(f"batch {where}, key 'data': shape {pixels.shape}; colour images are (n, {PIXELS}) bytes")
    if len(labels) != len(pixels):
        raise ArtifactError(f"batch {where}: {len(labels)} labels but {len(pixels)} images; fetch it again")
    return labels, pixels


def _class_names(path: Path, layout: _Layout) -> list[str]:
    try:
        return _names_in(path, layout)
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(f"class names '{path}/{layout.names}' cannot be read ({error}); fetch it again") from error


def _names_in(path: Path, layout: _Layout) -> list[str]:
    for _, file in _files(path, [layout.names]):
        if isinstance(layout.label, int):
            return [line.strip() for line in file.read().decode().splitlines() if line.strip()]
        meta = read_plain_pickle(file, str(path / layout.names))
        key = "label_names" if layout.label == "labels" else f"{layout.label.removesuffix('s')}_names"
        found = {k.decode() if isinstance(k, bytes) else k: v for k, v in meta.items()}.get(key, [])
        return [v.decode() if isinstance(v, bytes) else str(v) for v in found]
    return []


def _source(parameters: CifarParameters, layouts: dict[str, _Layout]) -> Source:
    path, where = parameters.path, f"'{parameters.path}'"
    labels: dict[str, NDArray[np.int64]] = {}
    chosen, wanted = layouts["python"], ()
    for layout in layouts.values():
        wanted = getattr(layout, parameters.split)
        labels = {n: _parse(f, layout, f"'{path}/{n}'")[0] for n, f in _files(path, wanted)}
        if labels:
            chosen = layout
            break
    else:
        expected = " or ".join(getattr(layout, parameters.split)[0] for layout in layouts.values())
        raise ArtifactError(f"{where} has no {expected}; give the folder of the batches or the .tar.gz")
    absent = next((name for name in wanted if name not in labels), None)
    if absent is not None:
        raise ArtifactError(f"{where} has no {absent}; fetch all of {', '.join(wanted)}")
    for name in wanted:
        check_labels(labels[name], chosen.classes, f"batch '{path}/{name}'")
    sizes = [len(labels[name]) for name in wanted]
    starts = dict(zip(wanted, np.cumsum([0, *sizes]), strict=False))
    everything = np.concatenate([labels[name] for name in wanted])

    def read(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        images = np.empty((len(indices), PIXELS), np.uint8)
        first = {n: s for n, s in starts.items() if ((indices >= s) & (indices < s + len(labels[n]))).any()}
        for name, file in _files(path, list(first)):
            here = (indices >= first[name]) & (indices < first[name] + len(labels[name]))
            images[here] = _parse(file, chosen, f"'{path}/{name}'")[1][indices[here] - first[name]]
        return prepare_arrays(images.reshape(-1, 3, 32, 32), parameters, where)

    ids = [f"{parameters.split}-{i:05d}" for i in range(len(everything))]
    return Source(ids, everything, read, classes=_class_names(path, chosen))


@DATASETS.register("cifar10", parameters=CifarParameters, citation=_CITATION)
def cifar10(parameters: CifarParameters) -> Source:
    """CIFAR-10: colour 32 × 32 images in 10 classes."""
    return _source(parameters, _layouts(10, "fine"))


@DATASETS.register("cifar100", parameters=Cifar100Parameters, citation=_CITATION)
def cifar100(parameters: Cifar100Parameters) -> Source:
    """CIFAR-100: colour 32 × 32 images in 100 classes, or their 20 groups."""
    return _source(parameters, _layouts(100, parameters.labels))

"""Small real files of every format, written by the tools that users have, and the arrays that they must read as."""

from __future__ import annotations

import csv
import io
import json
import pickle
import struct
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from scipy.io import savemat

from tests.datasets.test_idx import idx_bytes
from vitfaith.artifacts.images import encode_images, encode_truth

SIDE = 6
PICTURES = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
TRUTH = (np.random.default_rng(1).random((4, SIDE, SIDE)) > 0.5).astype(np.int64)
EXPECTED = PICTURES.transpose(0, 3, 1, 2)
NONE = {"preprocessing": "none"}


@dataclass
class Case:
    """Settings of a reader on files just written, and what it must give."""

    settings: dict[str, Any]
    labels: list[int] = field(default_factory=lambda: [0, 0, 1, 1])
    classes: list[str] = field(default_factory=list)
    images: np.ndarray = field(default_factory=lambda: EXPECTED)
    masks: list[Any] | None = None


def png(array: np.ndarray, **save: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", **save)
    return buffer.getvalue()


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def tar(path: Path, files: dict[str, bytes], mode: str) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def image_folder(root: Path) -> Case:
    for i, name in enumerate(["cat/a.png", "cat/deep/b.PNG", "dog/a.png", "dog/c.png"]):
        write(root / "images" / name, png(PICTURES[i]))
    write(root / "images" / "dog" / "notes.txt", b"no picture")
    write(root / "masks" / "cat" / "a.png", png(TRUTH[0].astype(np.uint8) * 255))
    settings = {"folder": root / "images", "masks": root / "masks", **NONE}
    return Case(settings, classes=["cat", "dog"], masks=[TRUTH[0], None, None, None])


def csv_list(root: Path) -> Case:
    rows = [["path", "label", "mask", "image_id"]]
    for i, label in enumerate(["cat", "cat", "dog", "dog"]):
        write(root / f"p{i}.png", png(PICTURES[i]))
        write(root / f"m{i}.png", png(np.where(TRUTH[i], 7, 255 * (i == 1)).astype(np.uint8)))
        rows.append([f"p{i}.png", label, f"m{i}.png" if i else "", f"picture, {i}"])
    with (root / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    masks = [None, np.where(TRUTH[1], 1, -1), *TRUTH[2:]]
    settings = {"path": root / "list.csv", "mask_ignore": [255], **NONE}
    return Case(settings, classes=["cat", "dog"], masks=masks)


def devkit(root: Path, truth: str = "3\n3\n1\n1\n") -> dict[str, bytes]:
    """Three leaves whose numbers are in another order than their WordNet ids, and a parent."""
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")]
    rows = [(1, "n03", "zebra", "", 0), (2, "n01", "tench, Tinca tinca", "", 0), (3, "n02", "ray", "", 0)]
    synsets = np.array([[r] for r in [*rows, (4, "n00", "animal", "", 3)]], dtype=kind)
    buffer = io.BytesIO()
    savemat(buffer, {"synsets": synsets})
    base = "ILSVRC2012_devkit_t12/data/"
    return {f"{base}meta.mat": buffer.getvalue(), f"{base}ILSVRC2012_validation_ground_truth.txt": truth.encode()}


def _jpegs() -> tuple[dict[str, bytes], np.ndarray]:
    files = {}
    for i, picture in enumerate(PICTURES):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=90)
        files[f"ILSVRC2012_val_{i + 1:08d}.JPEG"] = buffer.getvalue()
    decoded = [np.asarray(Image.open(io.BytesIO(content))) for content in files.values()]
    return files, np.stack(decoded).transpose(0, 3, 1, 2)


NAMES = ["tench, Tinca tinca", "ray", "zebra"]


def imagenet_tar(root: Path) -> Case:
    files, images = _jpegs()
    settings = {
        "path": tar(root / "ILSVRC2012_img_val.tar", files, "w"),
        "devkit": tar(root / "ILSVRC2012_devkit_t12.tar.gz", devkit(root), "w:gz"),
    }
    return Case({**settings, **NONE}, [1, 1, 2, 2], NAMES, images)


def imagenet_flat(root: Path) -> Case:
    files, images = _jpegs()
    for name, content in {**files, **{f"../kit/{k}": v for k, v in devkit(root).items()}}.items():
        write(root / "val" / name, content)
    return Case({"path": root / "val", "devkit": root / "kit", **NONE}, [1, 1, 2, 2], NAMES, images)


def hugging_face(root: Path) -> Case:
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    for part, rows in enumerate([[0], [1, 2, 3]]):
        table = pa.table(
            {
                "image": [{"bytes": png(PICTURES[i]), "path": f"{i}.png"} for i in rows],
                "label": pa.array([[0, 0, 1, 1][i] for i in rows], pa.int64()),
                "annotation": [None if i == 2 else {"bytes": png(TRUTH[i].astype(bool)), "path": None} for i in rows],
            }
        )
        (root / "data").mkdir(exist_ok=True)
        pq.write_table(
            table.replace_schema_metadata(metadata), root / f"data/validation-{part}.parquet", row_group_size=2
        )
    settings = {"path": str(root / "data" / "validation-*.parquet"), "mask": "annotation", **NONE}
    return Case(settings, classes=["cat", "dog"], masks=[TRUTH[0], TRUTH[1], None, TRUTH[3]])


def shard_parquet(root: Path) -> Case:
    table = pa.table(
        {
            "image_id": list("abcd"),
            "label": pa.array([0, 0, 1, 1], pa.int32()),
            **encode_images(EXPECTED),
            **encode_truth([*TRUTH[:3], None]),
        }
    )
    pq.write_table(table, root / "images.parquet", row_group_size=2)
    return Case({"path": root / "images.parquet"}, masks=[*TRUTH[:3], None])


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes texts and bytes with the opcodes of Python 2, as the files of CIFAR have them."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_old(self, value: str | bytes) -> None:
        raw = value.encode() if isinstance(value, str) else value
        short = len(raw) < 256
        self.write((b"U" + bytes([len(raw)]) if short else b"T" + struct.pack("<i", len(raw))) + raw)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_old  # type: ignore[assignment]


def python2(value: Any) -> bytes:
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue()


CIFAR = np.random.default_rng(2).integers(0, 256, (10, 3072), dtype=np.uint8)
CIFAR_IMAGES = CIFAR.reshape(-1, 3, 32, 32)
CIFAR_NAMES = [f"class {i}" for i in range(10)]


def cifar10_python(root: Path) -> Case:
    files = {"cifar-10-batches-py/batches.meta": python2({"label_names": CIFAR_NAMES, "num_vis": 3072})}
    for i in (4, 1, 5, 3, 2):  # the archive's order is none
        rows = slice(2 * i - 2, 2 * i)
        batch = {"batch_label": f"{i} of 5", "labels": [i, i + 1], "data": CIFAR[rows], "filenames": ["a.png", "b.png"]}
        files[f"cifar-10-batches-py/data_batch_{i}"] = python2(batch)
    settings = {"path": tar(root / "cifar-10-python.tar.gz", files, "w:gz"), "split": "train"}
    return Case(settings, [1, 2, 2, 3, 3, 4, 4, 5, 5, 6], CIFAR_NAMES, CIFAR_IMAGES)


def cifar10_binary(root: Path) -> Case:
    rows = np.concatenate([np.arange(10, dtype=np.uint8)[:, None], CIFAR], axis=1)
    write(root / "test_batch.bin", rows.tobytes())
    write(root / "batches.meta.txt", ("\n".join(CIFAR_NAMES) + "\n\n").encode())
    return Case({"path": root, "split": "test"}, list(range(10)), CIFAR_NAMES, CIFAR_IMAGES)


def cifar100_python(root: Path) -> Case:
    """Written by Python 3: bytes through _codecs.encode, NumPy's new module names."""
    batch = {b"fine_labels": [99, 3], b"coarse_labels": [19, 1], b"data": CIFAR[:2]}
    write(root / "test", pickle.dumps(batch, protocol=2))
    write(root / "meta", python2({"fine_label_names": [f"f{i}" for i in range(100)]}))
    return Case({"path": root}, [99, 3], [f"f{i}" for i in range(100)], CIFAR_IMAGES[:2])


def cifar100_binary(root: Path) -> Case:
    labels = np.array([[19, 99], [1, 3]], np.uint8)
    rows = np.concatenate([labels, CIFAR[:2]], axis=1)
    path = tar(root / "cifar-100-binary.tar.gz", {"cifar-100-binary/test.bin": rows.tobytes()}, "w:gz")
    return Case({"path": path, "labels": "coarse"}, [19, 1], [], CIFAR_IMAGES[:2])


def mnist(root: Path) -> Case:
    grey = PICTURES[..., 0]
    write(root / "t10k-images-idx3-ubyte", idx_bytes(grey))
    write(root / "t10k-labels-idx1-ubyte", idx_bytes(np.array([0, 0, 1, 1], np.uint8)))
    return Case({"folder": root, "channels": "rgb"}, images=np.repeat(grey[:, None], 3, axis=1))


def coco(root: Path) -> Case:
    """Two categories: boxes as polygons, and run lengths of a crowd."""
    images, annotations = [], []
    truth = np.zeros((4, SIDE, SIDE), np.int64)
    for i in range(4):
        write(root / "val" / f"{i}.png", png(PICTURES[i]))
        images.append({"id": 10 + i, "file_name": f"{i}.png", "width": SIDE, "height": SIDE})
        box = [1, 2, 4, 2, 4, 5, 1, 5]
        annotations.append({"id": i, "image_id": 10 + i, "category_id": 3 + i // 2, "segmentation": [box], "area": 9})
        truth[i, 2:5, 1:4] = 1
    small = {"segmentation": [[0, 0, 1, 0, 1, 1, 0, 1]], "area": 1}
    annotations.append({"id": 8, "image_id": 10, "category_id": 4, **small})
    crowd = {"size": [SIDE, SIDE], "counts": [0, 3, SIDE * SIDE - 3]}
    annotations.append({"id": 9, "image_id": 13, "category_id": 4, "segmentation": crowd, "iscrowd": 1, "area": 3})
    truth[3, :3, 0] = -1
    content = {
        "images": [*images, {"id": 99, "file_name": "empty.png", "width": SIDE, "height": SIDE}],
        "annotations": annotations,
        "categories": [{"id": 4, "name": "dog"}, {"id": 3, "name": "cat"}],
    }
    write(root / "instances.json", json.dumps(content).encode())
    settings = {"folder": root / "val", "annotations": root / "instances.json", "label": "category", **NONE}
    return Case(settings, classes=["cat", "dog"], masks=list(truth))


def cityscapes(root: Path) -> Case:
    for i in range(4):
        stem = f"city{i // 2}/city_{i:06d}"
        write(root / f"leftImg8bit/val/{stem}_leftImg8bit.png", png(PICTURES[i]))
        ids = np.where(TRUTH[i], 26, 11).astype(np.uint8)
        ids[0, 0] = 3
        write(root / f"gtFine/val/{stem}_gtFine_labelIds.png", png(ids))
    masks = TRUTH.copy()
    masks[:, 0, 0] = -1
    return Case({"folder": root, "objects": ["car", "truck"], **NONE}, [-1] * 4, masks=list(masks))


def gtsegs(root: Path, pictures: np.ndarray = PICTURES, truth: np.ndarray = TRUTH) -> Case:
    """The nesting of the published file: a cell of pictures, and a cell of cells of masks, transposed by MATLAB."""
    with h5py.File(root / "gtsegs_ijcv.mat", "w") as file:
        cells = {key: file.create_dataset(f"value/{key}", (len(pictures), 1), h5py.ref_dtype) for key in ("img", "gt")}
        for i, (picture, mask) in enumerate(zip(pictures, truth, strict=True)):
            cells["img"][i, 0] = file.create_dataset(f"#refs#/i{i}", data=picture.T).ref
            inner = file.create_dataset(f"#refs#/c{i}", (1, 1), h5py.ref_dtype)
            inner[0, 0] = file.create_dataset(f"#refs#/m{i}", data=mask.T.astype(np.uint8)).ref
            cells["gt"][i, 0] = inner.ref
    return Case({"path": root / "gtsegs_ijcv.mat", **NONE}, [-1] * 4, masks=list(truth))


CASES: dict[str, tuple[str, Callable[[Path], Case]]] = {
    "image_folder": ("image_folder", image_folder),
    "csv": ("csv", csv_list),
    "imagenet_tar": ("imagenet", imagenet_tar),
    "imagenet_flat": ("imagenet", imagenet_flat),
    "hugging_face": ("hugging_face", hugging_face),
    "parquet": ("parquet", shard_parquet),
    "cifar10_python": ("cifar10", cifar10_python),
    "cifar10_binary": ("cifar10", cifar10_binary),
    "cifar100_python": ("cifar100", cifar100_python),
    "cifar100_binary": ("cifar100", cifar100_binary),
    "mnist": ("mnist", mnist),
    "coco": ("coco", coco),
    "cityscapes": ("cityscapes", cityscapes),
    "imagenet_segmentation": ("imagenet_segmentation", gtsegs),
}
"""Name of a case → (reader, what writes its files)."""

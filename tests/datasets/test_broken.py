"""Five broken files a reader: the message is one sentence that names file and key, and the way out."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.datasets.damage import (
    GREY16,
    WHOLE,
    Break,
    Trap,
    _annotation,
    _swap,
    cifar,
    classes,
    folder,
    half,
    hdf5,
    kit,
    lines,
    parquet,
    put,
    records,
)
from tests.datasets.files import (
    CASES,
    CIFAR,
    PICTURES,
    TRUTH,
    gtsegs,
    png,
    python2,
    tar,
    write,
)
from tests.datasets.test_idx import idx_bytes
from tests.datasets.test_readers import opened
from vitfaith.artifacts.images import encode_images
from vitfaith.errors import ArtifactError

BROKEN: list[tuple[str, str, Break, str]] = [
    (
        "image_folder",
        "truncated",
        put("images/cat/a.png", half(WHOLE)),
        r"picture '.*cat/a\.png' is damaged .*; replace",
    ),
    ("image_folder", "wrong magic", put("images/dog/c.png", b"GIF not"), r"'.*dog/c\.png' has no format that can be"),
    (
        "image_folder",
        "wrong labels",
        classes("cat", "dgo"),
        r"class 'dog' is not in '.*txt' \(did you mean 'dgo'\?\); add",
    ),
    ("image_folder", "missing class", folder, r"class folder '.*images/bird' has no picture .*; fill or remove it"),
    ("image_folder", "16 bits", put("images/cat/a.png", png(GREY16)), r"cat/a\.png' has pixels of mode I;16; convert"),
    (
        "image_folder",
        "transparent",
        put("images/cat/a.png", png(np.full((6, 6, 4), 9, np.uint8))),
        r"cat/a\.png' has transparent pixels; set the reader's background",
    ),
    (
        "image_folder",
        "other size",
        put("images/dog/a.png", png(PICTURES[0, :5])),
        r"a\.png' has 6 × 5 pixels, .*; name a p",
    ),
    ("image_folder", "loose", put("images/x.png", WHOLE), r"x\.png' lies outside the class folders; move"),
    ("image_folder", "colour mask", put("masks/cat/a.png", WHOLE), r"mask '.*a\.png' has mode RGB; give one channel"),
    (
        "image_folder",
        "mask of another size",
        put("masks/cat/a.png", png(TRUTH[0, :3].astype(np.uint8))),
        r"masks/cat/a\.png' has 6 × 3 pixels, its image 6 × 6; give",
    ),
    (
        "csv",
        "truncated",
        put("list.csv", lambda c: c.strip()[:-20]),
        r"list\.csv', line \d: write 4 values, path",
    ),
    ("csv", "wrong magic", put("list.csv", b"\x89PNG\xff\xfe"), r"list\.csv' is no CSV in UTF-8 .*; save"),
    ("csv", "wrong labels", lines(",cat,", ",3,"), r"labels are numbers \('3'\) and names; write all one way"),
    ("csv", "missing class", classes("cat"), r"class 'dog' is not in '.*classes\.txt'; add"),
    ("csv", "wrong channel", put("m1.png", WHOLE), r"mask '.*m1\.png' has mode RGB; give one channel"),
    ("csv", "missing column", lines("label", "lable"), r"no column 'label' \(did you mean 'lable'\?\); the first"),
    ("csv", "missing picture", lines("p2.png", "q.png"), r"list\.csv', line 4: picture '.*q\.png' does not exist; c"),
    ("imagenet_tar", "truncated", put("ILSVRC2012_img_val.tar", lambda c: c[:2200]), r"val\.tar' .*; fetch it again"),
    (
        "imagenet_tar",
        "wrong magic",
        put("ILSVRC2012_img_val.tar", WHOLE),
        r"val\.tar' is damaged or no plain tar .*; fetch",
    ),
    (
        "imagenet_tar",
        "wrong labels",
        kit("3\n9\n1\n1\n"),
        r"t12\.tar\.gz': .*truth\.txt, line 2: '9' is no class of meta",
    ),
    ("imagenet_tar", "missing label", kit("3\n3\n1\n"), r"00000004\.JPEG' is beyond the 3 labels of the devkit; give"),
    ("imagenet_tar", "missing image", kit("3\n3\n1\n1\n1\n"), r"has 4 images, the devkit 5 labels; fetch it again"),
    ("imagenet_tar", "no devkit", lambda root: {"devkit": None}, r"val\.tar' has no class folders; name the devkit"),
    (
        "imagenet_tar",
        "16 bits",
        lambda root: _pack(root, png(GREY16)),
        r"JPEG in '.*val\.tar' has pixels of mode I;16; c",
    ),
    (
        "imagenet_flat",
        "missing class",
        lambda root: {"path": root / "val", **_in_classes(root)},
        r"has 2 class folders, ImageNet-1k 1000; for a part",
    ),
    (
        "hugging_face",
        "truncated",
        put("data/validation-1.parquet", half),
        r"validation-1\.parquet' is not a readable Parquet file .*; fetch",
    ),
    (
        "hugging_face",
        "wrong magic",
        parquet(image=pa.array([{"bytes": b"GIF?"}])),
        r"of row 0 in '.*' has no format that",
    ),
    (
        "hugging_face",
        "wrong labels",
        parquet(label=pa.array(["cat"])),
        r"column 'label': type (large_)?string; write integers",
    ),
    ("hugging_face", "missing class", parquet(label=pa.array([2])), r"'label': label 2, but there are 2 classes; is"),
    ("hugging_face", "missing column", parquet(image=None), r"no column 'image'; name or add it"),
    ("hugging_face", "16 bits", parquet(image=pa.array([{"bytes": png(GREY16)}])), r"row 0 in .* mode I;16; convert"),
    (
        "hugging_face",
        "only paths",
        parquet(image=pa.array([{"bytes": None}], pa.struct([("bytes", pa.binary())]))),
        r"row 0 has no bytes; embed",
    ),
    ("parquet", "truncated", put("images.parquet", half), r"images\.parquet' is not a readable Parquet file"),
    ("parquet", "wrong magic", put("images.parquet", WHOLE), r"images\.parquet' is not a readable Parquet file"),
    (
        "parquet",
        "wrong labels",
        parquet(label=pa.array(list("abcd"))),
        r"column 'label': type (large_)?string; write integers",
    ),
    ("parquet", "missing column", parquet(pixels=None), r"has no column 'pixels'"),
    (
        "parquet",
        "wrong channels",
        parquet(channels=pa.array([1] * 4, pa.int16())),
        r"column 'pixels': image a has 108 bytes, expected 36",
    ),
    (
        "cifar10_python",
        "truncated",
        put("cifar-10-python.tar.gz", half),
        r"cifar-10-python\.tar\.gz.* cannot be read .*; f",
    ),
    ("cifar100_python", "truncated", put("test", lambda c: c[:5000]), r"/test' is damaged or no batch of pickled data"),
    ("cifar100_python", "wrong magic", put("test", WHOLE), r"/test' is damaged or no batch of pickled data .*; fetch"),
    ("cifar100_python", "wrong labels", cifar(fine_labels=[1, 100]), r"/test': label 100, but there are 100 classes"),
    (
        "cifar100_python",
        "of CIFAR-10",
        put("test", python2({"labels": [1], "data": CIFAR[:1]})),
        r"/test' has no key 'fine_labels'; is it of the other CIFAR",
    ),
    ("cifar100_python", "grey", cifar(data=CIFAR[:2, :1024].copy()), r"key 'data': shape \(2, 1024\); colour images"),
    ("cifar100_python", "fewer labels", cifar(fine_labels=[1]), r"/test': 1 labels but 2 images; fetch"),
    (
        "cifar100_python",
        "code",
        put("test", pickle.dumps(Trap(), 2)),
        r"/test' asks to call '\w+ abort', .*it was not done",
    ),
    (
        "cifar10_binary",
        "truncated",
        put("test_batch.bin", lambda c: c[:-1]),
        r"batch\.bin' has 30729 bytes, no multiple of",
    ),
    ("cifar10_binary", "wrong magic", put("test_batch.bin", WHOLE), r"batch\.bin' has \d+ bytes, no multiple of 3073"),
    (
        "cifar10_binary",
        "wrong labels",
        put("test_batch.bin", records(3, 10)),
        r"batch\.bin': label 10, but there are 10 cl",
    ),
    (
        "cifar10_binary",
        "missing batch",
        lambda root: {"split": "train"},
        r"has no data_batch_1 or data_batch_1\.bin; give",
    ),
    (
        "cifar10_binary",
        "grey",
        put("test_batch.bin", records(3, 5, side=1024)),
        r"2050 bytes, no multiple of 3073; fetch",
    ),
    (
        "mnist",
        "truncated",
        put("t10k-images-idx3-ubyte", lambda c: c[:-5]),
        r"ubyte' holds 139 bytes, its header says 144",
    ),
    ("mnist", "wrong magic", put("t10k-images-idx3-ubyte", WHOLE), r"not an IDX file of unsigned bytes .*; fetch"),
    (
        "mnist",
        "wrong labels",
        put("t10k-labels-idx1-ubyte", idx_bytes(np.zeros(3, np.uint8))),
        r"4 images but 3 labels in split test; fetch",
    ),
    ("mnist", "missing class", classes("zero"), r"label 1, but there are 1 classes"),
    (
        "mnist",
        "wrong channels",
        put("t10k-images-idx3-ubyte", idx_bytes(np.zeros((4, 2, 6, 6), np.uint8))),
        r"images have 2 channels; write grey ones with 1",
    ),
    ("mnist", "files swapped", _swap, r"images have 3 .*, labels 1: are the files swapped"),
    ("coco", "truncated", put("instances.json", half), r"instances\.json' cannot be read as JSON .*; fetch"),
    (
        "coco",
        "wrong magic",
        put("instances.json", b'{"captions": []}'),
        r"have no list 'images'; give the JSON of instances",
    ),
    ("coco", "wrong labels", _annotation("category_id", 7), r"annotation 0 has category 7, which is not listed"),
    ("coco", "missing class", lambda root: {"categories": ["bird"]}, r"has no category 'bird'; correct it"),
    ("coco", "16 bits", put("val/1.png", png(GREY16)), r"val/1\.png' has pixels of mode I;16; convert"),
    (
        "coco",
        "missing picture",
        lambda root: (root / "val/2.png").unlink(),
        r"2\.png' of '.*json' does not exist; give",
    ),
    (
        "coco",
        "run lengths too short",
        _annotation("segmentation", {"size": [6, 6], "counts": [4, 4]}),
        r"annotation 0 holds run lengths that cover 8 of 36 pixels; fetch",
    ),
    (
        "cityscapes",
        "truncated",
        put("gtFine/val/city0/city_000000_gtFine_labelIds.png", half(png(TRUTH[0].astype(np.uint8)))),
        r"labelIds\.png' is damaged .*; replace",
    ),
    (
        "cityscapes",
        "wrong magic",
        put("leftImg8bit/val/city1/city_000002_leftImg8bit.png", b"no"),
        r"city_000002_leftImg8bit\.png' has no format",
    ),
    (
        "cityscapes",
        "wrong labels",
        lambda r: {"objects": ["cars"]},
        r"no label 'cars' \(did you mean 'car'\?\); correct",
    ),
    (
        "cityscapes",
        "missing mask",
        lambda root: (root / "gtFine/val/city0/city_000001_gtFine_labelIds.png").unlink(),
        r"city_000001_gtFine_labelIds\.png' does not exist; unpack gtFine",
    ),
    (
        "cityscapes",
        "colour mask",
        put("gtFine/val/city0/city_000000_gtFine_labelIds.png", WHOLE),
        r"labelIds\.png' has mode RGB; give one channel",
    ),
    (
        "imagenet_segmentation",
        "truncated",
        put("gtsegs_ijcv.mat", half),
        r"ijcv\.mat' is damaged or no MATLAB 7\.3 file",
    ),
    (
        "imagenet_segmentation",
        "wrong magic",
        put("gtsegs_ijcv.mat", WHOLE),
        r"is damaged or no MATLAB 7\.3 file .*; fetch",
    ),
    ("imagenet_segmentation", "missing key", hdf5(lambda f: f.pop("value/gt")), r"has no '/value/gt'; give the file"),
    (
        "imagenet_segmentation",
        "wrong labels",
        lambda root: gtsegs(root, truth=TRUTH * 7) and None,
        r"image 0 of '.*mat': mask of shape \(6, 6\), values \[0 7\]",
    ),
    (
        "imagenet_segmentation",
        "grey",
        lambda root: gtsegs(root, pictures=PICTURES[..., 0]) and None,
        r"image 0 of '.*': uint8 of shape \(6, 6\); they are uint8",
    ),
]


def _pack(root: Path, content: bytes) -> None:
    tar(root / "ILSVRC2012_img_val.tar", {f"ILSVRC2012_val_{i:08d}.JPEG": content for i in range(1, 5)}, "w")


def _in_classes(root: Path) -> dict[str, Any]:
    for wnid in ("n01", "n02"):
        write(root / "val" / wnid / "a.JPEG", WHOLE)
    for path in (root / "val").glob("*.JPEG"):
        path.unlink()
    return {}


def read_all(reader: str, settings: dict[str, Any]) -> None:
    source = opened(reader, settings)
    everything = np.arange(len(source.labels))
    source.read(everything)
    assert source.masks is not None
    source.masks(everything)


@pytest.mark.parametrize(("name", "kind", "damage", "message"), BROKEN, ids=[f"{b[0]}-{b[1]}" for b in BROKEN])
def test_broken_files_are_named(name: str, kind: str, damage: Break, message: str, tmp_path: Path) -> None:
    reader, files = CASES[name]
    settings = files(tmp_path).settings | (damage(tmp_path) or {})
    with pytest.raises(ArtifactError, match=message) as caught:
        read_all(reader, settings)
    text = str(caught.value)
    print(f"| {name} | {kind} | {text.replace(str(tmp_path), '…')} |")
    assert "\n" not in text
    assert ";" in text, "it tells no way out"


def test_every_reader_has_five() -> None:
    counts = {reader: sum(CASES[b[0]][0] == reader for b in BROKEN) for reader, _ in CASES.values()}
    assert min(counts.values()) >= 5, counts


def test_missing_values_of_a_shard_are_named(tmp_path: Path) -> None:
    columns = {"image_id": ["a"], "label": pa.array([0], pa.int32()), **encode_images(np.zeros((1, 3, 2, 2), np.uint8))}
    pq.write_table(pa.table({**columns, "image_id": pa.array([None], pa.string())}), tmp_path / "a.parquet")
    with pytest.raises(ArtifactError, match=r"column 'image_id': 1 missing values"):
        opened("parquet", {"path": tmp_path / "a.parquet"}).read(np.array([0]))

"""ImageNet-1k validation: class folders, a flat folder or the official archive with the development kit."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.datasets.files.class_lists import check_unique, labels_of
from vitfaith.datasets.files.devkit import Devkit, read_devkit
from vitfaith.datasets.files.headers import headers_of
from vitfaith.datasets.files.pictures import read_pictures
from vitfaith.datasets.files.preprocessing import PictureParameters
from vitfaith.datasets.files.walk import walk_pictures
from vitfaith.datasets.registry import DATASETS, Source
from vitfaith.errors import ArtifactError
from vitfaith.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES = 1000
_NUMBER = re.compile(r"(ILSVRC2012_val_(\d{8}))\.JPEG", re.IGNORECASE)


class ImagenetParameters(PictureParameters):
    """Where the validation images are."""

    path: Path = Field(
        description="folder with one folder per WordNet id, flat folder of ILSVRC2012_val_….JPEG, or ILSVRC2012_img_val.tar "
        "(read where it is, never unpacked)"
    )
    devkit: Path | None = Field(
        None, description="ILSVRC2012_devkit_t12.tar.gz or its folder; needed for a flat folder and for the archive"
    )


def _members(path: Path) -> tuple[list[str], list[int], list[int]]:
    """(names, offsets, sizes) of the pictures in an uncompressed tar archive, from its headers alone."""
    names, offsets, sizes = [], [], []
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.isfile() and _NUMBER.search(member.name):
                    names.append(member.name)
                    offsets.append(member.offset_data)
                    sizes.append(member.size)
                archive.members = []  # type: ignore[attr-defined]  # 50,000 headers need not stay in memory
    except (OSError, EOFError, tarfile.TarError) as error:
        raise ArtifactError(f"archive '{path}' is damaged or no plain tar ({error}); fetch it again") from error
    if offsets and offsets[-1] + sizes[-1] > path.stat().st_size:
        raise ArtifactError(f"archive '{path}' ends inside {names[-1]}; fetch it again")
    return names, offsets, sizes


def _numbered(names: Sequence[str], kit: Devkit, where: str) -> tuple[list[str], NDArray[np.int64]]:
    """(image ids, labels) by the number in each file name."""
    ids, labels = [], []
    for name in names:
        match = _NUMBER.search(name)
        if match is None:
            raise ArtifactError(f"{where}: '{name}' is not named ILSVRC2012_val_….JPEG; remove it or use image_folder")
        number = int(match[2])
        if not 1 <= number <= len(kit.labels):
            raise ArtifactError(f"{where}: '{name}' is beyond the {len(kit.labels)} labels of the devkit; give its own")
        ids.append(match[1])
        labels.append(kit.labels[number - 1])
    return ids, np.array(labels, np.int64)


@DATASETS.register("imagenet", parameters=ImagenetParameters, citation="Russakovsky et al. 2015, arXiv 1409.0575")
def imagenet(parameters: ImagenetParameters) -> Source:
    """ImageNet-1k validation images; labels count the sorted WordNet ids, as torchvision's and timm's models do."""
    path, where = parameters.path, f"'{parameters.path}'"
    if not path.exists():
        raise ArtifactError(f"{where} does not exist; give the folder of validation images or ILSVRC2012_img_val.tar")
    offsets: list[int] = []
    sizes: list[int] = []
    if path.is_dir():
        names = walk_pictures(path)
    else:
        names, offsets, sizes = _members(path)
    if not names:
        raise ArtifactError(f"{where} has no pictures; give the folder of validation images or ILSVRC2012_img_val.tar")
    if "/" in names[0] and path.is_dir():
        folders = [name.split("/", 1)[0] for name in names]
        wnids = sorted(set(folders))
        if len(wnids) != CLASSES:
            raise ArtifactError(
                f"{where} has {len(wnids)} class folders, ImageNet-1k {CLASSES}; for a part of the classes use image_folder "
                "with a class list, which keeps the model's labels"
            )
        labels, shown = labels_of(folders, None, where)
        ids = [Path(name).stem for name in names]
    elif parameters.devkit is None:
        raise ArtifactError(f"{where} has no class folders; name the devkit, which knows the labels")
    else:
        kit = read_devkit(parameters.devkit)
        shown = kit.names
        ids, labels = _numbered(names, kit, where)
        if offsets and len(ids) != len(kit.labels):
            raise ArtifactError(
                f"archive {where} has {len(ids)} images, the devkit {len(kit.labels)} labels; fetch it again"
            )
    check_unique(ids, where)

    def contents(indices: NDArray[np.int64]) -> Iterator[tuple[bytes | Path, str]]:
        if not offsets:
            yield from ((path / names[i], f"'{path / names[i]}'") for i in indices)
            return
        with path.open("rb") as archive:
            for i in indices:
                archive.seek(offsets[i])
                yield archive.read(sizes[i]), f"{names[i]} in {where}"

    headers = None if offsets else headers_of([path / name for name in names], parameters)
    return Source(
        ids, labels, lambda indices: read_pictures(contents(indices), parameters), classes=shown, headers=headers
    )

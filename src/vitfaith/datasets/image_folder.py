"""Pictures in class folders, the layout of torchvision's ImageFolder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from vitfaith.datasets.files.class_lists import labels_of
from vitfaith.datasets.files.pictures import MaskParameters, masks_of
from vitfaith.datasets.files.preprocessing import PictureParameters
from vitfaith.datasets.files.source import source_of_files
from vitfaith.datasets.files.splits import split_named
from vitfaith.datasets.files.walk import EXTENSIONS, walk_pictures
from vitfaith.datasets.registry import DATASETS, Source
from vitfaith.errors import ArtifactError

_PARTS = re.compile(r"(\D*)(\d*)")
_NUMBERED = re.compile(r"\D*\d+", re.ASCII)


class ImageFolderParameters(MaskParameters, PictureParameters):
    """Where the class folders are."""

    folder: Path = Field(description="folder with one folder per class; pictures may be deeper in them")
    classes: Path | None = Field(
        None,
        description="class list: folder names in the order of the model's labels, one per line (a display name may follow "
        "after a tab), or imagenet_class_index.json; default: the sorted folder names",
    )
    order: Literal["text", "natural"] | None = Field(
        None,
        description="how class folders that end in numbers of several lengths are numbered: text (1, 10, 2, as torchvision "
        "does) or natural (1, 2, 10); such folders need this key or a class list",
    )
    masks: Path | None = Field(
        None, description="folder of mask pictures with the same relative paths and stems, as PNG; may have gaps"
    )
    cluster: str | None = Field(
        None,
        description="regular expression on a picture's path below folder; its first group is the name of the picture's object, scene "
        "or subject, for example '([^/]+)_[0-9]+[.]png'; pictures without a match belong to no cluster",
    )

    @field_validator("cluster")
    @classmethod
    def _one_group(cls, value: str | None) -> str | None:
        try:
            groups = 1 if value is None else re.compile(value).groups
        except re.error as error:
            raise ValueError(f"'{value}' is no regular expression ({error}); correct it") from error
        if not groups:
            raise ValueError(f"'{value}' has no group; put parentheses around the name that images share")
        return value


def mask_finder(masks: Path, pictures: list[str]) -> list[Path | None]:
    """The mask of each picture: same relative path, ending ``.png``; raises when there is not a single one."""
    names = [str(Path(p).with_suffix(".png").as_posix()) for p in pictures]
    present = {name for name in names if (masks / name).is_file()}
    if not present.intersection(names):
        raise ArtifactError(f"masks: '{masks}' has none of the masks (as '{names[0]}'); name the folder that has them")
    return [masks / name if name in present else None for name in names]


def natural_order(names: Iterable[str]) -> list[str]:
    """``names`` sorted with numbers in them by value: 1, 2, 10."""
    return sorted(names, key=lambda name: ([(int(n or -1), s) for s, n in _PARTS.findall(name)], name))


def sorts_in_two_ways(names: Sequence[str]) -> bool:
    """Whether all ``names`` end in numbers, and text sorts them otherwise than the numbers do."""
    return all(_NUMBERED.fullmatch(name) for name in names) and natural_order(names) != sorted(names)


def _ordered(classes: Sequence[str], parameters: ImageFolderParameters) -> list[str]:
    """The class folders in the order of the labels; raises where it could be one of two and nobody chose."""
    natural = natural_order(classes)
    if parameters.order == "natural":
        return natural
    if parameters.order is None and parameters.classes is None and sorts_in_two_ways(classes):
        shown = [", ".join(order[:6]) + (", …" if len(order) > 6 else "") for order in (sorted(classes), natural)]
        raise ArtifactError(
            f"class folders of '{parameters.folder}' are numbered, and text sorts as {shown[0]}; set order: text where the "
            f"model counts so (as torchvision does), order: natural for {shown[1]}, or give a class list"
        )
    return sorted(classes)


def clusters_of(names: list[str], pattern: str | None) -> list[str | None] | None:
    """First group of ``pattern`` in each path, None where it is not found; None without a pattern."""
    if pattern is None:
        return None
    return [found.group(1) if (found := re.search(pattern, name)) else None for name in names]


@DATASETS.register("image_folder", parameters=ImageFolderParameters)
def image_folder(parameters: ImageFolderParameters) -> Source:
    """Pictures in class folders; nothing is decoded until a shard asks for it."""
    folder = parameters.folder
    if not folder.is_dir():
        raise ArtifactError(f"image folder '{folder}' does not exist; give the folder that holds the class folders")
    classes = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    names = walk_pictures(folder)
    loose = next((n for n in names if "/" not in n), None)
    if not classes:
        hint = "has pictures but no class folders; sort them into folders, or use" if loose else "has no class folders;"
        raise ArtifactError(f"'{folder}' {hint} reader 'csv' with a list of paths and labels")
    if loose is not None:
        raise ArtifactError(f"picture '{folder / loose}' lies outside the class folders; move it into one")
    if len(classes) > 1 and all(split_named(name) for name in classes):
        raise ArtifactError(
            f"'{folder}' holds splits ({', '.join(classes)}), not classes; name one of them: '{folder / classes[0]}'"
        )
    belongs = [name.split("/", 1)[0] for name in names]
    empty = sorted(set(classes) - set(belongs))
    if empty:
        place = folder / empty[0]
        link = f" but is a link to '{place.resolve()}', whose pictures count once" if place.is_symlink() else ""
        raise ArtifactError(f"class folder '{place}' has no picture ({', '.join(EXTENSIONS)}){link}; fill or remove it")
    labels, shown = labels_of(belongs, parameters.classes, f"'{folder}'", _ordered(classes, parameters))
    paths = [folder / name for name in names]
    masks = None
    if parameters.masks is not None:
        found = mask_finder(parameters.masks, names)
        masks = masks_of(paths, found.__getitem__, parameters, parameters)
    clusters = clusters_of(names, parameters.cluster)
    return source_of_files(paths, names, labels, parameters, masks=masks, classes=shown, clusters=clusters)

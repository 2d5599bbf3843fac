"""Pictures in class folders, the layout of torchvision's ImageFolder."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from vitfaith.errors import ArtifactError
from vitfaith.shard.class_lists import labels_of
from vitfaith.shard.pictures import EXTENSIONS, MaskParameters, masks_of, read_pictures
from vitfaith.shard.preprocessing import PictureParameters
from vitfaith.shard.registry import DATASETS, Source
from vitfaith.shard.splits import split_named


class ImageFolderParameters(MaskParameters, PictureParameters):
    """Where the class folders are."""

    folder: Path = Field(description="folder with one folder a class; pictures may lie deeper in them")
    classes: Path | None = Field(
        None,
        description="class list: folder names in the order of the model's labels, one a line (a name to show after a "
        "tab) or imagenet_class_index.json; without it the sorted folder names are the labels",
    )
    masks: Path | None = Field(
        None, description="folder of mask pictures with the same relative paths and stems, as PNG; may have gaps"
    )


def walk_pictures(folder: Path) -> list[str]:
    """Sorted paths of the pictures below ``folder``, relative, with slashes; hidden files are passed over."""
    found = []
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [f for f in folders if not f.startswith(".")]
        base = Path(root).relative_to(folder)
        found += [(base / f).as_posix() for f in files if f.lower().endswith(EXTENSIONS) and not f.startswith(".")]
    return sorted(found)


def mask_finder(masks: Path, pictures: list[str]) -> list[Path | None]:
    """The mask of each picture: same relative path, ending ``.png``; raises when there is not a single one."""
    present = set(walk_pictures(masks)) if masks.is_dir() else set()
    names = [str(Path(p).with_suffix(".png").as_posix()) for p in pictures]
    if not present.intersection(names):
        raise ArtifactError(f"masks: '{masks}' has none of the masks (as '{names[0]}'); name the folder that has them")
    return [masks / name if name in present else None for name in names]


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
        raise ArtifactError(
            f"class folder '{folder / empty[0]}' has no picture ({', '.join(EXTENSIONS)}); fill or remove it"
        )
    labels, shown = labels_of(belongs, parameters.classes, f"'{folder}'")
    paths = [folder / name for name in names]
    masks = None
    if parameters.masks is not None:
        found = mask_finder(parameters.masks, names)
        masks = masks_of(paths, found.__getitem__, parameters, parameters)
    return Source(
        names, labels, lambda i: read_pictures(((paths[k], f"'{paths[k]}'") for k in i), parameters), masks, shown
    )

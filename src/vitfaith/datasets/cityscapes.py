"""Cityscapes: street scenes with the label ids of every pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from vitfaith.datasets.files.pictures import MaskParameters, masks_of
from vitfaith.datasets.files.preprocessing import PictureParameters
from vitfaith.datasets.files.source import source_of_files
from vitfaith.datasets.files.walk import walk_pictures
from vitfaith.datasets.registry import DATASETS, UNLABELLED, Source
from vitfaith.errors import ArtifactError, did_you_mean
from vitfaith.lazy import np

_NAMES = (
    "unlabeled, ego vehicle, rectification border, out of roi, static, dynamic, ground, road, sidewalk, parking, rail track, "
    "building, wall, fence, guard rail, bridge, tunnel, pole, polegroup, traffic light, traffic sign, vegetation, terrain, "
    "sky, person, rider, car, truck, bus, caravan, trailer, train, motorcycle, bicycle"
)
LABEL_IDS = {name: i for i, name in enumerate(_NAMES.split(", "))}
"""Names of the label ids (Cordts et al. 2016); 0 to 6 are void."""

VOID = tuple(range(7))


class CityscapesParameters(PictureParameters):
    """Where the data set is and what counts as the object."""

    folder: Path = Field(description="folder that holds leftImg8bit and gtFine (both unpacked)")
    split: Literal["train", "val"] = Field("val", description="2,975 or 500 scenes; the labels of test are not public")
    objects: tuple[str, ...] = Field(
        min_length=1,
        description="names of the labels that are the object, such as [car, truck]; void pixels are ignored",
    )


def files_of(parameters: CityscapesParameters) -> list[Path]:
    """The folders of the split."""
    return [parameters.folder / name / parameters.split for name in ("leftImg8bit", "gtFine")]


@DATASETS.register(
    "cityscapes",
    parameters=CityscapesParameters,
    citation="Cordts et al. 2016, arXiv 1604.01685",
    files=files_of,
)
def cityscapes(parameters: CityscapesParameters) -> Source:
    """Cityscapes scenes with masks of chosen labels from gtFine; there are no image labels."""
    for name in parameters.objects:
        if name not in LABEL_IDS:
            raise ArtifactError(f"objects: Cityscapes has no label '{name}'{did_you_mean(name, LABEL_IDS)}; correct it")
    folder, split = parameters.folder, parameters.split
    root, truth = folder / "leftImg8bit" / split, folder / "gtFine" / split
    suffix = "_leftImg8bit.png"
    names = [n.removesuffix(suffix) for n in walk_pictures(root) if n.endswith(suffix)] if root.is_dir() else []
    if not names:
        raise ArtifactError(f"'{root}' has no CITY/…{suffix}; give the folder that holds leftImg8bit and gtFine")
    files = [root / f"{name}{suffix}" for name in names]
    masks = [truth / f"{name}_gtFine_labelIds.png" for name in names]
    absent = next((m for m in masks if not m.is_file()), None)
    if absent is not None:
        raise ArtifactError(f"mask '{absent}' does not exist; unpack gtFine beside leftImg8bit")
    meaning = MaskParameters(mask_object=tuple(LABEL_IDS[n] for n in parameters.objects), mask_ignore=VOID)
    return source_of_files(
        files,
        names,
        np.full(len(names), UNLABELLED, np.int64),
        parameters,
        masks=masks_of(files, masks.__getitem__, parameters, meaning),
        clusters=["_".join(name.split("/")[-1].split("_")[:2]) for name in names],  # CITY_SEQUENCE: one drive
    )

"""Whether a dataset can be read, and what its images and labels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vitfaith.datasets.opening import open_dataset
from vitfaith.datasets.registry import Source
from vitfaith.datasets.subset import stratified_subset
from vitfaith.errors import InputError
from vitfaith.study.study import Study


@dataclass(frozen=True)
class DatasetFacts:
    """The part of a dataset that a study uses.

    Attributes:
        images: number of images in the subset.
        shape: (C, H, W) of each.
        labels: largest label of the subset; −1 where there are none.
        classes: names in the order of the labels; empty if the dataset has no names.
        masks: whether there are segmentations.
        shard_size: images of a job.
        sorted_names: whether labels count the sorted class names that occur, for want of a class list.
        source: the dataset itself.
        chosen: indices of the subset in it.
    """

    images: int
    shape: tuple[int, int, int]
    labels: int
    classes: Sequence[str]
    masks: bool
    shard_size: int
    sorted_names: bool
    source: Source = field(repr=False)
    chosen: NDArray[np.int64] = field(repr=False)


def dataset_facts(study: Study, id_: str) -> DatasetFacts:
    """Index the dataset ``id_`` and read three of its images: the first, the middle and the last of the subset.

    Raises:
        VitfaithError: as the reader does; images of several sizes, or more images asked for than there are.
    """
    reader, section = study.datasets[id_]
    source = open_dataset(reader)
    chosen = stratified_subset(source.labels, section.images, study.seed)
    if not len(chosen):
        raise InputError("there are no images; look at the path and at the reader's settings")
    if source.headers is not None:
        source.headers(chosen)
    shapes = set()
    for index in sorted({0, len(chosen) // 2, len(chosen) - 1}):
        shapes.add(tuple(source.read(chosen[index : index + 1]).shape[1:]))
    if len(shapes) > 1:
        found = " and ".join("×".join(map(str, shape)) for shape in sorted(shapes))
        raise InputError(f"images of several sizes ({found}); set a preprocessing with a size")
    channels, height, width = shapes.pop()
    return DatasetFacts(
        images=len(chosen),
        shape=(int(channels), int(height), int(width)),
        labels=int(np.max(source.labels[chosen])),
        classes=source.classes,
        masks=source.masks is not None,
        shard_size=section.shard_size,
        sorted_names=bool(source.classes) and getattr(reader.parameters, "classes", ()) is None,
        source=source,
        chosen=chosen,
    )

"""COCO: pictures of a folder, objects from the JSON of instances."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from vitfaith.datasets.files.class_lists import check_unique
from vitfaith.datasets.files.coco_masks import segmentation_mask
from vitfaith.datasets.files.pictures import picture_size
from vitfaith.datasets.files.preprocessing import PictureParameters, prepare_mask
from vitfaith.datasets.files.source import source_of_files
from vitfaith.datasets.registry import DATASETS, UNLABELLED, Source
from vitfaith.errors import ArtifactError, did_you_mean
from vitfaith.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class CocoParameters(PictureParameters):
    """Where pictures and annotations are, and what counts as the object."""

    folder: Path = Field(description="folder with the pictures, such as val2017")
    annotations: Path = Field(description="JSON of instances, such as instances_val2017.json")
    categories: tuple[str, ...] | None = Field(
        None, description="names of the categories that count; default: all. Pictures without any are left out"
    )
    object: Literal["largest", "all"] = Field(
        "largest",
        description="mask: the category with the largest area in the picture (all its instances), or all that count",
    )
    label: Literal["none", "category"] = Field(
        "none",
        description="none: pictures have no label (the model's classes are others); category: index of the largest "
        "category in the order of the category ids",
    )


def _load(path: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"annotations '{path}' do not exist; give the JSON of instances") from None
    except (OSError, ValueError) as error:
        raise ArtifactError(f"annotations '{path}' cannot be read as JSON ({error}); fetch them again") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise ArtifactError(
                f"annotations '{path}' have no list '{key}'; give the JSON of instances, not of captions"
            )
    return content


def _value(item: dict[str, Any], key: str, path: Path, kind: str) -> Any:
    try:
        return item[key]
    except (KeyError, TypeError):
        raise ArtifactError(f"'{path}': {kind} {item.get('id', '?')} has no '{key}'; fetch the file again") from None


@DATASETS.register("coco", parameters=CocoParameters, citation="Lin et al. 2014, arXiv 1405.0312")
def coco(parameters: CocoParameters) -> Source:
    """COCO pictures with the masks of their objects (polygons or run lengths); crowds are ignored pixels."""
    path = parameters.annotations
    content = _load(path)
    named = {_value(c, "id", path, "category"): _value(c, "name", path, "category") for c in content["categories"]}
    order = sorted(named)
    counted = set(order)
    if parameters.categories is not None:
        for name in parameters.categories:
            if name not in named.values():
                raise ArtifactError(
                    f"'{path}' has no category '{name}'{did_you_mean(name, named.values())}; correct it"
                )
        counted = {i for i in order if named[i] in parameters.categories}
    objects: dict[Any, list[dict[str, Any]]] = {}
    for item in content["annotations"]:
        category = _value(item, "category_id", path, "annotation")
        if category not in named:
            raise ArtifactError(
                f"'{path}': annotation {item.get('id', '?')} has category {category}, which is not listed; fetch the file again"
            )
        if category in counted:
            objects.setdefault(_value(item, "image_id", path, "annotation"), []).append(item)
    chosen = []
    for image in content["images"]:
        if any(not o.get("iscrowd") for o in objects.get(_value(image, "id", path, "image"), [])):
            chosen.append(image)
    if not chosen:
        raise ArtifactError(f"'{path}': no picture has an object of the categories; name others")
    files = [parameters.folder / _value(i, "file_name", path, "image") for i in chosen]
    absent = next((f for f in files if not f.is_file()), None)
    if absent is not None:
        raise ArtifactError(f"picture '{absent}' of '{path}' does not exist; give the right folder")

    def largest(items: list[dict[str, Any]]) -> Any:
        areas: dict[Any, float] = {}
        for o in items:
            if not o.get("iscrowd"):
                areas[o["category_id"]] = areas.get(o["category_id"], 0.0) + float(
                    _value(o, "area", path, "annotation")
                )
        return max(sorted(areas), key=areas.__getitem__)

    main = [largest(objects[i["id"]]) for i in chosen]

    def mask(index: int) -> NDArray[np.int8]:
        size = picture_size(files[index], f"'{files[index]}'", parameters)
        truth = np.zeros(size[::-1], np.int8)
        # crowds first, so that objects lie over them
        for item in sorted(objects[chosen[index]["id"]], key=lambda o: not o.get("iscrowd")):
            if parameters.object == "all" or item["category_id"] == main[index]:
                try:
                    inside = segmentation_mask(_value(item, "segmentation", path, "annotation"), size[1], size[0])
                except (ValueError, TypeError) as error:
                    raise ArtifactError(
                        f"'{path}': annotation {item.get('id', '?')} holds {error}; fetch the file again"
                    ) from error
                truth[inside] = -1 if item.get("iscrowd") else 1
        return prepare_mask(truth, size, parameters, f"of '{files[index]}'")

    labels = np.full(len(chosen), UNLABELLED, np.int64)
    if parameters.label == "category":
        labels = np.array([order.index(c) for c in main], np.int64)
    ids = [str(i["file_name"]) for i in chosen]
    check_unique(ids, f"'{path}'")
    return source_of_files(
        files,
        ids,
        labels,
        parameters,
        masks=lambda indices: [mask(int(k)) for k in indices],
        classes=[named[i] for i in order] if parameters.label == "category" else (),
    )

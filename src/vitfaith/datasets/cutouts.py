"""Cut-outs with an alpha channel, composed on photographs: natural images whose object is known to the pixel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from vitfaith.datasets.files.pictures import load_picture
from vitfaith.datasets.files.walk import walk_pictures
from vitfaith.datasets.registry import DATASETS, Source
from vitfaith.errors import ArtifactError
from vitfaith.lazy import np
from vitfaith.registry import Parameters
from vitfaith.rng import derive_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image


class CutoutsParameters(Parameters):
    """Which cut-outs are composed on which photographs."""

    folder: Path = Field(description="folder of the cut-outs: pictures with an alpha channel, at any depth")
    classes: dict[str, tuple[str, ...]] = Field(
        description="class → patterns of paths below folder, as animals/birds/*.png (* also matches slashes); labels "
        "count the classes in alphabetical order",
        min_length=1,
    )
    leave_out: tuple[str, ...] = Field(
        (), description="patterns of cut-outs that belong to no class: drawings, mirrored copies"
    )
    backgrounds: Path = Field(description="folder of the photographs")
    photographs: tuple[str, ...] = Field(("*",), description="patterns of the photographs in use, below backgrounds")
    size: int = Field(ge=8, description="side of the square images in pixels")
    split: Literal["train", "test"] = Field("test", description="a cut-out is in one of the two, with all its images")
    test_share: float = Field(
        0.3, gt=0, lt=1, description="share of each class's cut-outs in the test set; not used with folds"
    )
    folds: int | None = Field(
        None,
        ge=2,
        description="split the cut-outs of each class into this many folds; each cut-out is in the test set of one fold",
    )
    fold: int | None = Field(
        None, ge=0, description="number of the test fold, from 0 to folds − 1; the other folds are for training"
    )
    per_cutout: int = Field(
        1, ge=1, description="images of each cut-out, each with its own photograph, place and scale"
    )
    scale: tuple[float, float] = Field(
        (0.5, 0.85), description="longer side of the object as a share of the image's: smallest and largest"
    )
    seed: int = Field(0, description="seed of the split and of all compositions")

    @field_validator("scale")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1] <= 1:
            raise ValueError("give two shares of the image, the smaller first, as [0.5, 0.85]")
        return value

    @model_validator(mode="after")
    def _one_of_the_folds(self) -> CutoutsParameters:
        if (self.folds is None) != (self.fold is None):
            raise ValueError("folds and fold go together: give both, as folds: 5 and fold: 0, or neither")
        if self.folds is not None and self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold}: {self.folds} folds are numbered from 0 to {self.folds - 1}")
        return self


def is_test(names: Sequence[str], share: float, seed: int) -> NDArray[np.bool_]:
    """Which cut-outs (N,) of one class are for the test: those with the lowest keyed numbers, at least one of two or more.

    Each keeps its number when others come or go, so that few change sides.
    """
    count = min(max(round(share * len(names)), 1), len(names) - 1)
    return _places(names, seed) < count


def folds_of(names: Sequence[str], folds: int, seed: int) -> NDArray[np.int64]:
    """Fold of each cut-out (N,) of one class, from 0 to ``folds`` − 1: equal parts of the order by keyed numbers.

    Sizes differ by one at most. Few change folds when others come or go.
    """
    return _places(names, seed) * folds // len(names)


def _places(names: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Place of each name (N,) in the order of their keyed numbers."""
    order = np.argsort([derive_seed(seed, name, "split") for name in names], kind="stable")
    return np.argsort(order)


def _held_out(names: Sequence[str], parameters: CutoutsParameters) -> NDArray[np.bool_]:
    """Which cut-outs (N,) of one class are for the test."""
    if parameters.folds is None:
        return is_test(names, parameters.test_share, parameters.seed)
    return folds_of(names, parameters.folds, parameters.seed) == parameters.fold


def _matching(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    return [n for n in names if any(fnmatchcase(n, p) for p in patterns)]


def _cutouts(parameters: CutoutsParameters) -> dict[str, list[str]]:
    """Class → paths of its cut-outs, both sorted."""
    folder = parameters.folder
    if not folder.is_dir():
        raise ArtifactError(f"folder of cut-outs '{folder}' does not exist; fetch them or correct the path")
    present = walk_pictures(folder)
    left_out = set(_matching(present, parameters.leave_out))
    found: dict[str, list[str]] = {}
    owner: dict[str, str] = {}
    for name in sorted(parameters.classes):
        found[name] = [n for n in _matching(present, parameters.classes[name]) if n not in left_out]
        if len(found[name]) < 2:
            raise ArtifactError(
                f"class '{name}' has {len(found[name])} cut-outs in '{folder}'; it takes two or more, one for the test"
            )
        if parameters.folds is not None and len(found[name]) < parameters.folds:
            raise ArtifactError(
                f"class '{name}' has {len(found[name])} cut-outs in '{folder}', fewer than folds: {parameters.folds}; ask for fewer folds"
            )
        for path in found[name]:
            if path in owner:
                raise ArtifactError(f"cut-out '{path}' belongs to '{owner[path]}' and '{name}'; narrow their patterns")
            owner[path] = name
    return found


def _photographs(parameters: CutoutsParameters) -> list[Path]:
    folder = parameters.backgrounds
    names = _matching(walk_pictures(folder), parameters.photographs) if folder.is_dir() else []
    if not names:
        raise ArtifactError(
            f"'{folder}' has no photograph like {', '.join(parameters.photographs)}; fetch them or correct backgrounds"
        )
    return [folder / name for name in names]


def _object(path: Path) -> Image:
    """The cut-out, mode RGBA, cropped to what is not fully transparent."""
    picture = load_picture(path, f"'{path}'")
    where = f"cut-out '{path}'"
    if not picture.has_transparency_data:
        raise ArtifactError(f"{where} has no alpha channel; name it in leave_out")
    picture = picture.convert("RGBA")
    alpha = np.asarray(picture)[..., 3]
    if alpha.min() >= 128 or alpha.max() < 128:
        kind = "no transparent" if alpha.min() >= 128 else "only transparent"
        raise ArtifactError(f"{where} has {kind} pixels, so no outline; name it in leave_out")
    return picture.crop(picture.getchannel("A").getbbox())


def compose(
    cutout: Image, photograph: Image, size: int, scale: tuple[float, float], key: int
) -> tuple[Image, NDArray[np.bool_]]:
    """A cut-out on a square of a photograph.

    Args:
        cutout: mode RGBA, without an empty margin.
        photograph: mode RGB.
        size: side of the image.
        scale: range of the longer side of the object, as a share of ``size``.
        key: seed of the square, the flip, the scale and the place, all uniform.

    Returns:
        The image (mode RGB), and the mask (size, size) of the pixels that the object covers by half or more.
    """
    from PIL import Image, ImageOps

    rng = np.random.default_rng(key)
    side = round(rng.uniform(0.4, 1.0) * min(photograph.size))
    left, upper = (int(rng.integers(0, extent - side + 1)) for extent in photograph.size)
    square = photograph.resize((size, size), Image.Resampling.BICUBIC, box=(left, upper, left + side, upper + side))
    if rng.random() < 0.5:
        square = ImageOps.mirror(square)
    if rng.random() < 0.5:
        cutout = ImageOps.mirror(cutout)
    factor = rng.uniform(*scale) * size / max(cutout.size)
    width, height = (max(1, round(extent * factor)) for extent in cutout.size)
    cutout = cutout.resize((width, height), Image.Resampling.BICUBIC)  # Pillow weights colours by alpha
    place = int(rng.integers(0, size - width + 1)), int(rng.integers(0, size - height + 1))
    square.paste(cutout, place, cutout)
    mask = np.zeros((size, size), bool)
    mask[place[1] : place[1] + height, place[0] : place[0] + width] = np.asarray(cutout)[..., 3] >= 128
    return square, mask


@DATASETS.register("cutouts", parameters=CutoutsParameters)
def cutouts(parameters: CutoutsParameters) -> Source:
    """Cut-outs composed on photographs; the alpha channel is the mask, train and test share no cut-out."""
    found, photographs = _cutouts(parameters), _photographs(parameters)
    names: list[str] = []
    labels: list[int] = []
    for label, members in enumerate(found.values()):
        test = _held_out(members, parameters)
        for name, for_test in zip(members, test, strict=True):
            if for_test == (parameters.split == "test"):
                names += [name] * parameters.per_cutout
                labels += [label] * parameters.per_cutout
    ids = [f"{name}#{i % parameters.per_cutout}" for i, name in enumerate(names)]

    @lru_cache(maxsize=4)
    def photograph(index: int) -> Image:
        path = photographs[index]
        return load_picture(path, f"'{path}'").convert("RGB")

    def composed(index: int) -> tuple[Image, NDArray[np.bool_]]:
        image_id = ids[index]
        which = derive_seed(parameters.seed, image_id, "photograph") % len(photographs)
        key = derive_seed(parameters.seed, image_id, "compose")
        return compose(
            _object(parameters.folder / names[index]), photograph(which), parameters.size, parameters.scale, key
        )

    def read(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.stack([np.asarray(composed(int(i))[0]).transpose(2, 0, 1) for i in indices])

    def masks(indices: NDArray[np.int64]) -> list[NDArray[Any]]:
        return [composed(int(i))[1] for i in indices]

    clusters = names if parameters.per_cutout > 1 else None  # images of one cut-out are not independent
    return Source(ids, np.array(labels, np.int64), read, masks, list(found), clusters=clusters)

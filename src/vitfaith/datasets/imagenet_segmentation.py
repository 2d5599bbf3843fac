"""ImageNet-segmentation (Guillaumin, Küttel & Ferrari): the HDF5 file that Chefer et al. and its followers evaluate on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from vitfaith.datasets.files.pictures import stack_images
from vitfaith.datasets.files.preprocessing import PictureParameters, prepare_image, prepare_mask
from vitfaith.datasets.registry import DATASETS, UNLABELLED, Source
from vitfaith.errors import ArtifactError
from vitfaith.lazy import np

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray
    from PIL.Image import Image


_DAMAGED = (
    OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError, AttributeError, OverflowError, MemoryError,
)  # fmt: skip
"""Exceptions of h5py for damaged files."""


class ImagenetSegmentationParameters(PictureParameters):
    """Where the file is."""

    path: Path = Field(description="gtsegs_ijcv.mat (MATLAB 7.3, which is HDF5), 4,276 images with masks")


def _open(path: Path) -> h5py.File:
    import h5py

    if not path.is_file():
        raise ArtifactError(f"'{path}' does not exist; give the file gtsegs_ijcv.mat")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ArtifactError(f"'{path}' is damaged or no MATLAB 7.3 file ({error}); fetch it again") from error


def _picture(file: h5py.File, index: int, settings: PictureParameters, where: str) -> Image:
    from PIL import Image

    pixels = np.asarray(file[file["/value/img"][index, 0]])  # MATLAB's order: channel, column, row
    if pixels.ndim != 3 or pixels.shape[0] != 3 or pixels.dtype != np.uint8:
        raise ArtifactError(
            f"{where}: {pixels.dtype} of shape {pixels.shape}; they are uint8 of shape (3, W, H) in gtsegs_ijcv.mat"
        )
    picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(2, 1, 0)))
    return picture.convert("RGB" if settings.channels == "rgb" else "L")


def _mask(file: h5py.File, index: int, where: str) -> NDArray[Any]:
    # the cell of an image holds a cell of masks, of which there is one
    mask = np.asarray(file[file[file["/value/gt"][index, 0]][0, 0]])
    if mask.ndim != 2 or not np.isin(mask, (0, 1)).all():
        raise ArtifactError(
            f"{where}: mask of shape {mask.shape}, values {np.unique(mask)[:4]}; they are 0 and 1 in gtsegs_ijcv.mat"
        )
    return mask.T


@DATASETS.register(
    "imagenet_segmentation",
    parameters=ImagenetSegmentationParameters,
    citation="Guillaumin, Küttel & Ferrari 2014, IJCV 110; protocol of Chefer et al. 2021, arXiv 2012.09838",
)
def imagenet_segmentation(parameters: ImagenetSegmentationParameters) -> Source:
    """ImageNet pictures with a mask of the object; images have no label here, as in the published evaluations."""
    path = parameters.path
    try:
        with _open(path) as file:
            for key in ("img", "gt"):
                if f"/value/{key}" not in file:
                    raise ArtifactError(f"'{path}' has no '/value/{key}'; give the file gtsegs_ijcv.mat")
            sizes = [tuple(file[f"/value/{key}"].shape) for key in ("img", "gt")]
    except _DAMAGED as error:
        raise ArtifactError(f"'{path}' is damaged ({error}); fetch it again") from error
    count = sizes[0][0] if sizes[0] else 0
    if sizes[0] != sizes[1] or not 0 < count <= path.stat().st_size:
        raise ArtifactError(f"'{path}': '/value/img' is {sizes[0]}, '/value/gt' {sizes[1]}; fetch it again")

    def each(indices: NDArray[np.int64]) -> Iterator[tuple[Image, NDArray[Any], str]]:
        with _open(path) as file:
            for index in map(int, indices):
                where = f"image {index} of '{path}'"
                try:
                    item = _picture(file, index, parameters, where), _mask(file, index, where)
                except _DAMAGED as error:
                    raise ArtifactError(f"{where} is damaged ({error}); fetch the file again") from error
                yield *item, where

    ids = [f"gtsegs-{i:04d}" for i in range(count)]
    return Source(
        ids,
        np.full(count, UNLABELLED, np.int64),
        lambda i: stack_images((prepare_image(picture, parameters), where) for picture, _, where in each(i)),
        lambda i: [prepare_mask(mask, picture.size, parameters, f"of {where}") for picture, mask, where in each(i)],
    )

"""Images of one size that are stored as raw pixels: as they are, or enlarged by a named preprocessing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.datasets.files.preprocessing import ArrayParameters, prepare_image
from vitfaith.errors import ArtifactError
from vitfaith.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def prepare_arrays(images: NDArray[np.uint8], settings: ArrayParameters, where: str) -> NDArray[np.uint8]:
    """Images (n, C, H, W) uint8 with C 1 or 3, in the channels and size that the settings name.

    Raises:
        ArtifactError: another number of channels.
    """
    from PIL import Image

    if images.shape[1] not in (1, 3):
        raise ArtifactError(
            f"{where}: images have {images.shape[1]} channels; write grey ones with 1, colour ones with 3"
        )
    grey = settings.channels == "grey"
    if settings.preprocessing == "none" and grey == (images.shape[1] == 1):
        return images
    pictures = (Image.fromarray(i[0] if len(i) == 1 else i.transpose(1, 2, 0)) for i in images)
    return np.stack([prepare_image(p.convert("L" if grey else "RGB"), settings) for p in pictures])

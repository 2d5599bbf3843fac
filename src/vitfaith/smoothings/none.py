"""No smoothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vitfaith.registry import Parameters
from vitfaith.smoothings.registry import SMOOTHINGS

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.denoisers.denoiser import Denoiser


@SMOOTHINGS.register("none")
def none(
    denoiser: Denoiser | None,
    images: Tensor,
    image_ids: Sequence[str],
    parameters: Parameters,
    samples: range,
    *,
    seed: int,
    batch_size: int,
) -> Tensor:
    """No smoothing: the image itself."""
    return images[:, None].expand(-1, len(samples), -1, -1, -1)

"""Noisy copies of the images of a check, and the rows that a check writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from vitfaith.lazy import pa
from vitfaith.rng import normal, uniform
from vitfaith.transfer import upload

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.sanity.registry import Subject


def uniform_copies(subject: Subject, *, radius: float, samples: int, clip: bool) -> Iterator[tuple[Tensor, float]]:
    """``samples`` copies (B, C, H, W) with noise U(−radius, radius), and the distance by which each may leave [0, 1].

    The draws are keyed by (seed, image_id): the same for every check and batch.
    """
    images = subject.images
    for sample in range(samples):
        draw = uniform(subject.seed, subject.image_ids, "sensitivity", images.shape[1:], sample)
        noise = upload(draw, images.device)
        noisy = images + (2 * noise - 1) * radius
        yield (noisy.clamp(0, 1), 0.0) if clip else (noisy, radius)


def normal_copies(subject: Subject, *, noise: float, samples: int) -> Iterator[tuple[Tensor, float]]:
    """``samples`` copies with normal noise of deviation ``noise`` · (max x − min x) of each image, not clipped.

    Each comes with the distance by which it leaves [0, 1].
    """
    images = subject.images
    spread = (images.amax((1, 2, 3)) - images.amin((1, 2, 3))).view(-1, 1, 1, 1)
    for sample in range(samples):
        draw = normal(subject.seed, subject.image_ids, "smooth-randomisation", images.shape[1:], sample)
        noisy = images + noise * spread * upload(draw, images.device)
        yield noisy, float((noisy - noisy.clamp(0, 1)).abs().max()) if len(noisy) else 0.0


def check_rows(
    subject: Subject, method: str, reference: str, metric: str, values: Tensor, flags: Sequence[str], step: int = 0
) -> pa.Table:
    """The columns of the schema SANITY except ``check``, for one number per image (B,), NaN where it has a flag."""
    from vitfaith.artifacts.schemas import SANITY

    count = len(subject.image_ids)
    columns = {
        "image_id": list(subject.image_ids),
        "method": [method] * count,
        "reference": [reference] * count,
        "step": pa.array([step] * count, pa.int16()),
        "metric": [metric] * count,
        "variant": [""] * count,
        "value": values.tolist(),
        "flag": list(flags),
    }
    return pa.table(columns, schema=pa.schema([field for field in SANITY if field.name != "check"]))

"""Number of forward passes that metrics cost, counted without running the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from vitfaith.metrics.context import Response, ScoreContext, Segment
from vitfaith.metrics.engine.engine import RESPONSE_FIELDS, Engine


@dataclass(frozen=True)
class Cost:
    """Forward passes of a set of metrics.

    Attributes:
        per_image: passes per image, whatever the number of maps (clean and fully removed images, shared masks).
        per_map: passes per map of an image.
    """

    per_image: int
    per_map: int


class Asks(Protocol):
    """A metric, or any object that sends requests to the engine."""

    def requests(self, context: ScoreContext) -> Sequence[Any]:
        """The images that the model must see."""


class _Counter(Engine):
    """Answers every request with NaN and counts its images."""

    def answer(self, requests: Iterable[Any]) -> dict[object, Response]:
        """Responses without a network, so no network is prepared."""
        wanted = list(dict.fromkeys(requests))
        return self._answer(wanted) if wanted else {}

    def _run(self, segments: Sequence[Segment]) -> list[Response]:
        answers = []
        for segment in segments:
            self.forwards += len(segment)
            columns = {name: torch.full((len(segment),), torch.nan, dtype=torch.float64) for name in RESPONSE_FIELDS}
            answers.append(Response(**{**columns, "prediction": torch.full((len(segment),), -1)}))
        return answers


def cloudy_image(size: tuple[int, int], channels: int) -> torch.Tensor:
    """A smooth random image (1, channels, height, width) in [0, 1]."""
    clouds = torch.rand(1, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(clouds, size, mode="bilinear")


def forward_cost(
    metrics: Iterable[Asks],
    grid: tuple[int, int],
    size: tuple[int, int],
    channels: int = 3,
    extras: Mapping[str, Any] | None = None,
) -> Cost:
    """Forward passes of all ``metrics`` together, for maps on ``grid`` of images of ``size`` (height, width).

    Superpixels are counted on a smooth random image; their number differs a little between images. If K does not divide the
    number of features, curves share up to two of the unequal groups, depending on the image's random draw; one draw is
    counted. ``extras`` are inputs of fills; they are not called.
    """
    chosen = list(metrics)
    generator = torch.Generator().manual_seed(0)
    images = cloudy_image(size, channels)
    maps = torch.rand(1, 2, *grid, generator=generator)

    def count(number: int) -> int:
        usable = torch.ones(1, number, dtype=torch.bool)
        classifier = torch.nn.Identity().eval()
        context = ScoreContext(
            classifier,  # type: ignore[arg-type]  # only asked whether it is in training mode
            images,
            torch.zeros(1, dtype=torch.int64),
            ("image",),
            tuple("ab"[:number]),
            maps[:, :number],
            usable,
            labels=torch.zeros(1, dtype=torch.int64),
            extras=dict(extras or {}),
        )
        counter = _Counter(context, 1)
        counter.answer(request for metric in chosen for request in metric.requests(context))
        return counter.forwards

    one, two = count(1), count(2)
    return Cost(per_image=2 * one - two, per_map=two - one)

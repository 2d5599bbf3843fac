"""The input of a metric: the maps of a batch with their images, and the model's responses to perturbed images."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from vitfaith.models.patches import Patches, find_patches

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.models.classifier import Classifier


@dataclass(frozen=True)
class ScoreContext:
    """One batch of images with the maps of all methods: everything that a metric may read.

    Attributes:
        classifier: frozen model in evaluation mode; only the engine calls it, never a metric.
        images: (B, C, H, W) float32 in [0, 1], on the classifier's device.
        targets: (B,) int64, the explained class.
        image_ids: B names; with ``seed`` they key every random number.
        methods: M names, the order of axis 1 of ``maps``.
        maps: (B, M, rows, columns) float32 on the patch grid; unusable maps are all zero here.
        usable: (B, M) bool, on the same device; False where the map is flagged. Values there are replaced by NaN and need not be computed.
        seed: the study's seed.
        labels: (B,) int64 ground-truth classes, or None.
        truth: (B, H, W) ground-truth segmentation (1 object, 0 background, −1 ignored), or None.
        extras: further inputs by name (stored responses, in-fill images …).
        pixel_maps: (B, M, H, W) if some method gave its maps per pixel, else None. ``maps`` then holds sums over patches
            for that method; here other methods' maps are upsampled.
    """

    classifier: Classifier
    images: Tensor
    targets: Tensor
    image_ids: Sequence[str]
    methods: Sequence[str]
    maps: Tensor
    usable: Tensor
    seed: int = 0
    labels: Tensor | None = None
    truth: Tensor | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)
    pixel_maps: Tensor | None = None

    @cached_property
    def saliences(self) -> dict[object, Tensor]:
        """Results of :func:`vitfaith.metrics.engine.salience.map_salience` so far, shared by all readers."""
        return {}

    @cached_property
    def rankings(self) -> dict[Hashable, Any]:
        """Results of :func:`vitfaith.metrics.engine.ranking.ranking_of` so far, shared by all readers."""
        return {}

    @cached_property
    def patches(self) -> Patches:
        """Positions of the maps' cells: the model's patches, or for maps on another grid equal cells of the image."""
        height, width, rows, columns = *self.images.shape[2:], *self.maps.shape[2:]
        found = find_patches(getattr(self.classifier, "backbone", self.classifier), (height, width))
        return found if found and found.grid == (rows, columns) else Patches.even((rows, columns), (height, width))

    @property
    def fine_maps(self) -> Tensor:
        """The maps for units smaller than a patch: ``pixel_maps``, or ``maps``; ``patches.upsample`` takes both."""
        return self.maps if self.pixel_maps is None else self.pixel_maps


@dataclass(frozen=True)
class Response:
    """The model's responses to a set of images; all fields have the shape of that set.

    Shapes: (B, M, S) for requests along a ranking, (B,) for ``Clean`` and ``Full``, (N,) in the segment's order for
    other requests. NaN (−1 in ``prediction``) where a map is flagged or a row is padding.

    Attributes:
        logit: float64, logit of the target class.
        probability: float64, probability of the target class.
        log_probability: float64, computed from the logits, so finite where the probability underflows.
        kl: float64 ≥ 0, KL(clean distribution ‖ this one), nats.
        prediction: int64, arg-max class.
        fraction: float64 (B, S), share of the features replaced; requests along a ranking only.
    """

    logit: Tensor
    probability: Tensor
    log_probability: Tensor
    kl: Tensor
    prediction: Tensor
    fraction: Tensor | None = None


@runtime_checkable
class Segment(Protocol):
    """N perturbed images, built in pieces on the device when their batch is due."""

    def __len__(self) -> int:
        """Number of images N."""

    def image_index(self, start: int, stop: int) -> Tensor:
        """(stop − start,) int64 on the device: index of the original image in the context."""

    def build(self, start: int, stop: int) -> Tensor:
        """(stop − start, C, H, W) float32 in pixel units, on the device; row i depends only on job ``start + i``."""


class Request(Hashable, Protocol):
    """Hashable description of a set of images; equal requests are answered once."""

    def segment(self, context: ScoreContext) -> Segment:
        """The images, in a fixed order."""


class Answers(Protocol):
    """The responses, looked up by request."""

    def __getitem__(self, request: Any) -> Response:
        """Response to a request that the metric named in :meth:`Metric.requests`."""

"""How a metric is registered, what it may ask of the model, and what it gets.

A metric is a class in any module of this package (modules are imported automatically)::

    @metric("my_metric", direction="higher", citation="Author, Year", parameters=MyParameters)
    class MyMetric(Metric[MyParameters]):
        \"\"\"One line that the listings show.\"\"\"

        def requests(self, context):                      # which perturbed images the model must see
            return [Curve("morf", Grid(steps=10), Features("patch"), self.parameters.filling)]

        def read(self, context, responses):               # (B, M) float64 for each read-out
            curve = responses[self.requests(context)[0]]  # Response with fields (B, M, S)
            return {"": curve.probability.mean(-1)}

``vitfaith.score.plan`` has the requests along a ranking (``Curve``, ``Groups``) and the shared ends (``Clean``,
``Full``). Requests are hashable: equal ones of different metrics are answered once, and requests along a ranking share
every single image that they have in common. Any other set of images (random subsets, soft masks, noise) is a request
class of its own with a method ``segment(context)``; see :class:`Segment`.

Metrics never call the model themselves. All forwards go through the engine, which packs them into full batches,
counts them, and halves the batch when memory runs out.

This module and every module of the package import without torch (``vitfaith.lazy``).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar, runtime_checkable

from vitfaith.registry import Parameters
from vitfaith.score.registry import METRICS

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.bank.masks import BankRequest
    from vitfaith.models.classifier import Classifier
    from vitfaith.models.patches import Patches
    from vitfaith.score.plan import Features
    from vitfaith.score.ranking import Ranking

Direction = Literal["higher", "lower", "none"]
Need = Literal["labels", "truth"]


@dataclass(frozen=True)
class ScoreContext:
    """One batch of images with the maps of all methods: everything a metric may look at.

    Attributes:
        classifier: frozen model in evaluation mode; metrics do not call it, the engine does.
        images: (B, C, H, W) float32 in [0, 1], on the classifier's device.
        targets: (B,) int64, the explained class.
        image_ids: B names; with ``seed`` they key every random number.
        methods: M names, the order of axis 1 of ``maps``.
        maps: (B, M, rows, columns) float32 on the patch grid; unusable maps are all zero here.
        usable: (B, M) bool; False where the map is flagged. Values there are replaced by NaN and need not be computed.
        seed: the study's seed.
        labels: (B,) int64 ground-truth classes, or None.
        truth: (B, H, W) ground-truth segmentation (1 object, 0 background, −1 ignored), or None.
        extras: further inputs by name (stored responses, in-fill images …).
        pixel_maps: (B, M, H, W) where a method gave its maps for each pixel (``maps`` then holds their sums over
            patches, and other methods' maps are upsampled here), else None.
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
        """What :func:`vitfaith.score.saco.map_salience` found so far, for all that read it."""
        return {}

    @cached_property
    def rankings(self) -> dict[Features, Ranking]:
        """What :func:`vitfaith.score.ranking.ranking_of` found so far, for all that read it."""
        return {}

    @cached_property
    def patches(self) -> Patches:
        """Where the maps' cells lie: the model's patches, or cells that share the image where maps have another grid."""
        from vitfaith.models.patches import Patches, find_patches

        height, width, rows, columns = *self.images.shape[2:], *self.maps.shape[2:]
        found = find_patches(getattr(self.classifier, "backbone", self.classifier), (height, width))
        return found if found and found.grid == (rows, columns) else Patches.even((rows, columns), (height, width))

    @property
    def fine_maps(self) -> Tensor:
        """The maps for what is smaller than a patch: ``pixel_maps``, or ``maps``; ``patches.upsample`` takes both."""
        return self.maps if self.pixel_maps is None else self.pixel_maps


@dataclass(frozen=True)
class Response:
    """What the model answered to a set of images; all fields have the shape of that set.

    Shapes: (B, M, S) for requests along a ranking, (B,) for ``Clean`` and ``Full``, (N,) in the segment's order for
    other requests. NaN (−1 in ``prediction``) where a map is flagged or a row is padding.

    Attributes:
        logit: float64, of the target class.
        probability: float64, of the target class.
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
    """N perturbed images, built piece by piece on the device when their batch is due."""

    def __len__(self) -> int:
        """Number of images N."""

    def image_index(self, start: int, stop: int) -> Tensor:
        """(stop − start,) int64 on the device: which image of the context each one was made from."""

    def build(self, start: int, stop: int) -> Tensor:
        """(stop − start, C, H, W) float32 in pixel units, on the device; row i depends on job ``start + i`` alone."""


class Request(Hashable, Protocol):
    """Hashable description of a set of images; equal requests are answered once."""

    def segment(self, context: ScoreContext) -> Segment:
        """The images, in a fixed order."""


class Answers(Protocol):
    """The responses, looked up by request."""

    def __getitem__(self, request: Any) -> Response:
        """Response to a request that the metric named in :meth:`Metric.requests`."""


P = TypeVar("P", bound=Parameters)


class Metric(Generic[P]):
    """A metric with its parameters; subclasses define :meth:`read` and, where they need the model, :meth:`requests`."""

    parameters: P
    needs: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, parameters: P) -> None:
        """Keep ``parameters``, an instance of the model that was registered with the metric."""
        self.parameters = parameters

    @property
    def scale_dependent(self) -> bool:
        """Whether a positive affine change of the map (a·map + b, a > 0) changes the value; default: it does not.

        Behind a smoothing such a metric reads the mean of the raw maps, every other one the mean of the maps that were
        scaled to [0, 1] each.
        """
        return False

    def requests(self, context: ScoreContext) -> Sequence[Any]:
        """The images that the model must see (default none).

        Raises:
            InputError: the parameters do not fit the maps (more groups than features …).
        """
        return ()

    def banked(self) -> Sequence[BankRequest]:
        """Masks that no map has a part in, which the stage ``bank`` evaluates once for all explainers (default none)."""
        return ()

    def read(self, context: ScoreContext, responses: Answers) -> Mapping[str, Tensor | tuple[Tensor, Any]]:
        """Values by variant ("" where there is one read-out).

        Each value is (B, M) float; row i must not depend on other rows. NaN values are flagged "undefined" unless
        given as a pair (values, flags) with flags a (B, M) nested sequence of strings ("" = none). Unusable maps need
        no care: they become NaN with their own flag.
        """
        raise NotImplementedError


M = TypeVar("M", bound=type[Metric])


def metric(
    name: str,
    *,
    direction: Direction,
    citation: str,
    formula: str = "",
    value_range: str = "",
    parameters: type[Parameters] = Parameters,
    needs: tuple[Need, ...] = (),
    **traits: Any,
) -> Callable[[M], M]:
    """Register a :class:`Metric` class under ``name``.

    Args:
        direction: whether "higher" or "lower" values are better ("none": a diagnostic).
        formula, value_range: for the page of metrics, in its notation.
        needs: inputs besides the maps; a study without them gets an error that names them.
        traits: anything else the listings should show.
    """

    def enter(implementation: M) -> M:
        implementation.needs = frozenset(needs)
        METRICS.register(
            name,
            parameters=parameters,
            citation=citation,
            direction=direction,
            formula=formula,
            value_range=value_range,
            needs=frozenset(needs),
            **traits,
        )(implementation)
        return implementation

    return enter

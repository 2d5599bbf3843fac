"""Registration of metrics: the requests that a metric makes to the model, and the responses that it gets.

A metric is a class in any module of this package (modules are imported automatically)::

    from pydantic import Field

    from vitfaith.metrics.engine.requests import Curve, EqualSteps, Features
    from vitfaith.metrics.fills.registry import Fill
    from vitfaith.metrics.registry import Metric, metric
    from vitfaith.registry import Parameters

    class MyParameters(Parameters):
        fill: Fill = Field("image_mean", validate_default=True, description="replacement of removed pixels")

    @metric("my_metric", direction="lower", citation="Author, Year", parameters=MyParameters)
    class MyMetric(Metric[MyParameters]):
        \"\"\"One line that the listings show.\"\"\"

        def requests(self, context):                      # the perturbed images that the model must see
            return [Curve("morf", Features("patch"), self.parameters.fill, EqualSteps(4))]

        def read(self, context, responses):               # (B, M) float64 for each read-out
            curve = responses[self.requests(context)[0]]  # Response with fields (B, M, S)
            return {"": curve.probability[..., 1:].mean(-1)}

The page docs/extend.md has complete plugins of every kind. A metric that reads one number from removal curves is a row of a table instead, see :class:`vitfaith.metrics.common.ReadOut`.

``vitfaith.metrics.engine.requests`` has the requests along a ranking (``Curve``, ``Groups``) and for the ends that all rankings share: the clean
image (``Clean``) and the fully replaced one (``Full``). Requests are hashable. Equal requests of different metrics run once, and requests along a ranking share
every image that they have in common. Any other set of images (random subsets, soft masks, noise) needs its own request
class with a method ``segment(context)``; see :class:`vitfaith.metrics.context.Segment`.

Metrics never call the model themselves. All forwards go through the engine, which packs them into full batches,
counts them, and halves the batch when memory runs out.

This module and every module of the package import without torch (``vitfaith.lazy``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, get_args

from vitfaith.metrics.context import Answers, ScoreContext
from vitfaith.registry import Direction, Parameters, Registry

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.metrics.bank.masks import BankRequest
    from vitfaith.metrics.engine.requests import Curve, Groups

Need = Literal["labels", "truth"]

METRICS: Registry = Registry("metric", direction=get_args(Direction), needs=get_args(Need))
"""Entries carry the trait ``direction``: "higher" or "lower" is better."""


P = TypeVar("P", bound=Parameters)

ONE_VALUE = ("",)
"""Variants of a metric or measure that has one value."""


class Metric(Generic[P]):
    """A metric with its parameters; subclasses define :meth:`read` and, where they need the model, :meth:`requests`."""

    parameters: P
    needs: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, parameters: P) -> None:
        """Keep ``parameters``, an instance of the model that was registered with the metric."""
        self.parameters = parameters

    @property
    def scale_dependent(self) -> bool:
        """Whether a positive affine change of the map (a·map + b, a > 0) changes the value; by default it does not.

        Behind a smoothing, scale-dependent metrics read the mean of the raw maps; all others read the mean of maps that
        were each scaled to [0, 1].
        """
        return False

    @property
    def variants(self) -> tuple[str, ...] | None:
        """Names of the values of :meth:`read`, from the parameters alone; None (default): not known before it runs.

        A study is refused if a figure asks for another variant, or does not say which of several it shows. A metric that
        defines them also defines :meth:`curves`, if it has any.
        """
        return None

    @property
    def summary_variants(self) -> tuple[str, ...] | None:
        """The same in the table ``summary``; others only for a metric with one score per dataset (trait ``pooled``)."""
        return self.variants

    def curves(self) -> Sequence[Curve | Groups]:
        """The requests along a ranking, from the parameters alone (default none); see :attr:`variants`."""
        return ()

    def requests(self, context: ScoreContext) -> Sequence[Any]:
        """The images that the model must see (default none).

        Raises:
            InputError: the parameters do not fit the maps (more groups than features …).
        """
        return ()

    def banked(self) -> Sequence[BankRequest]:
        """Masks that do not depend on maps; the stage ``bank`` evaluates them once for all explainers (default none)."""
        return ()

    def read(self, context: ScoreContext, responses: Answers) -> Mapping[str, Tensor | tuple[Tensor, Any]]:
        """Values by variant ("" if there is only one).

        Each value is (B, M) float; row i must not depend on other rows. NaN values are flagged "undefined" unless
        given as a pair (values, flags) with flags a (B, M) nested sequence of strings ("" = none). Unusable maps need
        no handling: they become NaN with their own flag.
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
        formula, value_range: for the page of metrics, in that page's notation.
        needs: inputs besides the maps; a study without these inputs gets an error that names them.
        traits: anything else for the listings.
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

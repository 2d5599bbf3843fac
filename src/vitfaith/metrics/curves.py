"""Read-outs of the two removal curves: most relevant first (MoRF) and least relevant first (LeRF)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from vitfaith.metrics.common import (
    CurveMetric,
    CurveParameters,
    LabelledParameters,
    correct,
    reference_classes,
    shares_of,
)
from vitfaith.metrics.context import Response, ScoreContext
from vitfaith.metrics.engine.requests import Order
from vitfaith.metrics.registry import metric

if TYPE_CHECKING:
    from torch import Tensor

RISE = "Petsiuk et al., RISE, BMVC 2018"
SACO = "Wu et al., On the Faithfulness of Vision Transformer Explanations, CVPR 2024"


@metric(
    "deletion_auc",
    formula="∫ p(φ) dφ, MoRF",
    value_range="[0, 1]",
    direction="lower",
    citation=RISE,
    parameters=CurveParameters,
)
class DeletionAuc(CurveMetric[CurveParameters]):
    """Area under the target's probability while the most relevant features are removed first."""

    orders: ClassVar[tuple[Order, ...]] = ("morf",)

    def score(self, context: ScoreContext, *curves: Response) -> Tensor:
        """Trapezoids over the removed fraction, 0 to 1."""
        from vitfaith.metrics.engine.curves import area

        return area(curves[0].probability, shares_of(curves[0]))


@metric(
    "insertion_auc",
    formula="∫ p(φ) dφ, LeRF",
    value_range="[0, 1]",
    direction="higher",
    citation=RISE,
    parameters=CurveParameters,
)
class InsertionAuc(CurveMetric[CurveParameters]):
    """Area under the target's probability while the most relevant features are restored first.

    Read from the LeRF curve: what is left after removing the c least relevant features is what insertion of the other
    P − c shows. The restored fractions are therefore 1 − ⌊iP/S⌋/P.
    """

    orders: ClassVar[tuple[Order, ...]] = ("lerf",)

    def score(self, context: ScoreContext, *curves: Response) -> Tensor:
        """Trapezoids over the restored fraction, 0 to 1."""
        from vitfaith.metrics.engine.curves import area

        return area(curves[0].probability, shares_of(curves[0]))


@metric(
    "abpc",
    formula="∫ p(φ) dφ of LeRF − the same of MoRF",
    value_range="[−1, 1]",
    direction="higher",
    citation="Li et al., M4, NeurIPS 2023",
    parameters=CurveParameters,
)
class AreaBetween(CurveMetric[CurveParameters]):
    """Area between the LeRF and the MoRF curve of the target's probability."""

    orders: ClassVar[tuple[Order, ...]] = ("morf", "lerf")

    def score(self, context: ScoreContext, *curves: Response) -> Tensor:
        """Area of LeRF − area of MoRF."""
        from vitfaith.metrics.engine.curves import area

        morf, lerf = curves
        return area(lerf.probability, shares_of(lerf)) - area(morf.probability, shares_of(morf))


@metric(
    "aopc",
    formula="mean over k ≥ 1 of p(0) − p(k), MoRF",
    value_range="[−1, 1]",
    direction="higher",
    citation=SACO,
    parameters=CurveParameters,
)
class Aopc(CurveMetric[CurveParameters]):
    """Mean fall of the target's probability over the steps, most relevant features removed first.

    The mean is over k = 1 … S, the last of which removes everything. Samek et al. divide by S + 1 instead; see
    ``region_perturbation``. AttCAT's code takes the absolute value of each fall; this keeps the sign.
    """

    orders: ClassVar[tuple[Order, ...]] = ("morf",)

    def score(self, context: ScoreContext, *curves: Response) -> Tensor:
        """mean_k p(x) − p(x_k)."""
        from vitfaith.metrics.engine.curves import aopc

        return aopc(curves[0].probability, shares_of(curves[0]))


@metric(
    "log_odds",
    formula="mean over k ≥ 1 of log p(k) − log p(0), MoRF",
    value_range="(−∞, ∞)",
    direction="lower",
    citation=SACO,
    parameters=CurveParameters,
)
class LogOdds(CurveMetric[CurveParameters]):
    """Mean of log p(x_k)/p(x) over the steps, most relevant features removed first."""

    orders: ClassVar[tuple[Order, ...]] = ("morf",)

    def score(self, context: ScoreContext, *curves: Response) -> Tensor:
        """mean_k log p(x_k) − log p(x), probabilities at least 1e-12."""
        from vitfaith.metrics.engine.curves import log_odds

        return log_odds(curves[0].log_probability, shares_of(curves[0]))


@metric(
    "comprehensiveness_saco",
    formula="mean over k ≥ 1 of p(0) − p(k), LeRF",
    value_range="[−1, 1]",
    direction="lower",
    citation=SACO,
    parameters=CurveParameters,
)
class ComprehensivenessSaco(CurveMetric[CurveParameters]):
    """What the paper of SaCo calls comprehensiveness: AOPC with the least relevant features removed first.

    ERASER, which coined the word, removes the most relevant ones; see ``comprehensiveness`` and ``sufficiency``.
    """

    orders: ClassVar[tuple[Order, ...]] = ("lerf",)

    def score(self, context: ScoreContext, *curves: Response) -> Tensor:
        """mean_k p(x) − p(x_k)."""
        from vitfaith.metrics.engine.curves import aopc

        return aopc(curves[0].probability, shares_of(curves[0]))


@metric(
    "morf_mean",
    formula="mean over k ≥ 1 of p(k), MoRF",
    value_range="[0, 1]",
    direction="lower",
    citation="Samek et al., TNNLS 2017",
    parameters=CurveParameters,
)
class MorfMean(CurveMetric[CurveParameters]):
    """Mean target probability over the steps, most relevant features removed first."""

    orders: ClassVar[tuple[Order, ...]] = ("morf",)

    def score(self, context: ScoreContext, *curves: Response) -> Tensor:
        """mean_k p(x_k), k ≥ 1."""
        from vitfaith.metrics.engine.curves import mean_after_start

        return mean_after_start(curves[0].probability, shares_of(curves[0]))


@metric(
    "lerf_mean",
    formula="mean over k ≥ 1 of p(k), LeRF",
    value_range="[0, 1]",
    direction="higher",
    citation="Samek et al., TNNLS 2017",
    parameters=CurveParameters,
)
class LerfMean(MorfMean):
    """Mean target probability over the steps, least relevant features removed first."""

    orders: ClassVar[tuple[Order, ...]] = ("lerf",)


@metric(
    "kl_auc_morf",
    formula="∫ KL(clean ‖ at φ) dφ, MoRF",
    value_range="[0, ∞) nats",
    direction="higher",
    citation="Nalmpantis et al., Vision DiffMask",
    parameters=CurveParameters,
)
class KlMorf(CurveMetric[CurveParameters]):
    """Area under KL(clean ‖ perturbed) between the class distributions, most relevant features removed first."""

    orders: ClassVar[tuple[Order, ...]] = ("morf",)

    def score(self, context: ScoreContext, *curves: Response) -> Tensor:
        """Trapezoids over the removed fraction, in nats."""
        from vitfaith.metrics.engine.curves import area

        return area(curves[0].kl, shares_of(curves[0]))


@metric(
    "kl_auc_lerf",
    formula="∫ KL(clean ‖ at φ) dφ, LeRF",
    value_range="[0, ∞) nats",
    direction="lower",
    citation="Nalmpantis et al., Vision DiffMask",
    parameters=CurveParameters,
)
class KlLerf(KlMorf):
    """Area under KL(clean ‖ perturbed) between the class distributions, least relevant features removed first."""

    orders: ClassVar[tuple[Order, ...]] = ("lerf",)


class AccuracyParameters(CurveParameters, LabelledParameters):
    """A removal curve, and which class counts as correct."""


@metric(
    "accuracy_auc",
    formula="∫ 1[arg-max at φ = label] dφ, MoRF",
    value_range="[0, 1]",
    direction="lower",
    citation=SACO,
    parameters=AccuracyParameters,
)
class AccuracyAuc(CurveMetric[AccuracyParameters]):
    """Area under 0/1 correctness, most relevant features first; its mean over images is the area under accuracy."""

    orders: ClassVar[tuple[Order, ...]] = ("morf",)

    def score(self, context: ScoreContext, *curves: Response) -> Tensor:
        """Trapezoids over the removed fraction."""
        from vitfaith.metrics.engine.curves import area

        hits = correct(curves[0], reference_classes(context, self.parameters.reference))
        return area(hits, shares_of(curves[0]))

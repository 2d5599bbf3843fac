"""Read-outs of the two removal curves: most relevant first (MoRF) and least relevant first (LeRF)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.metrics.common import (
    CurveParameters,
    LabelledParameters,
    ReadOut,
    aopc,
    area,
    hits,
    log_odds,
    mean_after_start,
    read_outs,
)

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.metrics.context import Response, ScoreContext

RISE = "Petsiuk et al., RISE, BMVC 2018"
SACO = "Wu et al., On the Faithfulness of Vision Transformer Explanations, CVPR 2024"
SAMEK = "Samek et al., TNNLS 2017"
VISION_DIFFMASK = "Nalmpantis et al., Vision DiffMask"


def log_probability(context: ScoreContext, parameters: CurveParameters, curve: Response) -> Tensor:
    """Logarithm of the target's probability."""
    return curve.log_probability


def divergence(context: ScoreContext, parameters: CurveParameters, curve: Response) -> Tensor:
    """KL(clean ‖ perturbed) between the class distributions, in nats."""
    return curve.kl


read_outs(
    __name__,
    CurveParameters,
    ReadOut(
        "deletion_auc",
        "Area under the target's probability while the most relevant features are removed first.",
        ("morf",),
        area,
        direction="lower",
        value_range="[0, 1]",
        formula="∫ p(φ) dφ, MoRF",
        citation=RISE,
    ),
    ReadOut(
        "insertion_auc",
        "Area under the target's probability while the most relevant features are restored first.\n\n"
        "Read from the LeRF curve: what is left after removing the c least relevant features is what insertion of the "
        "other P − c shows. The restored fractions are therefore 1 − ⌊iP/S⌋/P.",
        ("lerf",),
        area,
        direction="higher",
        value_range="[0, 1]",
        formula="∫ p(φ) dφ, LeRF",
        citation=RISE,
    ),
    ReadOut(
        "abpc",
        "Area between the LeRF and the MoRF curve of the target's probability.",
        ("morf", "lerf"),
        area,
        direction="higher",
        value_range="[−1, 1]",
        formula="∫ p(φ) dφ of LeRF − ∫ p(φ) dφ of MoRF",
        citation="Li et al., M4, NeurIPS 2023",
        join=lambda morf, lerf: lerf - morf,
    ),
    ReadOut(
        "aopc",
        "Mean fall of the target's probability over the steps, most relevant features removed first.\n\n"
        "The mean is over k = 1 … S, the last of which removes everything. Samek et al. divide by S + 1 instead; see "
        "``region_perturbation``. AttCAT's code takes the absolute value of each fall; this keeps the sign.",
        ("morf",),
        aopc,
        direction="higher",
        value_range="[−1, 1]",
        formula="mean over k ≥ 1 of p(0) − p(k), MoRF",
        citation=SACO,
    ),
    ReadOut(
        "log_odds",
        "Mean of log p(x_k)/p(x) over the steps, most relevant features removed first.",
        ("morf",),
        log_odds,
        direction="lower",
        value_range="(−∞, ∞)",
        formula="mean over k ≥ 1 of log p(k) − log p(0), MoRF",
        citation=SACO,
        values=log_probability,
    ),
    ReadOut(
        "comprehensiveness_saco",
        "AOPC with the least relevant features removed first, called comprehensiveness in the SaCo paper.\n\n"
        "ERASER, which coined the word, removes the most relevant ones; see ``comprehensiveness`` and ``sufficiency``.",
        ("lerf",),
        aopc,
        direction="lower",
        value_range="[−1, 1]",
        formula="mean over k ≥ 1 of p(0) − p(k), LeRF",
        citation=SACO,
    ),
    ReadOut(
        "morf_mean",
        "Mean target probability over the steps, most relevant features removed first.",
        ("morf",),
        mean_after_start,
        direction="lower",
        value_range="[0, 1]",
        formula="mean over k ≥ 1 of p(k), MoRF",
        citation=SAMEK,
    ),
    ReadOut(
        "lerf_mean",
        "Mean target probability over the steps, least relevant features removed first.",
        ("lerf",),
        mean_after_start,
        direction="higher",
        value_range="[0, 1]",
        formula="mean over k ≥ 1 of p(k), LeRF",
        citation=SAMEK,
    ),
    ReadOut(
        "kl_auc_morf",
        "Area under KL(clean ‖ perturbed) between the class distributions, most relevant features removed first.",
        ("morf",),
        area,
        direction="higher",
        value_range="[0, ∞) nats",
        formula="∫ KL(clean ‖ at φ) dφ, MoRF",
        citation=VISION_DIFFMASK,
        values=divergence,
    ),
    ReadOut(
        "kl_auc_lerf",
        "Area under KL(clean ‖ perturbed) between the class distributions, least relevant features removed first.",
        ("lerf",),
        area,
        direction="lower",
        value_range="[0, ∞) nats",
        formula="∫ KL(clean ‖ at φ) dφ, LeRF",
        citation=VISION_DIFFMASK,
        values=divergence,
    ),
)


class AccuracyParameters(CurveParameters, LabelledParameters):
    """A removal curve, and the class that counts as correct."""


read_outs(
    __name__,
    AccuracyParameters,
    ReadOut(
        "accuracy_auc",
        "Area under 0/1 correctness, most relevant features first; its mean over images is the area under accuracy.",
        ("morf",),
        area,
        direction="lower",
        value_range="[0, 1]",
        formula="∫ 1[arg-max at φ = label] dφ, MoRF",
        citation=SACO,
        values=hits,
    ),
)

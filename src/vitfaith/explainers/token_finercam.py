"""Finer-CAM on patch tokens: Grad-CAM of the difference between the explained class and the classes most like it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vitfaith.explainers.registry import explainer
from vitfaith.explainers.token_cam import TokenCamParameters, finish

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.context import Context


class FinerCamParameters(TokenCamParameters):
    """Settings of ``token_finercam``."""

    references: int = Field(
        3, ge=1, description="number of classes that are compared; all others where there are fewer"
    )
    strength: float = Field(
        1.0,
        ge=0,
        description="γ, how much of a reference's logit is subtracted; 0: token_gradcam; 1 is the default of the authors' code",
    )
    weighting: Literal["equal", "probability"] = Field(
        "equal",
        description="equal: the mean over the references; probability: each weighs by its softmax, as in the authors' code",
    )


@explainer(
    "token_finercam",
    family="relevance",
    class_specific=True,
    citation="Zhang et al., Finer-CAM: Spotting the Difference Reveals Finer Details, CVPR 2025, arXiv 2501.11309",
    parameters=FinerCamParameters,
)
def token_finercam(context: Context, parameters: FinerCamParameters) -> Tensor:
    """Token Grad-CAM of the difference between the class and the most similar classes.

    (Σ_d mean_p(∇S[p, d])·X[:, d])⁺ for the score S = Σ_r w_r (y_c - γ y_r), where r runs over the ``references``
    classes whose logits are nearest to y_c. The paper contrasts y_c with γ y_r and averages over the references, weights
    1/n here; the authors' code weighs by p_r / Σ p with gradients through p. Nearest logits and three references are the
    defaults of that code. X are the tokens that the other token CAMs read.

    Cost per image: 1 forward, 1 backward.

    Returns:
        (B, rows, columns) float32; not negative with ``clamp``.

    Raises:
        InputError: the last block has no first norm.
    """
    # here and not above: it imports torch
    from vitfaith.explainers.passes.shared_pass import run_capture

    score = partial(contrast, parameters=parameters)
    capture = run_capture(context.classifier, context.images, context.targets, ("hidden", "features_gradient"), score)
    weights = capture.features_gradient.mean(1, keepdim=True)
    return finish(capture, (weights * capture.features).sum(-1), parameters)


def contrast(logits: Tensor, targets: Tensor, parameters: FinerCamParameters) -> Tensor:
    """Σ_r w_r (y_c - γ y_r), (B,), from ``logits`` (B, K) for the classes c = ``targets`` (B,)."""
    own = logits.gather(1, targets[:, None])
    distance = (logits - own).abs().scatter(1, targets[:, None], -1)  # the class itself comes first, also among equals
    nearest = distance.argsort(dim=1, stable=True)[:, 1 : 1 + parameters.references]
    differences = own - parameters.strength * logits.gather(1, nearest)
    if parameters.weighting == "equal":
        return differences.mean(1)
    return (logits.gather(1, nearest).softmax(1) * differences).sum(1)

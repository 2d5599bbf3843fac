"""ShapleyCAM on patch tokens: channels weighted by gradient and Hessian."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vitfaith.explainers.registry import explainer
from vitfaith.explainers.token_cam import TokenCamParameters, finish

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.context import Context


class ShapleyCamParameters(TokenCamParameters):
    """Settings of ``token_shapleycam``."""

    utility: Literal["rest", "logit"] = Field(
        "rest",
        description="rest: logit plus log-probability of the class (Residual Softmax Target-Class); or the logit",
    )


@explainer(
    "token_shapleycam",
    family="relevance",
    class_specific=True,
    citation="Cai, CAMs as Shapley Value-based Explainers, 2025, arXiv 2501.06261",
    parameters=ShapleyCamParameters,
)
def token_shapleycam(context: Context, parameters: ShapleyCamParameters) -> Tensor:
    """Token Grad-CAM with second-order Shapley weights.

    (Σ_d mean_p(∇U[p, d] - ½ (H X)[p, d])·X[:, d])⁺: where the utility U is quadratic in the tokens X, X ⊙ (∇U - ½ H X)
    are the Shapley values of their entries. H is the Hessian of U at X, class token included; X are the tokens that
    the other token CAMs read. ``rest``: U = y_c + log p_c, as the package grad-cam has it.

    Cost per image: 1 forward, 2 backwards; the second one ends at the last block.

    Returns:
        (B, rows, columns) float32; not negative with ``clamp``.

    Raises:
        InputError: the last block has no first norm.
    """
    # here and not above: they import torch
    from vitfaith.explainers.passes.graph import ordinary, with_graph
    from vitfaith.explainers.passes.shared_pass import class_logit, differentiable_capture

    score = residual_softmax if parameters.utility == "rest" else class_logit
    with with_graph():
        images = ordinary(context.images).requires_grad_()
        capture, _ = differentiable_capture(
            context.classifier, images, context.targets, ("hidden", "features_gradient"), score
        )
        features = capture.features.detach()
        gradient = capture.features_gradient.detach()
        weights = (gradient - capture.features_curvature() / 2).mean(1, keepdim=True)
    return finish(capture, (weights * features).sum(-1), parameters)


def residual_softmax(logits: Tensor, targets: Tensor) -> Tensor:
    """y_c + log p_c, (B,), from ``logits`` (B, K) for the classes c = ``targets`` (B,)."""
    return (logits + logits.log_softmax(1)).gather(1, targets[:, None])[:, 0]

"""Class activation maps on patch tokens: the first norm of the last block, read as D channels over the patch grid.

Activations X and gradients ∇X of the class logit are (B, P, D). The last block's first norm is the usual place: after
it only attention mixes patches into the class token, so later patch tokens get no gradient in class-token models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.explainers.registry import Explain, explainer
from vitfaith.lazy import np, torch
from vitfaith.registry import Parameters

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.capture import Capture
    from vitfaith.explainers.passes.context import Context

EPSILON = 1e-7


class TokenCamParameters(Parameters):
    """Settings of the token CAMs."""

    clamp: bool = Field(True, description="set negative values to 0, as the papers do; false keeps the full ranking")


def _token_cam(name: str, citation: str, *, gradient: bool = True) -> Callable[[Explain], Explain]:
    return explainer(
        name,
        family="one_pass",
        needs=("hidden", "hidden_gradient") if gradient else ("hidden",),
        class_specific=gradient,
        citation=citation,
        parameters=TokenCamParameters,
    )


@_token_cam("token_gradcam", "Selvaraju et al., Grad-CAM, ICCV 2017")
def token_gradcam(context: Context, parameters: TokenCamParameters) -> Tensor:
    """Token channels weighted by their mean gradient.

    (Σ_d mean_p(∇X[p, d])·X[:, d])⁺, equations 1 and 2 of the paper. Costs the shared pass.

    Returns:
        (B, rows, columns) float32; not negative with ``clamp``.
    """
    capture = context.capture
    weights = capture.features_gradient.mean(1, keepdim=True)
    return finish(context.capture, (weights * capture.features).sum(-1), parameters)


@_token_cam("token_hirescam", "Draelos and Carin, HiResCAM, arXiv 2011.08891")
def token_hirescam(context: Context, parameters: TokenCamParameters) -> Tensor:
    """Token activations times their own gradients.

    (Σ_d ∇X[:, d]·X[:, d])⁺. Costs the shared pass.

    Returns:
        (B, rows, columns) float32; not negative with ``clamp``.
    """
    capture = context.capture
    return finish(context.capture, (capture.features_gradient * capture.features).sum(-1), parameters)


@_token_cam("token_layercam", "Jiang et al., LayerCAM, IEEE Transactions on Image Processing 2021")
def token_layercam(context: Context, parameters: TokenCamParameters) -> Tensor:
    """Token activations times their own positive gradients.

    (Σ_d (∇X[:, d])⁺·X[:, d])⁺. Costs the shared pass.

    Returns:
        (B, rows, columns) float32; not negative with ``clamp``.
    """
    capture = context.capture
    return finish(context.capture, (capture.features_gradient.clamp_min(0) * capture.features).sum(-1), parameters)


@_token_cam("token_xgradcam", "Fu et al., Axiom-based Grad-CAM (XGrad-CAM), BMVC 2020")
def token_xgradcam(context: Context, parameters: TokenCamParameters) -> Tensor:
    """Token channels weighted by their activation-weighted gradient.

    (Σ_d w_d·X[:, d])⁺ with w_d = Σ_p ∇X[p, d]·X[p, d] / (Σ_p X[p, d] + 1e-7). Tokens after a norm have both signs, so
    the denominator can come near 0 and one channel then rules the map; convolutional features, for which the method
    was made, cannot do that. Costs the shared pass.

    Returns:
        (B, rows, columns) float32; not negative with ``clamp``.
    """
    capture = context.capture
    # The quotient is ill-conditioned where activations cancel: double precision keeps it independent of the batch.
    features = capture.features.double()
    gradient = capture.features_gradient.double()
    weights = (gradient * features).sum(1, keepdim=True) / (features.sum(1, keepdim=True) + EPSILON)
    return finish(context.capture, (weights * features).sum(-1), parameters)


@_token_cam(
    "token_eigencam",
    "Muhammad and Yeasin, Eigen-CAM, IJCNN 2020; sign as in Chung and Ying, Seg-Eigen-CAM, 2025",
    gradient=False,
)
def token_eigencam(context: Context, parameters: TokenCamParameters) -> Tensor:
    """First principal component of the token activations.

    Projection of the centred tokens on their first right singular vector. A singular vector has no sign; it is chosen
    for each image so that the entry of largest magnitude is positive. Costs the shared forward.

    Returns:
        (B, rows, columns) float32; not negative with ``clamp``.
    """
    features = context.capture.features.double()
    centred = features - features.mean(1, keepdim=True)
    # The Gram matrix of the P tokens gives the projection U·σ without the D×D side.
    value, vector = leading_eigenvector(centred @ centred.transpose(1, 2))
    projection = vector * value.clamp_min(0).sqrt()
    largest = projection.gather(1, projection.abs().argmax(1, keepdim=True))
    return finish(context.capture, projection * torch.where(largest < 0, -1.0, 1.0), parameters)


def leading_eigenvector(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Largest eigenvalue (B, 1) and its unit eigenvector (B, P), of any sign, of symmetric ``matrices`` (B, P, P)."""
    if matrices.is_cuda or matrices.requires_grad:
        values, vectors = torch.linalg.eigh(matrices)
        return values[:, -1:], vectors[..., -1]
    # On a CPU, LAPACK's routine for one eigenvector takes a third of the time of the one for all.
    from scipy.linalg import eigh

    last = matrices.shape[-1] - 1
    found = [eigh(matrix, subset_by_index=(last, last), check_finite=False) for matrix in matrices.numpy()]
    values = torch.from_numpy(np.stack([value for value, _ in found]))
    return values, torch.from_numpy(np.stack([vector[:, 0] for _, vector in found]))


def finish(capture: Capture, tokens: Tensor, parameters: TokenCamParameters) -> Tensor:
    """The map (B, rows, columns) float32 of the patches' values (B, P)."""
    tokens = tokens.clamp_min(0) if parameters.clamp else tokens
    return capture.to_grid(tokens.float())

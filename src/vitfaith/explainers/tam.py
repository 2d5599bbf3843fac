"""TAM: transition attention maps, a Markov chain backwards through the blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.explainers.passes.path_pass import BlockPathParameters, attention_along_line
from vitfaith.explainers.registry import explainer
from vitfaith.models.rows import matmul

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.context import Context


@explainer(
    "tam",
    family="path",
    needs=("attention",),
    class_specific=True,
    citation="Yuan et al., Explaining Information Flow Inside Vision Transformers Using Markov Chain, 2021",
    parameters=BlockPathParameters,
)
def tam(context: Context, parameters: BlockPathParameters) -> Tensor:
    """Attention of the class token carried back to the patches, times integrated attention gradients.

    s ← E_h A_L in the read-out row; s ← s + s E_h A_l for l = L-1 … ``start``; map = s ⊙ E_h (∫∇A_L dα)⁺ in the
    same row. Models that read several tokens give the mean over their rows. The authors use 20 equidistant α on a
    line from the normalised input 0: ``steps: 20, rule: uniform, baseline: model_mean``.

    Cost per image: 1 forward (the shared pass) + ``steps`` forwards and backwards (shared with every path explainer
    of equal settings).

    Returns:
        (B, rows, columns) float32, not negative.

    Raises:
        ConfigError: the model has no block ``start``.
    """
    capture, weight = context.capture, attention_along_line(context, parameters)
    state = capture.attention(-1, capture.readout).mean(1)
    for block in reversed(range(parameters.start, capture.depth - 1)):
        state = state + matmul(state, capture.attention(block).mean(1))
    return capture.to_grid(capture.read(state * weight))

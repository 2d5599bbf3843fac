"""Gradients of each layer's own class score at its attention, which LeGrad reads.

The score of block l is the class logit that the model's norm and head give to the mean token after the block, so its
gradient at the block's output is one vector for all tokens. Through the second linear layer of the MLP it therefore
runs once per image instead of once per token; autograd only runs from there on, and stops at the attention.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from vitfaith.explainers.passes.pooler import latent_pooler
from vitfaith.explainers.passes.readout import class_logits_of_mean, class_logits_of_tokens
from vitfaith.explainers.passes.recorder import Recorder
from vitfaith.models.fast.second_linear import ends_plainly, through_second_linear


def layer_score_gradients(backbone: nn.Module, recorder: Recorder, targets: Tensor) -> list[Tensor]:
    """∂y_l/∂O_l (B, H, N, d) for each block, O_l the output of its attention call; y_l its score for ``targets`` (B,).

    Costs for each block a backward through its MLP and projection. Nothing, and an empty list, where learned queries pool
    the tokens: there LeGrad reads their attention (:mod:`vitfaith.explainers.passes.pooler`).
    """
    if latent_pooler(backbone) is not None:
        return []
    states, calls = recorder.hidden[1:], recorder.calls
    if getattr(backbone, "attn_pool", None) is not None:
        return [
            torch.autograd.grad(
                _summed(class_logits_of_tokens(backbone, state), targets), call.output, retain_graph=True
            )[0]
            for state, call in zip(states, calls, strict=True)
        ]
    # under autocast states have less precision than the weights of the norm and the head, which read them
    dtype = next(backbone.parameters()).dtype
    means = torch.stack([state.detach().to(dtype).mean(1) for state in states]).requires_grad_()
    logits = class_logits_of_mean(backbone, means.flatten(0, 1))
    (at_means,) = torch.autograd.grad(_summed(logits, targets.repeat(len(states))), means)
    found: list[Tensor] = []
    for layer, (block, state, call) in enumerate(zip(recorder.blocks, states, calls, strict=True)):
        each = (at_means[layer] / state.shape[1])[:, None]
        outputs: Sequence[Tensor] | Sequence[GradientEdge] = [state]
        gradients = [each.expand_as(state)]
        inner = recorder.branches.get(layer, ())
        if len(inner) == 2 and ends_plainly(block):
            middle, expanded = inner
            outputs = [middle.edge, expanded.edge]
            gradients = [each.expand(middle.shape), through_second_linear(block, each).expand(expanded.shape)]
        found += torch.autograd.grad(outputs, [call.output], gradients, retain_graph=True)
    return found


def _summed(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.float().gather(1, targets[:, None]).sum()

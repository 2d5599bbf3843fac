"""Gradient × input and gradient × bias of one modified backward pass, by token."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from vitfaith.explainers.passes import graph
from vitfaith.explainers.passes.watch import Watch
from vitfaith.explainers.relevance.modified import Rules, modified_backward
from vitfaith.explainers.relevance.support import NORMS, check_gradient_rules
from vitfaith.models.classifier import Classifier


@dataclass
class FullGradient:
    """The explained logit, taken apart (Srinivas & Fleuret 2019; Mehri et al. 2025, definition 1).

    With ``constant`` attention the pass is linear in the tokens and biases, so for every image
    ``score = inputs[:, 0].sum(1) + biases.sum(1) + pooled_biases``.

    Attributes:
        score: (B,) the explained logit.
        pixels: (B, H, W) gradient × normalised pixel, summed over channels.
        inputs: (B, L, N) gradient × token at the input of each block, summed over channels.
        biases: (B, N) gradient × bias of every layer from the first block on, summed over channels and layers, at the
            token where the bias was added.
        pooled_biases: (B,) the same for biases after pooling (of the head, of a norm after pooling).
    """

    score: Tensor
    pixels: Tensor
    inputs: Tensor
    biases: Tensor
    pooled_biases: Tensor

    @property
    def completeness_gap(self) -> Tensor:
        """(B,) ``|score − Σ attributions|``, the completeness error of FullGrad from the first block on."""
        return (self.score - self.inputs[:, 0].sum(1) - self.biases.sum(1) - self.pooled_biases).abs()


def full_gradient(classifier: Classifier, images: Tensor, targets: Tensor, rules: Rules) -> FullGradient:
    """One forward and one modified backward pass of ``images`` (B, C, H, W) in [0, 1] for ``targets`` (B,).

    The model runs in the precision of its weights; the read-outs are float32 (float64 for float64 models).

    Raises:
        InputError: the model has a module without a rule, or a target is out of range.
    """
    backbone = check_gradient_rules(classifier.backbone)
    with graph.with_graph(), modified_backward(backbone, rules):
        leaves, targets = graph.ordinary(images).requires_grad_(), graph.ordinary(targets)
        with Watch[nn.Module]() as tokens, Watch[nn.Module]() as biased:
            for block in backbone.blocks:
                tokens.entering(block, block)
            for module in _with_bias(backbone):
                biased.leaving(module, module)
            logits = classifier(leaves)
        score = graph.target_logits(logits, targets)
        outputs = [output for _, output in biased.seen if output.requires_grad]
        inputs = [leaves, *(x for _, x in tokens.seen), *outputs]
        gradients = iter(torch.autograd.grad(score.sum(), inputs, allow_unused=True, materialize_grads=True))
    with torch.no_grad():
        pixels = ((leaves - classifier.mean) * next(gradients)).sum(1)
        by_block = [_dot(x, next(gradients)) for _, x in tokens.seen]
        biases, pooled = torch.zeros_like(by_block[0]), torch.zeros_like(by_block[0][:, 0])
        for module, output in biased.seen:
            if output.requires_grad:
                term = _dot(module.bias, next(gradients))
                if term.ndim == 2:
                    biases += term
                else:
                    pooled += term
    return FullGradient(
        score=_wide(score.detach()),
        pixels=_wide(pixels),
        inputs=torch.stack(by_block, 1),
        biases=biases,
        pooled_biases=pooled,
    )


def _with_bias(backbone: VisionTransformer) -> list[nn.Module]:
    """Layers with a bias from the first block on. Query and key norms work per head, and only on the matrix side."""
    return [
        module
        for name, module in backbone.named_modules()
        if name.split(".")[0] in ("blocks", "norm", "fc_norm", "head", "head_dist")
        and name.split(".")[-1] not in ("q_norm", "k_norm")
        and isinstance(module, (nn.Linear, *NORMS))
        and getattr(module, "bias", None) is not None
    ]


def _dot(value: Tensor | nn.Module, gradient: Tensor) -> Tensor:
    assert isinstance(value, Tensor)
    return (_wide(value.detach()) * _wide(gradient)).sum(-1)


def _wide(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()

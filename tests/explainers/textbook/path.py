"""TAM and Beyond Intuition token by token, and the gradients that they and integrated gradients read, in float64."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vitfaith.models.classifier import Classifier


class Reference:
    """One image through a double-precision, unfused copy of the model; attention and its gradient from autograd."""

    def __init__(self, classifier: Classifier, image: Tensor, target: int) -> None:
        self.model = copy.deepcopy(classifier).double()
        attention: list[Tensor] = []
        handles = []
        for block in self.model.backbone.blocks:
            block.attn.fused_attn = False
            handles.append(block.attn.attn_drop.register_forward_hook(lambda _m, _i, output: attention.append(output)))
        self.image = image.double()[None].requires_grad_()
        self.inputs: list[Tensor] = []
        for block in self.model.backbone.blocks:
            handles.append(block.register_forward_pre_hook(lambda _m, args: self.inputs.append(args[0])))
        logit = self.model(self.image)[0, target]
        gradients = torch.autograd.grad(logit, [self.image, *attention])
        for handle in handles:
            handle.remove()
        self.logit = float(logit.detach())
        self.input_gradient = gradients[0][0]
        self.attention = [a.detach()[0] for a in attention]
        self.attention_gradient = [g[0] for g in gradients[1:]]


def in_patches(field: Tensor, grid: tuple[int, int]) -> Tensor:
    """Sum of a pixel field (H, W) over each patch, patch by patch."""
    height, width = field.shape[0] // grid[0], field.shape[1] // grid[1]
    sums = torch.zeros(grid, dtype=field.dtype)
    for row in range(grid[0]):
        for column in range(grid[1]):
            sums[row, column] = field[row * height : (row + 1) * height, column * width : (column + 1) * width].sum()
    return sums


def integrated_gradients(
    classifier: Classifier, image: Tensor, target: int, points: Sequence[tuple[float, float]], start: float
) -> Tensor:
    """Pixels (H, W): (x − b) Σ w ∇y(b + α(x − b)) over the ``points`` (α, w), b the grey value ``start``."""
    difference = image.double() - start
    total = torch.zeros_like(difference)
    for alpha, weight in points:
        total += weight * Reference(classifier, start + alpha * difference, target).input_gradient
    return (difference * total).sum(0)


def expected_gradients(
    classifier: Classifier, image: Tensor, target: int, draws: Sequence[tuple[Tensor, Tensor, float]]
) -> Tensor:
    """Pixels (H, W): the mean over draws (baseline b, noise ε, α) of (x + ε − b) ∇y(α(x + ε) + (1 − α) b)."""
    total = torch.zeros(image.shape, dtype=torch.float64)
    for baseline, noise, alpha in draws:
        noisy = image.double() + noise.double()
        point = alpha * noisy + (1 - alpha) * baseline.double()
        total += (noisy - baseline.double()) * Reference(classifier, point, target).input_gradient
    return total.sum(0) / len(draws)


def smoothgrad(
    classifier: Classifier, image: Tensor, target: int, draws: Sequence[Tensor], noise: float, **how: str
) -> Tensor:
    """Pixels (H, W) from one gradient for each of the standard normal ``draws`` (C, H, W)."""
    values = []
    for draw in draws:
        noisy = image.double() + noise * float(image.max() - image.min()) * draw.double()
        gradient = Reference(classifier, noisy, target).input_gradient
        kinds = {"gradient": gradient, "saliency": gradient.abs(), "input_x_gradient": noisy * gradient}
        values.append(kinds[how["quantity"]])
    stack = torch.stack(values)
    statistics = {
        "mean": stack.mean(0),
        "square": (stack**2).mean(0),
        "variance": stack.var(0, unbiased=False),
    }
    field = statistics[how["statistic"]]
    if how["quantity"] == "input_x_gradient":
        return field.sum(0)
    return field.abs().amax(0) if how["channels"] == "max" else field.abs().mean(0)


def line(classifier: Classifier, image: Tensor, target: int, steps: int) -> list[Reference]:
    """The authors' points: equidistant from the normalised input 0, both ends included."""
    base = classifier.mean[0].double()
    return [Reference(classifier, base + alpha * (image.double() - base), target) for alpha in np.linspace(0, 1, steps)]


def tam(reference: Reference, path: list[Reference], prefix: int, start: int) -> Tensor:
    """Yuan et al.: state vector of the class token, one token at a time."""
    tokens = reference.attention[0].shape[-1]
    state = reference.attention[-1].mean(0)[0]
    for attention in reversed(reference.attention[start:-1]):
        mixed = attention.mean(0)
        state = torch.stack([state[j] + sum(state[i] * mixed[i, j] for i in range(tokens)) for j in range(tokens)])
    gradient = sum(r.attention_gradient[-1] for r in path) / len(path)
    weight = gradient.clamp(min=0).mean(0)[0]
    return (state * weight)[prefix:].view(4, 4)


def beyond_intuition(transitions: list[Tensor], path: list[Reference], prefix: int) -> Tensor:
    """Chen et al.: the whole relation matrix, block by block from the input."""
    relation = torch.eye(len(transitions[0]), dtype=torch.float64)
    for transition in transitions:
        relation = relation + transition @ relation
    gradient = sum(r.attention_gradient[-1] for r in path) / len(path)
    return (relation * gradient.clamp(min=0).mean(0))[0, prefix:].view(4, 4)


def head_transitions(reference: Reference) -> list[Tensor]:
    found = []
    for attention, gradient in zip(reference.attention, reference.attention_gradient, strict=True):
        importance = torch.stack([(a.T @ g).abs().mean() for a, g in zip(attention, gradient, strict=True)])
        found.append(sum(i * a for i, a in zip(importance / importance.sum(), attention, strict=True)))
    return found


def token_transitions(reference: Reference) -> list[Tensor]:
    found = []
    for block, attention, tokens in zip(
        reference.model.backbone.blocks, reference.attention, reference.inputs, strict=True
    ):
        width = tokens.shape[-1]
        values = block.attn.qkv(block.norm1(tokens))[0, :, 2 * width :]
        ratios = [
            float((block.attn.proj.weight @ value).norm() / token.norm())
            for value, token in zip(values.detach(), tokens[0].detach(), strict=True)
        ]
        found.append(attention.mean(0) @ torch.diag(torch.tensor(ratios, dtype=torch.float64)))
    return found

"""CP-LRP, AttnLRP and LibraGrad written out: one image, float64, relevance messages instead of gradients."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from vitfaith.models.classifier import Classifier


def conservative_logit(classifier: Classifier, pixels: Tensor, target: int) -> Tensor:
    """A class-token ViT whose norm scales, attention matrices and GELU gates are constants, for one image."""
    net: Any = classifier.backbone

    def norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
        scale = torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + layer.eps)
        return (x - x.mean(-1, keepdim=True)) / scale.detach() * layer.weight + layer.bias

    x = net.patch_embed.proj(pixels[None])[0].flatten(1).T
    x = torch.cat([net.cls_token[0], x]) + net.pos_embed[0]
    for block in net.blocks:
        q, k, v = block.attn.qkv(norm(block.norm1, x)).reshape(len(x), 3, 3, 8).unbind(1)
        mixed = []
        for head in range(3):
            a = torch.softmax(q[:, head] @ k[:, head].T / math.sqrt(8), -1)
            mixed.append(a.detach() @ v[:, head])
        x = x + block.attn.proj(torch.cat(mixed, -1))
        y = block.mlp.fc1(norm(block.norm2, x))
        gate = 0.5 * (1 + torch.erf(y / math.sqrt(2)))
        x = x + block.mlp.fc2(y * gate.detach())
    return net.head(norm(net.norm, x)[0])[target]


def linear(x: Tensor, weight: Tensor, bias: Tensor, relevance: Tensor, gamma: float = 0) -> Tensor:
    """R_i = Σ_j c_ji / Σ_i c_ji R_j over inputs and bias; c = x_i W_ji, (1 + γ) times where it has the output's sign."""
    out = torch.zeros_like(x)
    z = x @ weight.T + bias
    for j in range(len(weight)):
        sign = z[..., j].sign()[..., None]
        terms = x * weight[j]
        terms = torch.where(terms * sign > 0, (1 + gamma) * terms, terms)
        extra = torch.where(bias[j] * sign > 0, (1 + gamma) * bias[j], bias[j])
        out += terms / (terms.sum(-1, keepdim=True) + extra) * relevance[..., j : j + 1]
    return out


def layer_norm(layer: nn.LayerNorm, x: Tensor, relevance: Tensor) -> Tensor:
    """With σ constant, LayerNorm is the linear map γ/σ (I − 1/D) plus β, token by token."""
    out = torch.empty_like(x)
    size = x.shape[-1]
    centre = torch.eye(size, dtype=x.dtype) - 1 / size
    for i, row in enumerate(x):
        weight = layer.weight[:, None] * centre / torch.sqrt(row.var(unbiased=False) + layer.eps)
        out[i] = linear(row, weight, layer.bias, relevance[i])
    return out


def relevance_of_tokens(classifier: Classifier, image: Tensor, target: int, rule: str, gamma: float = 0) -> Tensor:
    """Rules of the papers as relevance messages, no gradients: relevance (N,) of the tokens that enter block 0."""
    return relevance_of_channels(classifier, image, target, rule, gamma).sum(-1)


def relevance_of_channels(classifier: Classifier, image: Tensor, target: int, rule: str, gamma: float = 0) -> Tensor:
    """The same before the sum over channels, (N, D). With "constant" attention γ is of MLPs and head alone."""
    net: Any = classifier.backbone
    inner = 0 if rule == "constant" else gamma
    x = net.patch_embed.proj(((image.double() - 0.5) / 0.25)[None])[0].flatten(1).T
    x = torch.cat([net.cls_token[0], x]) + net.pos_embed[0]
    kept = []
    for block in net.blocks:
        normed = block.norm1(x)
        qkv = block.attn.qkv(normed)
        q, k, v = qkv.reshape(len(x), 3, 3, 8).permute(1, 2, 0, 3)
        scores = q @ k.mT / math.sqrt(8)
        mixed = scores.softmax(-1) @ v
        flat = mixed.transpose(0, 1).flatten(1)
        branch = block.attn.proj(flat)
        middle = x + branch
        normed2 = block.norm2(middle)
        expanded = block.mlp.act(block.mlp.fc1(normed2))
        branch2 = block.mlp.fc2(expanded)
        kept.append((x, normed, q, k, v, scores, mixed, flat, branch, middle, normed2, expanded, branch2))
        x = middle + branch2
    final = net.norm(x)
    relevance = torch.zeros_like(final)
    logit = net.head(final[0])[target : target + 1]
    relevance[0] = linear(final[0], net.head.weight[target][None], net.head.bias[target][None], logit, gamma)
    relevance = layer_norm(net.norm, x, relevance)
    for block, values in reversed(list(zip(net.blocks, kept, strict=True))):
        x, normed, q, k, v, scores, mixed, flat, branch, middle, normed2, expanded, branch2 = values
        whole = relevance / (middle + branch2)
        skip, r = middle * whole, branch2 * whole
        r = linear(
            expanded, block.mlp.fc2.weight, block.mlp.fc2.bias, r, gamma
        )  # the activation passes relevance on as it is
        r = linear(normed2, block.mlp.fc1.weight, block.mlp.fc1.bias, r, gamma)
        relevance = skip + layer_norm(block.norm2, middle, r)
        whole = relevance / (x + branch)
        skip, r = x * whole, branch * whole
        r = linear(flat, block.attn.proj.weight, block.attn.proj.bias, r, inner).reshape(len(x), 3, 8).transpose(0, 1)
        a = scores.softmax(-1)
        if rule == "constant":  # all of R to the values
            on_v = torch.einsum("hij,hjd,hid->hjd", a, v, r / mixed)
            on_q, on_k = torch.zeros_like(q), torch.zeros_like(k)
        else:  # uniform rule: half to each factor; softmax: R_i = x_i (R_i − s_i Σ_j R_j)
            on_v = torch.einsum("hij,hjd,hid->hjd", a, v, r / mixed / 2)
            on_a = torch.einsum("hij,hjd,hid->hij", a, v, r / mixed / 2)
            on_scores = scores * (on_a - a * on_a.sum(-1, keepdim=True))
            per_term = on_scores / (scores * math.sqrt(8)) / 2
            on_q = torch.einsum("hid,hjd,hij->hid", q, k, per_term)
            on_k = torch.einsum("hid,hjd,hij->hjd", q, k, per_term)
        r = torch.stack([on_q, on_k, on_v]).permute(2, 0, 1, 3).flatten(1)
        r = linear(normed, block.attn.qkv.weight, block.attn.qkv.bias, r, inner)
        relevance = skip + layer_norm(block.norm1, x, r)
    return relevance


def relevance_of_patches(
    classifier: Classifier, image: Tensor, target: int, gamma: float, gamma_patches: float
) -> Tensor:
    """CP-LRP with γ outside attention, down to the pixels and summed over channels and patch, (rows, columns)."""
    net: Any = classifier.backbone
    pixels = (image.double() - 0.5) / 0.25
    relevance = relevance_of_channels(classifier, image, target, "constant", gamma)[1:]
    rows, columns = classifier.grid
    embedded = net.patch_embed.proj(pixels[None])[0].flatten(1).T
    relevance = relevance * embedded / (embedded + net.pos_embed[0, 1:])
    found = torch.zeros(rows, columns, dtype=torch.float64)
    for patch in range(rows * columns):
        row, column = divmod(patch, columns)
        x = pixels[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].reshape(-1)
        weight = net.patch_embed.proj.weight.flatten(1)
        found[row, column] = linear(x, weight, net.patch_embed.proj.bias, relevance[patch], gamma_patches).sum()
    return found


def slow_full_gradient(classifier: Classifier, image: Tensor, target: int) -> tuple[Tensor, Tensor]:
    """Input terms (L, N) and bias terms (N,) with every bias a separate leaf at every token."""
    net: Any = copy.deepcopy(classifier.backbone)
    leaves: list[Tensor] = []
    inputs: list[Tensor] = []

    def biased(x: Tensor, bias: Tensor) -> Tensor:
        leaf = bias.detach().expand(x.shape).clone().requires_grad_()
        leaves.append(leaf)
        return x + leaf

    def affine(layer: nn.Linear, x: Tensor) -> Tensor:
        return biased(x @ layer.weight.T, layer.bias)

    def norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
        scale = torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + layer.eps)
        return biased((x - x.mean(-1, keepdim=True)) / scale.detach() * layer.weight, layer.bias)

    x = net.patch_embed.proj(((image.double() - 0.5) / 0.25)[None])[0].flatten(1).T
    x = (torch.cat([net.cls_token[0], x]) + net.pos_embed[0]).detach().requires_grad_()
    for block in net.blocks:
        x.retain_grad()
        inputs.append(x)
        q, k, v = affine(block.attn.qkv, norm(block.norm1, x)).reshape(len(x), 3, 3, 8).permute(1, 2, 0, 3)
        a = (q @ k.mT / math.sqrt(8)).softmax(-1).detach()
        x = x + affine(block.attn.proj, (a @ v).transpose(0, 1).flatten(1))
        y = affine(block.mlp.fc1, norm(block.norm2, x))
        x = x + affine(block.mlp.fc2, y * (0.5 * (1 + torch.erf(y / math.sqrt(2)))).detach())
    net.head(norm(net.norm, x)[0])[target].backward()
    by_block = torch.stack([(x * x.grad).sum(-1) for x in inputs]).detach()  # type: ignore[operator]
    return by_block, sum((leaf * leaf.grad).sum(-1) for leaf in leaves if leaf.grad is not None).detach()  # type: ignore

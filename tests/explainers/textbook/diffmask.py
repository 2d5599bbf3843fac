"""Vision DiffMask, patch by patch and image by image: the map of trained gates, and the optimisation for one image."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vitfaith.explainers.diffmask.hard_concrete import HardConcrete
from vitfaith.explainers.diffmask.network import DiffMask, start_beta
from vitfaith.models.classifier import Classifier
from vitfaith.rng import uniform


def embedding(classifier: Classifier, image: Tensor) -> Tensor:
    """Patch embeddings (1, P, D) without position."""
    parts: Any = classifier.backbone
    found: Tensor = parts.patch_embed((image[None] - classifier.mean) / classifier.std).detach()
    return found


@torch.no_grad()
def map_of_gates(classifier: Classifier, network: DiffMask, image: Tensor, target: int | None) -> Tensor:
    """Π E[z] over the gates (rows, columns), with E[z] as the mean of 20,000 evenly spread quantiles of the noise."""
    tokens, states = embedding(classifier, image), []
    states.append(tokens[0])
    parts: Any = classifier.backbone
    tokens = parts.norm_pre(parts.patch_drop(parts._pos_embed(tokens)))
    for block in parts.blocks:
        states.append(tokens[0, classifier.prefix_tokens :])
        tokens = block(tokens)
    states.append(tokens[0, classifier.prefix_tokens :])
    gates, noise = network.gates, (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    found = torch.ones(len(states[0]), dtype=torch.float64)
    for patch in range(len(found)):
        for gate, state in enumerate(states):
            pair = torch.cat([states[0][patch], state[patch]])
            inner = gates.lengths[gate] * (gates.directions[gate] @ pair) / gates.directions[gate].norm(dim=1)
            inner = inner + gates.offsets[gate]
            if gates.classes is not None:
                inner = inner + gates.classes[target, gate]
            out = gates.out_directions[gate]
            vote = gates.out_lengths[gate] * (out @ inner.tanh()) / out.norm() + gates.out_offsets[gate]
            u = float(gates.stretch * vote.tanh() + gates.beta[gate])
            z = (torch.sigmoid((u + torch.logit(noise)) / 0.2) * 1.2 - 0.2).clamp(0, 1)
            found[patch] *= z.mean()
    return found.view(classifier.grid)


def map_of_one_image(
    classifier: Classifier, image: Tensor, target: int | None, image_id: str, *, steps: int, seed: int = 0
) -> Tensor:
    """Adam, noise, multiplier and masked embeddings written out; gradients by autograd; E[z] (rows, columns)."""
    own, clean = embedding(classifier, image), classifier(image[None]).softmax(1).detach()[0]
    fill, patches, shape = own.mean(1, keepdim=True), own.shape[1], HardConcrete()
    u = torch.full((patches,), start_beta(torch.zeros(1, 1, 1), shape, 1.0, 0.9))
    noise = uniform(seed, [image_id], "diffmask-per-image", (steps, patches))[0]
    m, v, multiplier = torch.zeros(patches), torch.zeros(patches), 2.0
    embed: nn.Module = classifier.backbone.patch_embed  # type: ignore[assignment]
    for step in range(steps):
        u.requires_grad_()
        z = (torch.sigmoid((u + torch.logit(noise[step], eps=1e-6)) / 0.2) * 1.2 - 0.2).clamp(0, 1)
        tokens = z[None, :, None] * own + (1 - z)[None, :, None] * fill
        handle = embed.register_forward_hook(lambda _m, _i, _o, tokens=tokens: tokens)
        masked = classifier(image[None]).softmax(1)[0]
        handle.remove()
        if target is not None:
            p, q = clean[target], masked[target]
            kl = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
        else:
            kl = (clean * (clean / masked).log()).sum()
        loss = torch.sigmoid(u - 0.2 * np.log(0.2)).mean() + multiplier * (kl - 0.1)
        (gradient,) = torch.autograd.grad(loss, u)
        m, v = 0.9 * m + 0.1 * gradient, 0.98 * v + 0.02 * gradient**2
        u = (u - 0.2 * (m / (1 - 0.9 ** (step + 1))) / ((v / (1 - 0.98 ** (step + 1))).sqrt() + 1e-8)).detach()
        multiplier = min(200.0, max(0.0, multiplier + 0.3 * (float(kl.detach()) - 0.1)))
    return shape.expected(u).view(classifier.grid)

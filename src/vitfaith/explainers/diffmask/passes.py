"""The two forward passes that a step of training takes: the model as it is, and the model on masked patch embeddings."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor

from vitfaith.explainers.diffmask.states import hidden_states, masked_embedding
from vitfaith.models.classifier import Classifier
from vitfaith.models.fast.class_token import class_token_alone
from vitfaith.models.fast.linear import quick_linear_layers


def precision(name: str, device: torch.device) -> AbstractContextManager[object]:
    """Autocast to bfloat16, or nothing for float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=name == "bfloat16")


def clean_pass(classifier: Classifier, images: Tensor, precise: str = "float32") -> tuple[Tensor, list[Tensor]]:
    """Log-probabilities (B, K) float32 and the L + 2 states (B, P, D) of ``images``, without gradients; one forward."""
    with (
        torch.no_grad(),
        precision(precise, images.device),
        hidden_states(classifier) as states,
        quick_linear_layers(classifier),
    ):
        logits = classifier(images)
    return logits.float().log_softmax(1), list(states)


def masked_pass(
    classifier: Classifier, images: Tensor, keep: Tensor, placeholder: Tensor, precise: str = "float32"
) -> Tensor:
    """Log-probabilities (B, K) float32 with patch embeddings replaced where ``keep`` (B, P) is below 1; one forward.

    The graph goes through activations alone where the classifier is frozen. The last block computes its class token only,
    where that is all that is read of it.
    """
    with (
        precision(precise, images.device),
        masked_embedding(classifier, keep, placeholder),
        class_token_alone(classifier),
        quick_linear_layers(classifier),
    ):
        logits = classifier(images)
    return logits.float().log_softmax(1)


def divergence(clean: Tensor, masked: Tensor, targets: Tensor | None = None) -> Tensor:
    """KL(clean ‖ masked) in nats, (B,) float32, from log-probabilities (B, K).

    With ``targets`` (B,) of the two outcomes "this class" and "another one" alone: how far the class's own probability
    moves, which is never more than the divergence of the whole distributions.
    """
    if targets is not None:
        clean, masked = _two_way(clean, targets), _two_way(masked, targets)
    terms = clean.exp() * (clean - masked)
    return torch.where(clean.isneginf(), 0.0, terms).sum(1)


def _two_way(log_probabilities: Tensor, targets: Tensor) -> Tensor:
    own = log_probabilities.gather(1, targets[:, None])
    others = log_probabilities.scatter(1, targets[:, None], float("-inf")).logsumexp(1, keepdim=True)
    return torch.cat([own, others], 1)

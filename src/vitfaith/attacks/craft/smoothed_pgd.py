"""PGD on the classifier behind a smoothing."""

from __future__ import annotations

import torch
from torch import Tensor
from torchattacks.attack import Attack

from vitfaith.attacks.adaptive import AdaptivePgdParameters
from vitfaith.attacks.craft.losses import wrong_log_odds
from vitfaith.attacks.craft.victim import Logits
from vitfaith.attacks.smoothed import Defence
from vitfaith.models.classifier import Classifier


def smoothed_log_probability(logits: Tensor, draws: int) -> Tensor:
    """log of the mean softmax over draws: logits (draws·B, K), draw by draw, to (B, K)."""
    per_draw = logits.log_softmax(1).unflatten(0, (draws, -1))
    return per_draw.logsumexp(0) - torch.log(torch.tensor(float(draws)))


class SmoothedPGD(Attack):
    """l∞ PGD on −log E_z p_y(denoise(x + z)) (Salman et al. 2019, eq. 6), the expectation over the defence's draws a step.

    Steps follow the log-odds of that expectation: the gradient's sign is the same, and does not round away at p_y = 1.
    """

    def __init__(self, model: Classifier, defence: Defence, parameters: AdaptivePgdParameters) -> None:
        """Take the classifier, the defence in front of it, and the attack's settings."""
        super().__init__("SmoothedPGD", Logits(model))
        self.defence, self.parameters = defence, parameters

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Attacked images for ``inputs`` (B, C, H, W) in [0, 1] and the classes (B,) to move away from."""
        settings = self.parameters
        alpha = settings.eps / 5 if settings.alpha is None else settings.alpha
        clean = inputs.detach()
        attacked = clean.clone()
        if settings.random_start:
            attacked = (attacked + torch.empty_like(attacked).uniform_(-settings.eps, settings.eps)).clamp(0, 1)
        for _ in range(settings.steps):
            attacked.requires_grad_()
            logits = self.get_logits(self.defence.copies(attacked, settings))
            loss = wrong_log_odds(smoothed_log_probability(logits, self.defence.draws(settings)), labels).sum()
            (gradient,) = torch.autograd.grad(loss, attacked)
            moved = attacked.detach() + alpha * gradient.sign()
            attacked = (clean + (moved - clean).clamp(-settings.eps, settings.eps)).clamp(0, 1)
        return attacked.detach()

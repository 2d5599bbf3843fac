"""PGD on the classifier behind a smoothing."""

from __future__ import annotations

import torch
from torch import Tensor
from torchattacks.attack import Attack

from vitfaith.attacks.craft.losses import wrong_log_odds
from vitfaith.attacks.craft.victim import Logits
from vitfaith.attacks.smoothed import Defence, SmoothedSteps, smoothed_log_probability
from vitfaith.models.classifier import Classifier


class SmoothedPGD(Attack):
    """l∞ PGD on −log E_z p_y(denoise(x + z)) (Salman et al. 2019, eq. 6), the expectation over the defence's draws per step.

    Steps follow the log-odds of that expectation: the gradient's sign is the same, and does not round away at p_y = 1.
    """

    def __init__(self, model: Classifier, defence: Defence, settings: SmoothedSteps) -> None:
        """Take the classifier, the defence in front of it, and the attack's settings."""
        super().__init__("SmoothedPGD", Logits(model))
        self.defence, self.settings = defence, settings

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Attacked images for ``inputs`` (B, C, H, W) in [0, 1] and the classes (B,) to move away from."""
        settings = self.settings
        clean = inputs.detach()
        attacked = clean.clone()
        if settings.random_start:
            attacked = (attacked + torch.empty_like(attacked).uniform_(-settings.eps, settings.eps)).clamp(0, 1)
        for _ in range(settings.steps):
            attacked.requires_grad_()
            logits = self.get_logits(self.defence.copies(attacked, settings))
            loss = wrong_log_odds(smoothed_log_probability(logits, self.defence.draws(settings)), labels).sum()
            (gradient,) = torch.autograd.grad(loss, attacked)
            moved = attacked.detach() + settings.step * gradient.sign()
            attacked = (clean + (moved - clean).clamp(-settings.eps, settings.eps)).clamp(0, 1)
        return attacked.detach()

"""One step of training, the way that works and the way of the released code.

The problem is max over λ ≥ 0 of min over gates and placeholder of L0 + λ·(KL − m). :class:`SharedStep` descends in the gates and
the placeholder and ascends in λ from the same two forwards and one backward. :class:`OfficialStep` keeps what the released
code does: there the flip of λ's gradient comes before the gradient exists, so that λ descends too and shrinks while the
constraint is violated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vitfaith.explainers.diffmask.hard_concrete import product
from vitfaith.explainers.diffmask.lookahead import Slices, lookahead_adam
from vitfaith.explainers.diffmask.network import DiffMask
from vitfaith.explainers.diffmask.passes import clean_pass, divergence, masked_pass
from vitfaith.explainers.diffmask.recipe import DiffMaskRecipe
from vitfaith.models.classifier import Classifier
from vitfaith.models.training.loop import warmup_cosine
from vitfaith.rng import generator
from vitfaith.transfer import upload

Measured = dict[str, Tensor]
"""kl, kept_share, objective, multiplier, agreement and gradient_norm of one step, as scalars on the device."""


class Step(Protocol):
    """Interface of a step for the training loop."""

    multiplier: Tensor

    @property
    def optimisers(self) -> Sequence[torch.optim.Optimizer]:
        """In the order that a file of a killed training keeps them in."""

    def __call__(self, images: Tensor, step: int) -> Measured:
        """Train on one batch (B, C, H, W) in [0, 1]."""


def objective(network: DiffMask, locations: Tensor, kind: str) -> Tensor:
    """The minimised objective, a scalar, from u (B, G, P): see ``DiffMaskRecipe.objective``."""
    logs = network.distribution.log_positive(locations).sum(1)
    return (logs if kind == "log_probability" else logs.exp()).mean()


def explained_classes(clean: Tensor, seed: int, step: int) -> Tensor:
    """Classes (B,) that a class-specific DiffMask trains on: the predicted one for half of the batch, any one else."""
    source = generator(seed, "batch", "diffmask-classes", step)
    any_class = torch.randint(clean.shape[1], (len(clean),), generator=source)
    any_class = upload(any_class, clean.device)
    predicted = upload(torch.rand(len(clean), generator=source), clean.device) < 0.5
    return torch.where(predicted, clean.argmax(1), any_class)


class _Trial:
    """One batch through gates and masked model."""

    def __init__(
        self, classifier: Classifier, network: DiffMask, recipe: DiffMaskRecipe, images: Tensor, step: int, key: str
    ) -> None:
        self.network, self.recipe = network, recipe
        self.clean, states = clean_pass(classifier, images, recipe.precision)
        self.targets = explained_classes(self.clean, recipe.seed, step) if network.class_specific else None
        self.locations = network.locations(states, self.targets)
        source = generator(recipe.seed, key, "diffmask-noise", step)
        self.noise = upload(torch.rand(self.locations.shape, generator=source), images.device)
        self.classifier, self.images = classifier, images

    def run(self, gates: int) -> tuple[Tensor, Tensor, Measured]:
        """(KL, objective) with the first ``gates`` gates, and what the log needs."""
        network, recipe = self.network, self.recipe
        used = self.locations[:, :gates]
        keep = product(network.distribution.stretched(used, self.noise[:, :gates]), 1)
        masked = masked_pass(self.classifier, self.images, keep, network.placeholder, recipe.precision)
        kl = divergence(self.clean, masked, self.targets).mean()
        target = objective(network, used, recipe.objective)
        agree = (masked.argmax(1) == self.clean.argmax(1)).float().mean()
        facts = {"kl": kl, "kept_share": keep.mean(), "objective": target, "agreement": agree}
        return kl, target, {name: value.detach() for name, value in facts.items()}


def _rates(gates: Sequence[Tensor], network: DiffMask, recipe: DiffMaskRecipe) -> list[dict[str, Any]]:
    """Groups of an optimiser: what the gates are made of, and the placeholder."""
    return [
        {"params": list(gates), "lr": recipe.learning_rate},
        {"params": [network.placeholder], "lr": recipe.placeholder_learning_rate},
    ]


def _norm(network: DiffMask) -> Tensor:
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    return nn.utils.get_total_norm(gradients)


class SharedStep:
    """Dual ascent: λ ← clip(λ + rate·(KL − m), 0, largest), with gates and placeholder updated from the same passes."""

    def __init__(self, classifier: Classifier, network: DiffMask, recipe: DiffMaskRecipe, total: int) -> None:
        """``total`` is the number of steps, over which the learning rate falls to zero."""
        self.classifier, self.network, self.recipe = classifier, network, recipe
        self.multiplier = torch.tensor(recipe.multiplier, device=classifier.mean.device)
        groups = _rates(list(network.gates.parameters()), network, recipe)
        self.optimisers = [torch.optim.Adam(groups, lr=recipe.learning_rate, betas=(0.9, 0.98))]
        self._set_rates = warmup_cosine(self.optimisers[0], total, max(1, min(recipe.warmup, total // 2)))

    def __call__(self, images: Tensor, step: int) -> Measured:
        """Two forwards and one backward."""
        recipe, optimiser = self.recipe, self.optimisers[0]
        self._set_rates(step)
        kl, target, measured = _Trial(self.classifier, self.network, recipe, images, step, "batch").run(
            self.network.gates.count
        )
        optimiser.zero_grad(set_to_none=True)
        excess = kl - recipe.margin
        (target + self.multiplier * excess + recipe.penalty / 2 * excess.clamp(min=0) ** 2).backward()
        measured |= {"multiplier": self.multiplier.clone(), "gradient_norm": _norm(self.network)}
        optimiser.step()
        raised = self.multiplier + recipe.multiplier_learning_rate * (kl.detach() - recipe.margin)
        self.multiplier.copy_(raised.clamp(0, recipe.multiplier_max))
        return measured


class OfficialStep:
    """The released rule: one λ per gate, each pass with gates 0 … ℓ for a random ℓ, and λ by descent on the same loss.

    A batch takes two training steps, one for each optimiser, each with its own ℓ and noise: four forwards and one backward.
    Each gate and each λ is a separate parameter; parameters without a gradient in a step stay unchanged.
    """

    def __init__(self, classifier: Classifier, network: DiffMask, recipe: DiffMaskRecipe) -> None:
        """Lookahead Adam for gates and placeholder, warmed up and then constant, and for the multipliers."""
        self.classifier, self.network, self.recipe = classifier, network, recipe
        self.multiplier = torch.full((network.gates.count,), recipe.multiplier, device=classifier.mean.device)
        gates = network.gates
        self.gates = [(p, Slices(p, 1 if p is gates.classes else 0)) for p in gates.parameters()]
        self.multipliers = Slices(self.multiplier)
        parts = [part for _, slices in self.gates for part in slices.parameters]
        self.optimisers = [
            lookahead_adam(_rates(parts, network, recipe), recipe.learning_rate),
            lookahead_adam([{"params": self.multipliers.parameters}], recipe.multiplier_learning_rate),
        ]
        self.rates = [group["lr"] for group in self.optimisers[0].param_groups]

    def __call__(self, images: Tensor, step: int) -> Measured:
        """Both training steps."""
        recipe, optimiser = self.recipe, self.optimisers[0]
        for group, rate in zip(optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * min(1.0, step / recipe.warmup)  # the first step moves nothing
        gates, trial = self._draw(images, step, "gates")
        kl, target, measured = trial.run(gates)
        self.network.zero_grad(set_to_none=True)
        (target + self.multiplier[gates - 1] * (kl - recipe.margin)).backward()
        measured |= {"multiplier": self.multiplier.mean(), "gradient_norm": _norm(self.network)}
        for parameter, slices in self.gates:
            slices.hand_over(parameter.grad, gates)
        optimiser.step()

        with torch.no_grad():
            gates, trial = self._draw(images, step, "multipliers")
            kl, _, _ = trial.run(gates)
        self.descend(gates, kl - recipe.margin)
        return measured

    def descend(self, gates: int, excess: Tensor) -> None:
        """The multipliers' step, with ∂loss/∂λ = KL − m at the λ of the last gate alone.

        Descending is the defect: λ falls while KL exceeds the margin.
        """
        for number, parameter in enumerate(self.multipliers.parameters, 1):
            parameter.grad = excess.detach().reshape(()) if number == gates else None
        self.optimisers[1].step()
        self.multiplier.clamp_(0, self.recipe.multiplier_max)

    def last_gate(self, step: int, key: str) -> int:
        """How many gates the pass ``key`` of ``step`` uses, 1 to all of them, uniform."""
        source = generator(self.recipe.seed, key, "diffmask-gate", step)
        return 1 + int(torch.randint(self.network.gates.count, (1,), generator=source))

    def _draw(self, images: Tensor, step: int, key: str) -> tuple[int, _Trial]:
        return self.last_gate(step, key), _Trial(self.classifier, self.network, self.recipe, images, step, key)

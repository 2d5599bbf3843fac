"""Iterative attacks on explanations (Ghorbani et al. 2019; Dombrowski et al. 2019) as torchattacks attacks."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchattacks.attack import Attack

from vitfaith.attacks.craft.differentiable import DifferentiableExplainer
from vitfaith.attacks.craft.keyed import common_draws
from vitfaith.attacks.craft.victim import Logits
from vitfaith.attacks.smoothed import Defence, SmoothedSteps, smoothed_log_probability
from vitfaith.errors import InputError
from vitfaith.map_values import membership_of
from vitfaith.models.classifier import Classifier
from vitfaith.registry import Item

_FINAL_REPEATS = 4
"""How often the winner of a smoothed attack meets the last iterate, on ``eot`` new draws each time."""


@dataclass
class View:
    """An attacker's view of one image batch.

    Attributes:
        maps: (B, P), |·| summing to 1 in each row.
        log_probability: (B, K), of the smoothed classifier when there is a smoothing.
    """

    maps: Tensor
    log_probability: Tensor


class ExplanationAttack(Attack):
    """Iterative feature importance attack (Ghorbani et al. 2019, algorithm 1), for any differentiable explainer.

    Steps along the sign of the gradient of a dissimilarity D between the map and the clean image's map; of all iterates
    with the clean image's prediction, the one with the largest D is returned, the clean image if there is none. Beyond
    the paper: iterates are stored pixels (k/255, reached by a float shadow that gradients move), so the
    judged images are the stored images. Where the predicted class leads by less than ``margin``, the gradient of its lead
    joins, each gradient scaled to unit l1 norm, instead of running on outside the class.

    Through a smoothing, the map is the defence's aggregate of the maps of its noise draws and the prediction comes
    from their mean probability; an iterate must keep that one and the one without smoothing. Gradients take fresh
    draws at each step. All iterates are judged on one other set of draws, because with separate noise the largest value
    would often be lucky, not best. The winner then meets the last iterate on draws that judged neither.

    Args:
        model: frozen, in evaluation mode.
        explainer: whose maps are attacked.
        settings: the ball and the steps, and how gradients are taken through the defence.
        margin: lead in logits below which steps also defend the predicted class; 0 only checks it.
        defence: the smoothing that the attack sees through; None where it sees the model alone.
    """

    def __init__(
        self,
        model: Classifier,
        explainer: Item,
        settings: SmoothedSteps,
        *,
        margin: float,
        defence: Defence | None = None,
    ) -> None:
        super().__init__(type(self).__name__, model)
        self.settings, self.margin, self.defence = settings, margin, defence
        self.explain = DifferentiableExplainer(model, explainer)

    @abstractmethod
    def prepare(self, clean: View) -> None:
        """Remember what the dissimilarity needs of the clean images."""

    @abstractmethod
    def dissimilarity(self, view: View) -> Tensor:
        """D (B,) of each image: what the attack raises; of the clean image the least interesting value."""

    def view(self, images: Tensor, labels: Tensor) -> View:
        """The maps and predictions of ``images``, with their graph."""
        if self.defence is None:
            maps, logits = self.explain(images, labels)
            return View(_unit_mass(maps.flatten(1)), logits.log_softmax(1))
        draws = self.defence.draws(self.settings)
        maps, logits = self.explain(self.defence.copies(images, self.settings), labels.repeat(draws))
        return View(_unit_mass(self.defence.aggregate(maps, draws).flatten(1)), smoothed_log_probability(logits, draws))

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Attacked images for ``inputs`` (B, C, H, W), pixels k/255, and the classes (B,) to explain and to keep."""
        settings = self.settings
        eps, alpha = settings.eps, settings.step
        clean = inputs.detach()
        view = _detached(self._judged(clean.clone().requires_grad_(), labels))
        self.prepare(view)
        kept_class = view.log_probability.argmax(1)
        best, best_value = clean.clone(), self.dissimilarity(view)
        shift = torch.zeros_like(clean)
        if settings.random_start:
            shift = (clean + shift.uniform_(-eps, eps)).clamp(0, 1) - clean
        for step in range(settings.steps + 1):
            current = _stored(clean, shift).requires_grad_()
            view = self._judged(current, labels)
            value = self.dissimilarity(view).detach()
            valid = self._valid(current, view, labels, kept_class)
            better = valid & (value > best_value)
            best[better], best_value[better] = current.detach()[better], value[better]
            if step == settings.steps:
                break
            if self.defence is not None:
                view = self.view(current, labels)
            direction = self._direction(current, view, self.dissimilarity(view), kept_class)
            shift = (shift + alpha * direction.sign()).clamp(-eps, eps)
            shift = (clean + shift).clamp(0, 1) - clean
        return best if self.defence is None else self._final(best, current, labels, kept_class, valid)

    def _judged(self, images: Tensor, labels: Tensor, draws: str = "score") -> View:
        """The view that candidates are compared by; behind a smoothing, on noise that all of them share."""
        if self.defence is None:
            return self.view(images, labels)
        with common_draws(draws):
            return _detached(self.view(images, labels))

    def _final(self, best: Tensor, last: Tensor, labels: Tensor, kept_class: Tensor, valid: Tensor) -> Tensor:
        """``best`` (B, C, H, W), or the valid ``last`` iterate where that one wins on draws that chose neither."""
        lead = torch.zeros(len(labels), device=labels.device)
        kept = torch.zeros_like(lead)
        for repeat in range(_FINAL_REPEATS):
            views = [self._judged(x.detach().requires_grad_(), labels, f"final {repeat}") for x in (best, last)]
            values = [self.dissimilarity(view) for view in views]
            lead += values[1] - values[0]
            stays = [(view.log_probability.argmax(1) == kept_class).float() for view in views]
            kept += stays[1] - stays[0]
        wins = valid & ((kept > 0) | ((kept == 0) & (lead > 0)))
        return torch.where(wins[:, None, None, None], last.detach(), best)

    def _direction(self, images: Tensor, view: View, value: Tensor, kept_class: Tensor) -> Tensor:
        lead = _lead(view.log_probability, kept_class)
        threatened = (lead < self.margin).detach()
        (gradient,) = torch.autograd.grad(value.sum(), images, retain_graph=bool(threatened.any()))
        direction = _unit_l1(gradient)
        if bool(threatened.any()):
            (defence,) = torch.autograd.grad(lead.sum(), images)
            direction = direction + threatened[:, None, None, None] * _unit_l1(defence)
        return direction

    @torch.no_grad()
    def _valid(self, images: Tensor, view: View, labels: Tensor, kept_class: Tensor) -> Tensor:
        kept = view.log_probability.argmax(1) == kept_class
        return kept if self.defence is None else kept & (Logits(self.explain.classifier)(images).argmax(1) == labels)


class TopKAttack(ExplanationAttack):
    """Top-k attack: D = −Σ over the clean map's k leading patches of the normalised map (Ghorbani et al., §3).

    Where clean patches tie across the k-th place, D is its expectation over random orders of them: each patch counts
    with its chance of being among the k.
    """

    def __init__(self, *common: Any, k: float, **named: Any) -> None:
        """See :class:`ExplanationAttack`; ``k`` leading patches, or their share when below 1."""
        super().__init__(*common, **named)
        self.k = k

    def prepare(self, clean: View) -> None:
        """Remember which patches lead; raises :class:`InputError` where the model has not more than k."""
        patches = clean.maps.shape[1]
        k = self.k
        count = int(k) if k >= 1 else max(1, int(k * patches + 0.5))
        if count >= patches:
            raise InputError(
                f"top_k_attack: k={k:g} asks for {count} of {patches} patches; relevance can be taken from fewer than all of "
                "them, else every map looks robust; give a share such as 0.2"
            )
        self.leading = membership_of(clean.maps, count).to(clean.maps.dtype)

    def dissimilarity(self, view: View) -> Tensor:
        """Relevance missing from the patches that led."""
        return -(view.maps * self.leading).sum(1)


class MassCentreAttack(ExplanationAttack):
    """Mass-centre attack: D = squared distance between the centres of mass of |map|, in patches² (Ghorbani et al.)."""

    def prepare(self, clean: View) -> None:
        """Remember the clean map's centre."""
        rows, columns = self.explain.classifier.grid
        row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        self.positions = torch.stack([row.flatten(), column.flatten()], 1).to(clean.maps)
        self.centre = clean.maps.abs() @ self.positions

    def dissimilarity(self, view: View) -> Tensor:
        """Squared distance of the centres."""
        return (view.maps.abs() @ self.positions - self.centre).square().sum(1)


class ManipulationAttack(ExplanationAttack):
    """Targeted manipulation (Dombrowski et al. 2019, eq. 3): D = −(‖h − h*‖² / ‖h₀ − h*‖² + γ‖p − p₀‖²).

    h are the unit-mass maps, h₀ the clean one, h* the target; p the class probabilities. The first term starts at 1,
    which makes γ comparable between images.
    """

    def __init__(self, *common: Any, pattern: str, output_weight: float, **named: Any) -> None:
        """See :class:`ExplanationAttack`; ``pattern`` as :func:`target_pattern` has it, ``output_weight`` is γ."""
        super().__init__(*common, **named)
        self.pattern, self.output_weight = pattern, output_weight

    def prepare(self, clean: View) -> None:
        """Build the target and remember the clean output."""
        rows, columns = self.explain.classifier.grid
        grid = clean.maps.unflatten(1, (rows, columns))
        self.target = _unit_mass(target_pattern(grid, self.pattern).flatten(1))
        self.probability = clean.log_probability.exp()
        self.start = (clean.maps - self.target).square().sum(1).clamp_min(1e-20)

    def dissimilarity(self, view: View) -> Tensor:
        """Closeness to the target, less what the class probabilities moved."""
        distance = (view.maps - self.target).square().sum(1) / self.start
        moved = (view.log_probability.exp() - self.probability).square().sum(1)
        return -(distance + self.output_weight * moved)


def target_pattern(maps: Tensor, pattern: str) -> Tensor:
    """The map that a manipulation aims at, (B, rows, columns), from the clean ``maps`` of that shape."""
    if pattern == "mirror":
        return maps.flip(-1)
    if pattern == "invert":
        return maps.amax((-2, -1), keepdim=True) + maps.amin((-2, -1), keepdim=True) - maps
    rows, columns = maps.shape[-2:]
    row = torch.arange(rows, device=maps.device)[:, None]
    column = torch.arange(columns, device=maps.device)[None]
    at_row, at_column = ((rows - 1) / 2, (columns - 1) / 2) if pattern == "centre" else (0.0, 0.0)
    squared = (row - at_row).square() + (column - at_column).square()
    return torch.exp(-squared / (2 * (max(rows, columns) / 4) ** 2)).expand_as(maps).to(maps.dtype)


def _unit_mass(maps: Tensor) -> Tensor:
    return maps / maps.abs().sum(1, keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)


def _unit_l1(gradient: Tensor) -> Tensor:
    gradient = gradient.nan_to_num(0.0, 0.0, 0.0)
    return gradient / gradient.abs().sum((1, 2, 3), keepdim=True).clamp_min(torch.finfo(gradient.dtype).tiny)


def _lead(log_probability: Tensor, kept_class: Tensor) -> Tensor:
    """How far the kept class leads the best other one (B,), in log-probability, which is in logits."""
    kept = log_probability.gather(1, kept_class[:, None])[:, 0]
    return kept - log_probability.scatter(1, kept_class[:, None], float("-inf")).amax(1)


def _stored(clean: Tensor, shift: Tensor) -> Tensor:
    """The pixels k/255 that ``clean + shift`` is stored as: rounded towards the clean pixel."""
    levels = (shift.double() * 255).add(shift.sign() * 1e-4).trunc()
    return (((clean.double() * 255).round() + levels).clamp(0, 255) / 255).float()


def _detached(view: View) -> View:
    return View(view.maps.detach(), view.log_probability.detach())

"""The optimisers of all trainings: AdamW, or Muon for the inner matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from timm.optim.muon import Muon
from torch import nn

BETAS = (0.9, 0.98)
"""Decays of the moments of AdamW."""


def inner_matrices(backbone: nn.Module) -> frozenset[str]:
    """Names of the weights of linear and convolutional layers between a timm model's first layer and its head."""
    told: dict[str, Any] = backbone.pretrained_cfg  # type: ignore[assignment]
    ends = [name for key in ("first_conv", "classifier") for name in _several(told.get(key) or ())]
    return frozenset(
        f"{name}.weight"
        for name, layer in backbone.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d) and not any(f"{name}.".startswith(f"{end}.") for end in ends)
    )


def optimiser(
    parameters: Iterable[tuple[str, nn.Parameter]],
    *,
    learning_rate: float,
    weight_decay: float,
    rate_of: Callable[[str], float],
    orthogonal: frozenset[str] = frozenset(),
) -> torch.optim.Optimizer:
    """AdamW, or Muon where there are ``orthogonal`` parameters; a parameter with factor 0 is frozen.

    Muon (Jordan et al., 2024) moves a matrix by its momentum with all singular values made about equal, scaled to the size of
    AdamW's steps (arXiv 2502.16982), so that one rate fits both. All other parameters keep AdamW, in Nesterov's form.

    Args:
        parameters: by name.
        learning_rate: peak of the schedule.
        weight_decay: of parameters with two or more dimensions; vectors have none.
        rate_of: factor on the learning rate by name.
        orthogonal: names of the parameters that Muon moves.
    """
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for name, parameter in parameters:
        rate = rate_of(name)
        parameter.requires_grad_(rate > 0)
        if rate > 0:
            decay = weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay, name in orthogonal), []).append(parameter)
    settings = [
        ({"params": found, "weight_decay": decay, "lr": learning_rate * rate}, by_muon)
        for (rate, decay, by_muon), found in groups.items()
    ]
    if not orthogonal:
        return torch.optim.AdamW([group for group, _ in settings], betas=BETAS)
    return Muon([group | {"use_fallback": not by_muon} for group, by_muon in settings], nesterov=True, betas=BETAS)


def _several(names: str | Iterable[str]) -> Iterable[str]:
    return (names,) if isinstance(names, str) else names

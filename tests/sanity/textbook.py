"""The checks of noise and of random weights written out: one image, one copy at a time, float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Ask = Callable[[Tensor], Tensor]
"""An image (C, H, W) → its logits, its map, or its representation."""


def relative(before: Tensor, after: Tensor) -> float:
    """‖(b − a) / b‖₂, value by value."""
    total = 0.0
    for b, a in zip(before.flatten().tolist(), after.flatten().tolist(), strict=True):
        total += ((b - a) / (b if b != 0 else 1e-6)) ** 2
    return math.sqrt(total)


def relative_stability(image: Tensor, copies: Sequence[Tensor], explain: Ask, logits: Ask, hidden: Ask) -> list[float]:
    """Largest ratios against input, output and representation over the copies that keep the prediction."""
    found = []
    for copy in copies:
        if int(logits(copy).argmax()) != int(logits(image).argmax()):
            continue
        change = relative(explain(image), explain(copy))
        output = float((logits(image).double() - logits(copy).double()).norm())
        below = relative(image, copy), output, relative(hidden(image).double(), hidden(copy).double())
        found.append([change / max(b, 1e-6) for b in below])
    return [max(column) for column in zip(*found, strict=True)]


def histogram_entropy(values: Tensor, bins: int) -> float:
    """Value by value into bins that are closed on the left, the last one on both sides."""
    flat = values.double().flatten().tolist()
    edges = np.linspace(min(flat), max(flat), bins + 1)
    counts = [0] * bins
    for value in flat:
        counts[max(b for b in range(bins) if value >= edges[b])] += 1
    return -sum(c / len(flat) * math.log(c / len(flat)) for c in counts if c)


def mean(maps: Sequence[Tensor]) -> Tensor:
    """Of the maps of noisy copies."""
    return torch.stack([m.double() for m in maps]).mean(0)

"""Slow re-implementations of the definitions: one image, one step, one forward at a time; float64 outside the model."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch

from vitfaith.models.classifier import Classifier


def distribution(classifier: Classifier, image: torch.Tensor) -> np.ndarray:
    """Log-probabilities (K,) of one image (C, H, W)."""
    with torch.no_grad():
        logits = classifier(image[None])[0].double().numpy()
    shifted = logits - logits.max()
    return shifted - math.log(sum(math.exp(value) for value in shifted))


def shuffled(number: int, seed: int, image_id: str, purpose: str, sample: int = 0) -> list[int]:
    """0 … number − 1 in the random order of one key, restated from its definition."""
    key = "\x1f".join([str(seed), image_id, purpose, str(sample)]).encode()
    value = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") // 2
    return torch.randperm(number, generator=torch.Generator().manual_seed(value)).tolist()


def order_of(scores: np.ndarray, image_id: str, seed: int = 0) -> list[int]:
    """Feature indices by decreasing score; equal scores in the random order of the image."""
    flat = [float(value) for value in scores.ravel()]
    drawn = shuffled(len(flat), seed, image_id, "ties")
    return sorted(range(len(flat)), key=lambda i: (-flat[i], drawn.index(i)))


def groups_of(order: list[int], groups: int, image_id: str, seed: int = 0) -> list[list[int]]:
    """``order`` cut into groups whose sizes differ by at most one; which are the larger ones is drawn for the image."""
    size, larger = divmod(len(order), groups)
    drawn = shuffled(groups, seed, image_id, "group sizes", groups)
    found, rest = [], list(order)
    for group in range(groups):
        count = size + 1 if larger and drawn[group] < larger else size
        found.append(rest[:count])
        rest = rest[count:]
    assert not rest
    return found


def bilinear(cells: np.ndarray, height: int, width: int) -> np.ndarray:
    """Half-pixel bilinear upsampling with clamped edges."""
    rows, columns = cells.shape
    result = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            v = min(max((y + 0.5) * rows / height - 0.5, 0), rows - 1)
            u = min(max((x + 0.5) * columns / width - 0.5, 0), columns - 1)
            top, left = int(v), int(u)
            bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
            a, b = v - top, u - left
            result[y, x] = (1 - a) * ((1 - b) * cells[top, left] + b * cells[top, right]) + a * (
                (1 - b) * cells[bottom, left] + b * cells[bottom, right]
            )
    return result


def without(
    image: torch.Tensor, features: list[int], filling: torch.Tensor, cells: tuple[int, int] | None
) -> torch.Tensor:
    """``image`` with cells (or, with ``cells`` None, pixels) replaced by ``filling`` of the image's shape."""
    _, height, width = image.shape
    rows, columns = cells or (height, width)
    result = image.clone()
    for feature in features:
        row, column = divmod(feature, columns)
        for y in range(row * height // rows, (row + 1) * height // rows):
            for x in range(column * width // columns, (column + 1) * width // columns):
                result[:, y, x] = filling[:, y, x]
    return result


def saco(salience: list[float], drops: list[float], weighted: bool = True) -> float:
    """Algorithm 1 of the paper: the loop over pairs."""
    faithfulness = total = 0.0
    for i in range(len(salience) - 1):
        for j in range(i + 1, len(salience)):
            weight = salience[i] - salience[j] if weighted else float(np.sign(salience[i] - salience[j]))
            if drops[i] < drops[j]:
                weight = -weight
            faithfulness += weight
            total += abs(weight)
    return faithfulness / total


def trapezoid(values: list[float], places: list[float]) -> float:
    """Area under straight lines between the points."""
    return sum((places[i + 1] - places[i]) * (values[i] + values[i + 1]) / 2 for i in range(len(values) - 1))


def curve(
    classifier: Classifier,
    image: torch.Tensor,
    order: list[int],
    counts: list[int],
    filling: torch.Tensor,
    cells: tuple[int, int] | None,
) -> list[np.ndarray]:
    """Log-probabilities after removing the first ``count`` features of ``order``, for every count."""
    return [distribution(classifier, without(image, order[:count], filling, cells)) for count in counts]


def admissible(values: np.ndarray, inside: np.ndarray, threshold: float = 0.5) -> dict[str, float]:
    """Read-outs of one map (rows, columns) against the better of two masks, cell by cell; "" is the side."""
    places = [(r, c) for r in range(inside.shape[0]) for c in range(inside.shape[1])]
    sides = [{p for p in places if inside[p]}, {p for p in places if not inside[p]}]

    def iou(chosen: set, side: set) -> float:
        return len(chosen & side) / len(chosen | side)

    two = [iou({p for p in places if values[p] > threshold}, side) for side in sides]
    best = max(iou({p for p in places if values[p] >= values[t]}, side) for t in places for side in sides)
    wins = [(values[p] > values[q]) + 0.5 * (values[p] == values[q]) for p in sides[0] for q in sides[1]]
    area = sum(wins) / len(wins)
    return {
        "iou": max(two),
        "exact": float({p for p in places if values[p] > threshold} in sides),
        "best_iou": best,
        "auroc": max(area, 1 - area),
        "": 1.0 if two[0] > two[1] else 0.0 if two[0] < two[1] else 0.5,
    }

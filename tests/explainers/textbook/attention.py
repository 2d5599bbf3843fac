"""One-pass explainers as the papers write them: loops over layers, heads and tokens, whole matrices, float64.

Each function takes the arrays of :func:`tests.explainers.autograd.reference` for ONE image, in float64, and returns the
vector over all N tokens (or the patches, for token CAMs); ``rows`` are the tokens that the head reads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def identity_plus(matrix: Array) -> Array:
    total = np.zeros_like(matrix)
    for i in range(len(matrix)):
        for j in range(len(matrix)):
            total[i, j] = matrix[i, j] + (1.0 if i == j else 0.0)
        total[i] /= sum(total[i])
    return total


def discard(matrix: Array, ratio: float, prefix: int) -> Array:
    matrix = matrix.copy()
    cells = sorted((matrix[i, j], i, j) for i in range(len(matrix)) for j in range(len(matrix)))
    for _, i, j in cells[: int(ratio * len(cells))]:
        if not (prefix and j == 0):
            matrix[i, j] = 0
    return matrix


def read(matrix: Array, rows: list[int]) -> Array:
    return sum(matrix[i] for i in rows) / len(rows)  # type: ignore[no-any-return, return-value]


def raw_attention(a: Any, rows: list[int], *, layer: int = -1, fuse: Any = np.mean) -> Array:
    return read(fuse(a["attention"][layer], axis=0), rows)


def rollout(
    a: Any, rows: list[int], *, fuse: Any = np.mean, ratio: float = 0.0, start: int = 0, prefix: int = 1
) -> Array:
    product = np.eye(a["attention"][0].shape[-1])
    for heads in a["attention"][start:]:
        product = identity_plus(discard(fuse(heads, axis=0), ratio, prefix)) @ product
    return read(product, rows)


def grad_rollout(a: Any, rows: list[int], *, before: bool = False, ratio: float = 0.0, prefix: int = 1) -> Array:
    product = np.eye(a["attention"][0].shape[-1])
    for heads, gradients in zip(a["attention"], a["attention_gradient"], strict=True):
        if before:
            fused = np.mean([np.maximum(x * g, 0) for x, g in zip(heads, gradients, strict=True)], axis=0)
        else:
            fused = np.maximum(np.mean([x * g for x, g in zip(heads, gradients, strict=True)], axis=0), 0)
        product = identity_plus(discard(fused, ratio, prefix)) @ product
    return read(product, rows)


def transformer_mm(a: Any, rows: list[int], *, start: int = 0) -> Array:
    tokens = a["attention"][0].shape[-1]
    relevance = np.eye(tokens)
    for layer in range(start, len(a["attention"])):
        cam = np.zeros((tokens, tokens))
        for x, g in zip(a["attention"][layer], a["attention_gradient"][layer], strict=True):
            cam += np.maximum(x * g, 0) / len(a["attention"][layer])
        relevance = relevance + cam @ relevance
    return read(relevance, rows)


def attention_gradcam(a: Any, rows: list[int], *, prefix: int) -> Array:
    total = 0.0
    for x, g in zip(a["attention"][-1], a["attention_gradient"][-1], strict=True):
        total = total + read(g, rows)[prefix:].mean() * read(x, rows)
    return np.maximum(total / len(a["attention"][-1]), 0)  # type: ignore[operator, no-any-return]


def attcat(a: Any, rows: list[int], *, shift: int = 0) -> Array:
    tokens = a["attention"][0].shape[-1]
    total = np.zeros(tokens)
    for layer, heads in enumerate(a["attention"]):
        for j in range(tokens):
            weight = sum(h[i, j] for h in heads for i in range(tokens)) / (len(heads) * tokens)
            state, gradient = a["hidden"][layer + shift][j], a["hidden_gradient"][layer + shift][j]
            total[j] += weight * sum(state * gradient)
    return total


def agcam(a: Any, rows: list[int]) -> Array:
    total = np.zeros(a["attention"][0].shape[-1])
    for gradients, scores in zip(a["attention_gradient"], a["scores"], strict=True):
        for g, s in zip(gradients, scores, strict=True):
            total += read(np.maximum(g, 0) * (1 / (1 + np.exp(-s))), rows)
    return total


def weight(before: Array, after: Array) -> Array:
    """TokenTM's W of a sequence of tokens."""
    ratios = [math.hypot(*t) / math.hypot(*e) for e, t in zip(before, after, strict=True)]
    cosines = [e @ t / math.hypot(*e) / math.hypot(*t) for e, t in zip(before, after, strict=True)]
    exponentials = [math.exp(c) for c in cosines]
    return np.array(
        [r * x / (sum(exponentials) / len(exponentials)) for r, x in zip(ratios, exponentials, strict=True)]
    )


def tokentm(a: Any, rows: list[int]) -> Array:
    contribution = np.diag([math.hypot(*e) for e in a["hidden"][0]])
    for layer, (heads, gradients) in enumerate(zip(a["attention"], a["attention_gradient"], strict=True)):
        state, scale = a["hidden"][layer], a["scale"][layer]
        update = np.zeros_like(contribution)
        middle = state + a["bias"][layer] * scale
        for h, (x, g) in enumerate(zip(heads, gradients, strict=True)):
            width = a["value"][layer].shape[-1]
            moved = a["value"][layer][h] @ a["weight"][layer][:, h * width : (h + 1) * width].T * scale
            middle = middle + x @ moved
            update += np.maximum(x * g, 0) @ np.diag(weight(state, moved)) / len(heads)
        contribution = contribution + update @ contribution
        mlp = np.diag(weight(middle, a["hidden"][layer + 1] - middle))
        contribution = contribution + mlp @ contribution
    return read(contribution, rows)


def token_cam(features: Array, gradient: Array, method: str) -> Array:
    """CAMs before the clamp, for features and gradients (P, D)."""
    patches, channels = features.shape
    total = np.zeros(patches)
    for d in range(channels):
        x, g = features[:, d], gradient[:, d]
        if method == "token_gradcam":
            total += g.mean() * x
        elif method == "token_hirescam":
            total += g * x
        elif method == "token_layercam":
            total += np.maximum(g, 0) * x
        elif method == "token_xgradcam":
            total += sum(g * x) / (sum(x) + 1e-7) * x
    if method == "token_eigencam":
        centred = features - features.mean(0)
        total = centred @ np.linalg.svd(centred)[2][0]
        total = total * np.sign(total[np.argmax(np.abs(total))])
    return total

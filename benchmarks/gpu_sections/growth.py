"""Memory of one process over many attacks through second derivatives, and over many attributions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from benchmarks.gpu_sections.setup import Case, Row, Setup

from vitfaith.attacks.registry import ATTACKS
from vitfaith.attacks.run import attack_images
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS

WARM_UP = 5
"""Rounds before the first reading, in which libraries take their workspaces."""
LEAK = 1.0
"""MiB a round that count as growth."""


def cases(setup: Setup) -> Iterator[Case]:
    """50 rounds of each."""
    rounds = 50
    warm_up = WARM_UP
    if setup.small:
        rounds, warm_up = 2, 1
    classifier = setup.vit("ViT-Ti")
    count = 4
    images = setup.images(count, classifier.input_shape)
    with torch.inference_mode():
        targets = classifier(images).argmax(1).clone()
    ids = [str(i) for i in range(count)]
    attack = ATTACKS.item("top_k_attack", explainer="transformer_mm", steps=3)
    methods = {
        entry.name: EXPLAINERS.item(entry.name)
        for entry in EXPLAINERS
        if entry.traits["family"] == "one_pass" and not entry.traits.get("model_files")
    }
    actions: dict[str, Callable[[], object]] = {
        "attacks on a map, second derivatives": lambda: attack_images(
            classifier, images, targets, ids, attack, seed=0, batch_size=count
        ),
        "attributions, all one-pass explainers": lambda: explain(
            classifier, images, targets, ids, methods, seed=0, batch_size=count
        ),
    }
    for name, action in actions.items():
        yield f"{rounds} {name}", partial(_grown, setup, action, rounds, warm_up)


def _held(setup: Setup) -> float:
    """MiB that tensors hold on a GPU; of the whole process on a CPU."""
    if setup.on_gpu:
        torch.cuda.synchronize()
        return torch.cuda.memory_allocated() / 2**20
    import psutil

    return psutil.Process().memory_info().rss / 2**20


def _grown(setup: Setup, action: Callable[[], object], rounds: int, warm_up: int) -> Row:
    for _ in range(warm_up):
        action()
    setup.free()
    first = _held(setup)
    for _ in range(rounds - warm_up):
        action()
    last = _held(setup)
    growth = (last - first) / (rounds - warm_up)
    row: Row = {"MiB after warm-up": round(first, 2), "MiB at the end": round(last, 2), "MiB a round": round(growth, 4)}
    if setup.on_gpu:  # a CPU's allocator keeps what it pleases, which says nothing about tensors
        row |= {"result": "ok" if growth < LEAK else "differs: memory grows", "GiB": setup.peak()}
    return {"result": "ok", **row}

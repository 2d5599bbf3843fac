"""Explaining and attacking explanations again and again keeps nothing: no tensor, module or hook, and no memory of the process."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable

import psutil
import pytest
import torch
from torch import Tensor, nn

from tests.conftest import tiny_vit
from tests.explainers.zoo import batch
from vitfaith.attacks.registry import ATTACKS
from vitfaith.attacks.run import attack_images
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.models.classifier import Classifier
from vitfaith.registry import Item

TIMES = 50
GROWTH = 2**20
"""Bytes that the process may grow by in the second half of the repetitions: less than a few batches' graphs."""

METHODS = (
    "attention_rollout",
    "transformer_mm",
    "token_gradcam",
    "tokentm",
    "legrad",
    "saliency",
    "cp_lrp",
    "lrp",
    "attcat",
)


def _explain(classifier: Classifier) -> None:
    images, targets, ids = batch(classifier)
    methods = {name: Item(EXPLAINERS[name], EXPLAINERS[name].parameters()) for name in METHODS}
    explain(classifier, images, targets, ids, methods, seed=0, batch_size=4)


def _attack(explainer: str) -> Callable[[Classifier], None]:
    entry = ATTACKS["top_k_attack"]
    attack = Item(entry, entry.parameters.model_validate({"explainer": explainer, "steps": 2}))

    def run(classifier: Classifier) -> None:
        images, _, ids = batch(classifier)
        stored = (images * 255).round() / 255
        attack_images(classifier, stored, classifier(stored).argmax(1), ids, attack, seed=0)

    return run


WORK = {
    "attributions": _explain,
    "second-order attacks": _attack("transformer_mm"),
    "attacks on token CAMs": _attack("token_gradcam"),
}


def _alive(classifier: Classifier) -> Counter[str]:
    gc.collect()
    found = Counter(type(thing).__name__ for thing in gc.get_objects() if issubclass(type(thing), Tensor | nn.Module))
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    found["hooks"] = sum(len(getattr(part, kind)) for part in classifier.modules() for kind in kinds)
    return found


@pytest.mark.parametrize("name", WORK)
def test_fifty_in_one_process_grow_nothing(name: str) -> None:
    classifier, run, process = tiny_vit(init_values=0.1), WORK[name], psutil.Process()
    for _ in range(3):  # what is made once and kept: folded weights, compiled kernels, the allocator's arenas
        run(classifier)
    before, resident = _alive(classifier), []
    for _ in range(TIMES):
        run(classifier)
        resident.append(process.memory_info().rss)
    assert _alive(classifier) == before
    assert min(resident[TIMES // 2 :]) - max(resident[: TIMES // 2]) < GROWTH
    assert torch.is_grad_enabled()

"""What the shared pass costs: one forward and one backward, however many explainers read it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from tests.explainers.cases import ONE_PASS, methods_of
from tests.explainers.zoo import batch, model
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.models.classifier import Classifier
from vitfaith.models.passes import PassCounter


def test_all_one_pass_explainers_share_one_forward_and_one_backward() -> None:
    """LeGrad's partial backwards start at the layers' own scores and do not pass the model's output again."""
    classifier = model("class_token")
    images, targets, ids = batch(classifier)
    with PassCounter(classifier.backbone) as passes, BlockCounter(classifier) as blocks:
        explain(classifier, images, targets, ids, methods_of(*ONE_PASS), seed=0, batch_size=4)
    assert (passes.forwards, passes.backwards) == (4, 4)
    assert blocks.forwards == [4, 4, 4]
    # LeGrad enters each block once more. These counters are hooks on the MLP, so it goes all the way through it.
    assert blocks.mlp_backwards == [8, 8, 8]
    assert blocks.attention_backwards == [8, 8, 8]
    without = [entry for entry in ONE_PASS if entry.name != "legrad"]
    with PassCounter(classifier.backbone) as passes, BlockCounter(classifier) as blocks:
        explain(classifier, images, targets, ids, methods_of(*without), seed=0, batch_size=2)
    assert (passes.forwards, passes.backwards) == (4, 4)
    assert blocks.mlp_backwards == blocks.attention_backwards == [4, 4, 4]


def test_explainers_without_gradients_cost_no_backward() -> None:
    classifier = model("class_token")
    images, targets, ids = batch(classifier)
    names = ["raw_attention", "attention_rollout", "token_eigencam", "random"]
    with PassCounter(classifier.backbone) as passes:
        explain(classifier, images, targets, ids, methods_of(*(EXPLAINERS[n] for n in names)), seed=0, batch_size=4)
    assert (passes.forwards, passes.backwards) == (4, 0)
    with PassCounter(classifier.backbone) as passes:
        explain(classifier, images, targets, ids, methods_of(EXPLAINERS["random"]), seed=0, batch_size=4)
    assert (passes.forwards, passes.backwards) == (0, 0)


class BlockCounter:
    """Images through each block, and images whose gradient came back to the outputs of its MLP and its attention."""

    def __init__(self, classifier: Classifier) -> None:
        self.blocks = list(classifier.backbone.blocks)
        self.forwards = [0] * len(self.blocks)
        self.mlp_backwards = [0] * len(self.blocks)
        self.attention_backwards = [0] * len(self.blocks)

    def __enter__(self) -> BlockCounter:
        self.handles = []
        for layer, block in enumerate(self.blocks):
            self.handles.append(block.register_forward_hook(self._forward(layer)))
            self.handles.append(block.mlp.register_forward_hook(self._backward(self.mlp_backwards, layer)))
            self.handles.append(block.attn.register_forward_hook(self._backward(self.attention_backwards, layer)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _forward(self, layer: int) -> Any:
        def count(_module: Any, inputs: tuple[Tensor], _output: Tensor) -> None:
            self.forwards[layer] += len(inputs[0])

        return count

    @staticmethod
    def _backward(counts: list[int], layer: int) -> Any:
        def count(gradient: Tensor) -> None:
            counts[layer] += len(gradient)

        def hook(_module: Any, _inputs: tuple[Tensor], output: Tensor) -> None:
            if output.requires_grad:
                output.register_hook(count)

        return hook

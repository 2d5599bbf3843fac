"""What holds for every registered explainer, whoever wrote it."""

from __future__ import annotations

import copy
import subprocess
import sys
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.attribute.zoo import BUILDERS, UNSUPPORTED, batch, model, swin
from vitfaith.attribute.explain import Methods, explain, families, flags_of
from vitfaith.attribute.registry import EXPLAINERS
from vitfaith.errors import InputError
from vitfaith.models.classifier import Classifier
from vitfaith.models.passes import PassCounter
from vitfaith.registry import Entry

CHEAP = {"samples": 20, "steps": 3, "masks": 20, "iterations": 10}
"""Smaller budgets for explainers that have these parameters; the laws hold for any."""

ENTRIES = [entry for entry in EXPLAINERS if entry.traits["family"] not in ("external", "learned")]
"""The rest needs a file or a trained network and is tested with it."""

ONE_PASS = [entry for entry in ENTRIES if entry.traits["family"] == "one_pass"]

TOLERANCE = {"token_xgradcam": 1e-3}
"""Relative; 1e-5 unless said otherwise. XGrad-CAM divides by sums that cancel and so amplifies float32 rounding."""


def methods_of(*entries: Entry) -> Methods:
    found: dict[str, Any] = {}
    for entry in entries:
        cheap = {key: value for key, value in CHEAP.items() if key in entry.parameters.model_fields}
        found[entry.name] = (entry.name, entry.parameters(**cheap))
    return found


def run(classifier: Classifier, entry: Entry, order: list[int] | None = None, **options: Any) -> Tensor:
    """Maps of ``entry`` for the model's four images, or those in ``order``."""
    images, targets, ids = batch(classifier)
    order = [0, 1, 2, 3] if order is None else order
    options = {"seed": 0, "batch_size": 4} | options
    picked = (images[order], options.pop("targets", targets)[order], [ids[i] for i in order])
    return explain(classifier, *picked, methods_of(entry), **options)[entry.name]


@cache
def together(name: str) -> Tensor:
    """All four images in one batch, on the model with a class token."""
    return run(model("class_token"), EXPLAINERS[name])


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Each map, relative to its own largest magnitude."""
    scale = expected.abs().amax((1, 2), keepdim=True).clamp_min(1e-12)
    assert ((found - expected) / scale).abs().max() <= tolerance


every_explainer = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)


@every_explainer
def test_a_batch_is_a_stack_of_singles_in_any_order(entry: Entry) -> None:
    expected = together(entry.name)
    order = [2, 0, 3, 1]
    tolerance = TOLERANCE.get(entry.name, 1e-5)
    close(run(model("class_token"), entry, order, batch_size=1), expected[order], tolerance)
    close(run(model("class_token"), entry, order, batch_size=3), expected[order], tolerance)
    close(run(model("class_token"), entry, [3]), expected[[3]], tolerance)


@given(order=st.lists(st.integers(0, 3), min_size=1, max_size=6), batch_size=st.integers(1, 6))
@settings(max_examples=10, deadline=None)
def test_one_pass_explainers_ignore_neighbours_repeats_and_batch_size(order: list[int], batch_size: int) -> None:
    classifier = model("class_token")
    images, targets, ids = batch(classifier)
    found = explain(classifier, images[order], targets[order], [ids[i] for i in order], methods_of(*ONE_PASS), seed=0,
                    batch_size=batch_size)  # fmt: skip
    for entry in ONE_PASS:
        close(found[entry.name], together(entry.name)[order], TOLERANCE.get(entry.name, 1e-5))


@every_explainer
def test_maps_are_finite_float32_on_the_patch_grid_of_the_cpu(entry: Entry) -> None:
    maps = together(entry.name)
    assert maps.shape == (4, 4, 4)
    assert maps.dtype == torch.float32
    assert maps.device.type == "cpu"
    assert bool(maps.isfinite().all())
    assert not maps.requires_grad


@every_explainer
def test_the_model_is_left_as_it_was(entry: Entry) -> None:
    classifier = copy.deepcopy(model("class_token"))
    before = _state(classifier)
    run(classifier, entry)
    assert _state(classifier) == before


def _state(classifier: Classifier) -> dict[str, Any]:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "hooks": [sum(len(getattr(part, kind)) for kind in kinds) for part in classifier.modules()],
        "modules": [(name, type(part)) for name, part in classifier.named_modules()],
        "forwards": [part.forward.__qualname__ for part in classifier.modules()],
        "weights": {name: (value.dtype, value.sum().item()) for name, value in classifier.state_dict().items()},
        "requires_grad": [(p.requires_grad, p.grad is None) for p in classifier.parameters()],
        "training": [part.training for part in classifier.modules()],
        "fused": [part.fused_attn for part in classifier.modules() if hasattr(part, "fused_attn")],
        "grad_enabled": torch.is_grad_enabled(),
    }


@every_explainer
def test_the_callers_inference_mode_does_not_matter(entry: Entry) -> None:
    with torch.inference_mode():
        found = run(model("class_token"), entry)
    close(found, together(entry.name), 0)
    assert not found.is_inference()


@every_explainer
def test_a_bfloat16_model_gives_finite_maps(entry: Entry) -> None:
    maps = run(copy.deepcopy(model("class_token")).to(torch.bfloat16), entry)
    assert maps.dtype == torch.float32
    assert bool(maps.isfinite().all())


@every_explainer
def test_the_class_matters_exactly_where_it_is_declared(entry: Entry) -> None:
    _, targets, _ = batch(model("class_token"))
    other = run(model("class_token"), entry, targets=(targets + 1) % 5)
    assert torch.equal(other, together(entry.name)) != entry.traits["class_specific"]


@every_explainer
def test_the_seed_matters_exactly_where_it_is_declared(entry: Entry) -> None:
    other = run(model("class_token"), entry, seed=1)
    assert torch.equal(other, together(entry.name)) != entry.traits["stochastic"]


PREFIXES = ["registers", "average_pool", "class_token_unread", "registers_average_pool", "distilled", "oblong"]


@every_explainer
@pytest.mark.parametrize("name", PREFIXES)
def test_prefix_tokens_are_counted(entry: Entry, name: str) -> None:
    """Maps follow the patches: shuffling the patches with their position embeddings shuffles the map alike.

    Explainers with noise, or with masks that know neighbourhoods, only have to give a finite map.
    """
    classifier = model(name)
    try:
        maps = run(classifier, entry)
    except InputError:
        if entry.traits["family"] == "one_pass":
            raise  # one-pass explainers work on every ViT; others may say that they do not
        return
    rows, columns = classifier.grid
    assert maps.shape == (4, rows, columns)
    assert bool(maps.isfinite().all())
    if entry.traits["stochastic"] or entry.name in ("tis", "vit_cx"):
        return
    order = torch.randperm(rows * columns, generator=torch.Generator().manual_seed(2))
    images, targets, ids = batch(classifier)
    moved = _shuffled_images(images, order, classifier.grid)
    found = explain(_shuffled_model(classifier, order), moved, targets, ids, methods_of(entry), seed=0, batch_size=4)
    expected = maps.flatten(1)[:, order].unflatten(1, classifier.grid)
    # Sums run in another order and maps that nearly cancel show it; a wrong count would be wrong by their whole size.
    close(found[entry.name], expected, TOLERANCE.get(entry.name, 2e-4))


def _shuffled_images(images: Tensor, order: Tensor, grid: tuple[int, int]) -> Tensor:
    patches = images.unflatten(3, (grid[1], 4)).unflatten(2, (grid[0], 4)).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    moved = patches[:, order].unflatten(1, grid).permute(0, 3, 1, 4, 2, 5)
    return moved.flatten(4, 5).flatten(2, 3)


def _shuffled_model(classifier: Classifier, order: Tensor) -> Classifier:
    moved = copy.deepcopy(classifier)
    embedding = moved.backbone.pos_embed
    extra = embedding.shape[1] - len(order)
    index = torch.cat([torch.arange(extra), extra + order])
    embedding.data = embedding.data[:, index]
    return moved


@pytest.mark.parametrize("name", BUILDERS)
def test_one_pass_explainers_work_on_every_vit(name: str) -> None:
    classifier = model(name)
    images, targets, ids = batch(classifier)
    able = [entry for entry in ONE_PASS if name not in UNSUPPORTED.get(entry.name, ())]
    for method, maps in explain(classifier, images, targets, ids, methods_of(*able), seed=0, batch_size=4).items():
        assert maps.shape == (4, *classifier.grid)
        assert bool(maps.isfinite().all())
        assert "" in flags_of(maps), f"every map of {method} is constant"
    for entry in ONE_PASS:
        if entry not in able:
            with pytest.raises(InputError, match=entry.name):
                run(classifier, entry)


@every_explainer
def test_hierarchical_models_work_exactly_where_it_is_declared(entry: Entry) -> None:
    if entry.traits["hierarchical"]:
        assert run(swin(), entry).shape == (4, 16, 16)
    else:
        with pytest.raises(InputError):
            run(swin(), entry)


def test_all_one_pass_explainers_share_one_forward_and_one_backward() -> None:
    """LeGrad's partial backwards start at the layers' own scores and do not pass the model's output again."""
    classifier = model("class_token")
    images, targets, ids = batch(classifier)
    with PassCounter(classifier.backbone) as passes, BlockCounter(classifier) as blocks:
        explain(classifier, images, targets, ids, methods_of(*ONE_PASS), seed=0, batch_size=4)
    assert (passes.forwards, passes.backwards) == (4, 4)
    assert blocks.forwards == [4, 4, 4]
    # Shared backward: each block once. LeGrad: once more into the MLP of each block.
    assert blocks.mlp_backwards == [8, 8, 8]
    without = [entry for entry in ONE_PASS if entry.name != "legrad"]
    with PassCounter(classifier.backbone) as passes, BlockCounter(classifier) as blocks:
        explain(classifier, images, targets, ids, methods_of(*without), seed=0, batch_size=2)
    assert (passes.forwards, passes.backwards) == (4, 4)
    assert blocks.mlp_backwards == [4, 4, 4]


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
    """Images through each block, and images whose gradient came back through its MLP."""

    def __init__(self, classifier: Classifier) -> None:
        self.blocks = list(classifier.backbone.blocks)
        self.forwards = [0] * len(self.blocks)
        self.mlp_backwards = [0] * len(self.blocks)

    def __enter__(self) -> BlockCounter:
        self.handles = []
        for layer, block in enumerate(self.blocks):
            self.handles.append(block.register_forward_hook(self._forward(layer)))
            self.handles.append(block.mlp.register_forward_hook(self._mlp(layer)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _forward(self, layer: int) -> Any:
        def count(_module: Any, inputs: tuple[Tensor], _output: Tensor) -> None:
            self.forwards[layer] += len(inputs[0])

        return count

    def _mlp(self, layer: int) -> Any:
        def count(gradient: Tensor) -> None:
            self.mlp_backwards[layer] += len(gradient)

        def hook(_module: Any, _inputs: tuple[Tensor], output: Tensor) -> None:
            if output.requires_grad:
                output.register_hook(count)

        return hook


def test_the_registry_is_filled_without_importing_torch() -> None:
    code = (
        "import sys, vitfaith.attribute.explainers; from vitfaith.attribute.registry import EXPLAINERS;"
        "assert 'torch' not in sys.modules and 'timm' not in sys.modules; print(len(EXPLAINERS))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(result.stdout) == len(EXPLAINERS) >= 17


@pytest.mark.parametrize("entry", list(EXPLAINERS), ids=lambda entry: entry.name)
def test_every_entry_says_what_it_is(entry: Entry) -> None:
    assert entry.summary
    assert entry.citation
    assert entry.name == entry.name.lower()
    assert "Returns:" in (entry.implementation.__doc__ or "")


def test_families_keep_order() -> None:
    methods = methods_of(*(EXPLAINERS[name] for name in ("rise", "random", "occlusion", "attcat")))
    assert families(methods) == {"perturbation": ["rise", "occlusion"], "one_pass": ["random", "attcat"]}


def test_flags() -> None:
    good = torch.rand(4, 4)
    broken, infinite, constant, nearly = good.clone(), good.clone(), torch.full((4, 4), 0.3), torch.full((4, 4), 0.3)
    broken[0, 1], infinite[2, 2] = float("nan"), float("-inf")
    nearly[1, 1] += 3e-8
    maps = torch.stack([good, broken, infinite, constant, nearly, torch.zeros(4, 4), good * 1e-30])
    assert flags_of(maps) == ["", "nan", "nan", "constant", "constant", "constant", ""]


def test_explain_names_what_does_not_fit() -> None:
    classifier = model("class_token")
    images, targets, ids = batch(classifier)
    methods = methods_of(EXPLAINERS["random"])
    with pytest.raises(InputError, match="4 images, 3 targets and 4 image_ids"):
        explain(classifier, images, targets[:3], ids, methods, seed=0, batch_size=4)
    with pytest.raises(InputError, match=r"not in \[0, 1\]"):
        explain(classifier, images * 2, targets, ids, methods, seed=0, batch_size=4)
    with pytest.raises(InputError, match="batch_size is 0"):
        explain(classifier, images, targets, ids, methods, seed=0, batch_size=0)


def test_no_images_give_no_maps() -> None:
    classifier = model("oblong")
    found = explain(classifier, torch.zeros(0, 3, 16, 24), torch.zeros(0, dtype=torch.int64), [],
                    methods_of(EXPLAINERS["random"]), seed=0, batch_size=4)  # fmt: skip
    assert found["random"].shape == (0, 4, 6)

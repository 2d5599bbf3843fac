"""What holds for every registered explainer, whoever wrote it."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.explainers.cases import ALL_CASES, CASES, ONE_PASS, Case, close, finite, methods_of, together
from tests.explainers.zoo import batch, model
from vitfaith.errors import InputError
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.models.classifier import Classifier
from vitfaith.registry import Entry

every_explainer = pytest.mark.parametrize("case", CASES, ids=str)
every_setting = pytest.mark.parametrize("case", ALL_CASES, ids=str)


@every_setting
def test_a_batch_is_a_stack_of_singles_in_any_order(case: Case) -> None:
    expected = together(case)
    order = [2, 0, 3, 1]
    close(case.run(model("class_token"), order, batch_size=1), expected[order], case.tolerance)
    close(case.run(model("class_token"), order, batch_size=3), expected[order], case.tolerance)
    close(case.run(model("class_token"), [3]), expected[[3]], case.tolerance)


@given(order=st.lists(st.integers(0, 3), min_size=1, max_size=6), batch_size=st.integers(1, 6))
@settings(max_examples=10, deadline=None)
def test_one_pass_explainers_ignore_neighbours_repeats_and_batch_size(order: list[int], batch_size: int) -> None:
    classifier = model("class_token")
    images, targets, ids = batch(classifier)
    found = explain(classifier, images[order], targets[order], [ids[i] for i in order], methods_of(*ONE_PASS), seed=0,
                    batch_size=batch_size)  # fmt: skip
    for case in CASES:
        if case.entry in ONE_PASS:
            close(found[case.entry.name], together(case)[order], case.tolerance)


@every_setting
def test_maps_are_finite_float32_on_the_patch_grid_of_the_cpu(case: Case) -> None:
    maps = together(case)
    assert maps.shape == (4, 4, 4)
    assert maps.dtype == torch.float32
    assert maps.device.type == "cpu"
    assert finite(maps)
    assert not maps.requires_grad


@every_setting
@pytest.mark.parametrize("trainable", [False, True])
def test_the_model_is_left_as_it_was(case: Case, trainable: bool) -> None:
    classifier = copy.deepcopy(model("class_token")).requires_grad_(trainable)
    before = _state(classifier)
    case.run(classifier)
    assert _state(classifier) == before


def _state(classifier: Classifier) -> dict[str, Any]:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "hooks": [sum(len(getattr(part, kind)) for kind in kinds) for part in classifier.modules()],
        "modules": [(name, type(part), sorted(part.__dict__)) for name, part in classifier.named_modules()],
        "forwards": [part.forward.__qualname__ for part in classifier.modules()],
        "weights": {name: (value.dtype, value.sum().item()) for name, value in classifier.state_dict().items()},
        "versions": [(id(p), p.data_ptr(), p._version) for p in classifier.parameters()],
        "requires_grad": [(p.requires_grad, p.grad is None) for p in classifier.parameters()],
        "training": [part.training for part in classifier.modules()],
        "fused": [part.fused_attn for part in classifier.modules() if hasattr(part, "fused_attn")],
        "grad_enabled": torch.is_grad_enabled(),
    }


@every_setting
def test_the_model_is_left_as_it_was_after_an_error(case: Case) -> None:
    if case.entry.name == "random":  # asks the model nothing
        return
    classifier = copy.deepcopy(model("class_token"))
    head: Any = classifier.backbone.head

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    handle = head.register_forward_pre_hook(fail)
    before = _state(classifier)
    reads_weights = case.entry.name in ("lrp", "partial_lrp", "transformer_attribution", "lrp_rollout")
    with pytest.raises(InputError if reads_weights else ZeroDivisionError):
        case.run(classifier)
    assert _state(classifier) == before
    handle.remove()


@every_setting
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_the_callers_mode_does_not_matter(case: Case, mode: Any) -> None:
    with mode():
        found = case.run(model("class_token"))
    close(found, together(case), 0)
    assert not found.is_inference()


@every_setting
def test_a_bfloat16_model_gives_finite_maps(case: Case) -> None:
    maps = case.run(copy.deepcopy(model("class_token")).to(torch.bfloat16))
    assert maps.dtype == torch.float32
    assert finite(maps)


@every_explainer
def test_the_class_matters_exactly_where_it_is_declared(case: Case) -> None:
    _, targets, _ = batch(model("class_token"))
    other = case.run(model("class_token"), targets=(targets + 1) % 5)
    assert torch.equal(other, together(case)) != case.entry.traits["class_specific"]


@every_explainer
def test_random_draws_are_keyed_exactly_where_it_is_declared(case: Case) -> None:
    for option in ("seed", "sample"):
        other = case.run(model("class_token"), **{option: 1})
        assert torch.equal(other, together(case)) != case.entry.traits["stochastic"]


@every_explainer
def test_degenerate_images_give_maps_without_nan(case: Case) -> None:
    """One colour all over: black, white, and what the normalisation makes zero."""
    classifier = model("class_token")
    images = torch.tensor([0.0, 1.0, 0.5])[:, None, None, None].expand(3, 3, 16, 16)
    found = explain(classifier, images, torch.tensor([0, 1, 2]), list("abc"), case.methods, seed=0, batch_size=4)
    assert finite(found[case.entry.name])


def test_the_registry_is_filled_without_importing_torch() -> None:
    code = (
        "import sys, vitfaith.explainers; from vitfaith.explainers.registry import EXPLAINERS;"
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

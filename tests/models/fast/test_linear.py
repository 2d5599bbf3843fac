"""Linear layers by oneDNN: the same numbers wherever they stand in for torch's, and torch's own wherever they do not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from tests.conftest import tiny_vit
from vitfaith.models.fast.linear import has_onednn, linear, quick_linear_layers

needs_onednn = pytest.mark.skipif(not has_onednn(), reason="oneDNN is not used on this machine, so nothing is replaced")


def layer(inputs: int, outputs: int, *, bias: bool = True, seed: int = 0) -> tuple[Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, inputs, generator=generator)
    return weight, torch.randn(outputs, generator=generator) if bias else None


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(1, 5), max_size=3), st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 99)
)
def test_it_is_the_product_of_the_textbook(shape: list[int], inputs: int, outputs: int, bias: bool, seed: int) -> None:
    weight, offset = layer(inputs, outputs, bias=bias, seed=seed)
    x = torch.randn(*shape, inputs, generator=torch.Generator().manual_seed(seed + 1))
    expected = x.double() @ weight.double().T + (0 if offset is None else offset.double())
    with torch.no_grad():
        found = linear(x, weight, offset)
    assert found.shape == (*shape, outputs)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-4)


@needs_onednn
@pytest.mark.parametrize(("inputs", "outputs"), [(64, 192), (192, 10), (768, 192)])
def test_a_row_does_not_depend_on_the_others(inputs: int, outputs: int) -> None:
    weight, offset = layer(inputs, outputs)
    x = torch.randn(300, inputs, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        together = linear(x, weight, offset)
        for rows in (1, 2, 3, 50, 197):
            assert torch.equal(linear(x[:rows], weight, offset), together[:rows]), rows


@pytest.mark.parametrize("enabled", [True, False])
def test_gelu_follows_the_product(enabled: bool) -> None:
    weight, offset = layer(12, 9)
    x = torch.randn(7, 12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=enabled):
        found = linear(x, weight, offset, gelu=True)
    steps = functional.linear(x.double(), weight.double(), None if offset is None else offset.double())
    expected = steps * (1 + torch.erf(steps / 2**0.5)) / 2
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_an_mlp_that_somebody_watches_is_computed_step_by_step(images: Tensor) -> None:
    vit = tiny_vit()
    seen: list[Tensor] = []
    watched: Any = vit.backbone.blocks[0]
    with torch.inference_mode():
        expected = vit(images)
        handle = watched.mlp.act.register_forward_hook(lambda _m, _i, output: seen.append(output))
        with quick_linear_layers(vit):
            torch.testing.assert_close(vit(images), expected, rtol=1e-5, atol=1e-6)
        handle.remove()
    assert len(seen) == 1


def test_slices_and_transposed_inputs() -> None:
    weight, offset = layer(12, 9)
    assert offset is not None
    x = torch.randn(4, 12, 5, generator=torch.Generator().manual_seed(1)).transpose(1, 2)
    with torch.no_grad():
        found = linear(x[:, :1], weight[3:], offset[3:])
        torch.testing.assert_close(found, functional.linear(x[:, :1], weight[3:], offset[3:]))


def test_gradients_other_types_and_autocast_are_left_to_torch() -> None:
    weight, offset = layer(12, 9)
    assert offset is not None
    x = torch.randn(4, 12, generator=torch.Generator().manual_seed(1))
    watched = x.clone().requires_grad_()
    linear(watched, weight, offset).sum().backward()
    torch.testing.assert_close(watched.grad, weight.sum(0).expand(4, -1))
    with torch.no_grad():
        assert linear(x.double(), weight.double(), offset.double()).dtype == torch.float64
        assert linear(x[:0], weight, offset).shape == (0, 9)
        with torch.autocast("cpu", torch.bfloat16):
            assert linear(x, weight, offset).dtype == torch.bfloat16
        with torch.backends.mkldnn.flags(enabled=False):
            assert torch.equal(linear(x, weight, offset), functional.linear(x, weight, offset))


@needs_onednn
def test_a_network_gives_the_same_logits_and_has_no_trace_afterwards(images: Tensor, monkeypatch: Any) -> None:
    vit = tiny_vit()
    calls: list[str] = []
    own = torch.ops.mkldnn._linear_pointwise
    monkeypatch.setattr(
        torch.ops.mkldnn, "_linear_pointwise", lambda *arguments: (calls.append(arguments[3]), own(*arguments))[1]
    )
    with torch.inference_mode():
        expected = vit(images)
        assert not calls
        with quick_linear_layers(vit):
            torch.testing.assert_close(vit(images), expected, rtol=1e-5, atol=1e-6)
        assert len(calls) == sum(type(m) is nn.Linear for m in vit.modules())
        assert calls.count("gelu") == len(vit.backbone.blocks)
    with pytest.raises(ZeroDivisionError), quick_linear_layers(vit):
        raise ZeroDivisionError
    assert not any("forward" in module.__dict__ for module in vit.modules())


@needs_onednn
def test_gradients_are_those_of_the_formula() -> None:
    """First and second derivatives in the inputs, against torch in float64; the weights get none and ask for none."""
    weight, offset = layer(12, 9)
    x = torch.randn(7, 12, generator=torch.Generator().manual_seed(1), requires_grad=True)
    double = x.detach().double().requires_grad_()
    found = linear(x, weight, offset, gelu=True)
    expected = functional.gelu(functional.linear(double, weight.double(), None if offset is None else offset.double()))
    assert type(linear(x, weight, offset).grad_fn).__name__ == "_LinearBackward"
    for first, second in ((found, x), (expected, double)):
        (gradient,) = torch.autograd.grad((first**2).sum(), second, create_graph=True)
        (twice,) = torch.autograd.grad((gradient**3).sum(), second)
        if first is found:
            ours = gradient.detach(), twice
    torch.testing.assert_close(ours[0].double(), gradient.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours[1].double(), twice, rtol=1e-4, atol=1e-3)


def test_weights_that_are_trained_get_their_gradients() -> None:
    weight, offset = (None if t is None else t.requires_grad_() for t in layer(12, 9))
    assert weight is not None
    assert offset is not None
    x = torch.randn(7, 12, requires_grad=True)
    for gradients in (linear, functional.linear):
        found = torch.autograd.grad((gradients(x, weight, offset) ** 2).sum(), [x, weight, offset])
        if gradients is linear:
            ours = found
    assert all(torch.equal(a, b) for a, b in zip(ours, found, strict=True))


@needs_onednn
def test_a_gradient_does_not_depend_on_the_rest_of_the_batch(images: Tensor) -> None:
    vit = tiny_vit()
    for p in vit.parameters():
        p.requires_grad_(False)

    def gradient(batch: Tensor) -> Tensor:
        batch = batch.clone().requires_grad_()
        with quick_linear_layers(vit):
            score = vit(batch)[:, 1].sum()
        return torch.autograd.grad(score, batch)[0]

    torch.testing.assert_close(gradient(images)[:1], gradient(images[:1]), rtol=1e-5, atol=1e-8)

"""Fast paths on and off: the same numbers up to rounding, the same hooks, and nothing replaced where they are off."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, get_args

import pytest
import torch
import typer
from torch import Tensor, nn
from torch.torch_version import TorchVersion
from typer.testing import CliRunner

from tests.conftest import tiny_vit
from tests.explainers.zoo import batch, model
from vitfaith.cli.main import app as cli
from vitfaith.cli.options import Fast, OnOff
from vitfaith.explainers.passes.capture import Need
from vitfaith.explainers.passes.shared_pass import run_capture
from vitfaith.models.classifier import Classifier
from vitfaith.models.fast.class_token import class_token_alone
from vitfaith.models.fast.linear import CAPABILITIES, has_onednn, kernels, linear, quick_linear_layers
from vitfaith.models.fast.switch import fast_paths, is_on

CLOSE: Any = {"rtol": 1e-5, "atol": 1e-6}
"""Tolerance of float32 numbers with the fast paths on and off: sums are taken in another order."""


def test_they_are_on_by_default_off_in_all_threads_and_on_again_after_an_error() -> None:
    seen: list[bool] = []

    def look() -> None:
        thread = threading.Thread(target=lambda: seen.append(is_on()))
        thread.start()
        thread.join()

    assert is_on()
    with fast_paths(on=False):
        look()
        with fast_paths(on=True):
            look()
        look()
    assert seen == [False, True, False]
    with pytest.raises(ZeroDivisionError), fast_paths(on=False):
        raise ZeroDivisionError
    assert is_on()


def test_nothing_is_replaced_where_they_are_off(images: Tensor, monkeypatch: Any) -> None:
    vit = tiny_vit()
    calls: list[str] = []
    own: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    monkeypatch.setattr(
        torch.ops.mkldnn, "_linear_pointwise", lambda *given: (calls.append(""), own(*given))[1], raising=False
    )
    with torch.inference_mode():
        expected = vit(images)
        with fast_paths(on=False), class_token_alone(vit) as shortened, quick_linear_layers(vit):
            assert not shortened
            assert not any("forward" in module.__dict__ for module in vit.modules())
            assert torch.equal(vit(images), expected)
            layer = vit.backbone.head
            assert isinstance(layer, nn.Linear)
            assert torch.equal(
                linear(images.flatten(1)[:, :24], layer.weight, layer.bias), layer(images.flatten(1)[:, :24])
            )
    assert not calls


@pytest.mark.parametrize("overrides", [{}, {"reg_tokens": 2}, {"class_token": False, "global_pool": "avg"}], ids=str)
def test_logits_and_gradients_are_the_same_up_to_rounding(overrides: dict[str, Any], images: Tensor) -> None:
    vit = tiny_vit(**overrides)

    def run(on: bool) -> tuple[Tensor, Tensor]:
        leaves = images.clone().requires_grad_()
        with fast_paths(on=on), class_token_alone(vit), quick_linear_layers(vit):
            logits = vit(leaves)
            return logits.detach(), torch.autograd.grad(logits[:, 1].sum(), leaves)[0]

    for fast, plain in zip(run(True), run(False), strict=True):
        torch.testing.assert_close(fast, plain, **CLOSE)


def watched(vit: Classifier, images: Tensor, *, on: bool) -> list[tuple[str, Tensor]]:
    """What hooks on all modules see of a pass, in order."""
    seen: list[tuple[str, Tensor]] = []
    with fast_paths(on=on), ExitStack() as stack, torch.inference_mode():
        for name, module in vit.named_modules():
            handle = module.register_forward_hook(lambda _m, _i, output, name=name: seen.append((name, output)))
            stack.callback(handle.remove)
        stack.enter_context(class_token_alone(vit))
        stack.enter_context(quick_linear_layers(vit))
        vit(images)
    return seen


@pytest.mark.parametrize("overrides", [{}, {"qk_norm": True, "init_values": 0.3}, {"scale_mlp_norm": True}], ids=str)
def test_hooks_see_the_same_modules_in_the_same_order_with_the_same_values(
    overrides: dict[str, Any], images: Tensor
) -> None:
    vit = tiny_vit(**overrides)
    fast, plain = (watched(vit, images, on=on) for on in (True, False))
    assert [name for name, _ in fast] == [name for name, _ in plain]
    for (name, ours), (_, theirs) in zip(fast, plain, strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE, msg=f"{{}} in {name}".format)


@pytest.mark.parametrize("name", ["class_token", "layer_scale", "average_pool", "rotary"])
def test_the_shared_pass_keeps_the_same_for_explainers(name: str) -> None:
    classifier = model(name)
    images, targets, _ = batch(classifier)

    def kept(on: bool) -> list[Tensor]:
        with fast_paths(on=on):
            capture = run_capture(classifier, images, targets, get_args(Need))
        each = (capture.attention, capture.attention_scores, capture.attention_gradient, capture.layer_score_gradient)
        found = [read(layer) for read in each for layer in range(capture.depth)]
        found += [
            read(layer) for read in (capture.hidden, capture.hidden_gradient) for layer in range(capture.depth + 1)
        ]
        return [*found, capture.features, capture.features_gradient, capture.input_gradient, capture.logits]

    for fast, plain in zip(kept(True), kept(False), strict=True):
        torch.testing.assert_close(fast, plain, **CLOSE)


def test_the_instruction_set_chooses_the_kernel() -> None:
    """In processes of their own, since torch reads the variable once."""
    code = "from vitfaith.models.fast.linear import kernels; print(*kernels('cpu').values())"
    for chosen, expected in (("default", "on torch DEFAULT"), ("avx2", "on oneDNN AVX2")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"ATEN_CPU_CAPABILITY": chosen},
        )
        assert done.stdout.strip() == expected


def test_the_kernel_is_named_for_provenance() -> None:
    processor = torch.backends.cpu.get_cpu_capability()
    assert has_onednn() == (torch.backends.mkldnn.is_available() and processor in CAPABILITIES)
    linear_by = "oneDNN" if has_onednn() else "torch"
    assert kernels("cpu") == {"fast": "on", "linear": linear_by, "processor": processor}
    assert kernels("cpu", quick=False) == {"fast": "on", "linear": "torch", "processor": processor}
    assert kernels("cuda") == {"fast": "on", "linear": "torch"}
    with fast_paths(on=False):
        assert kernels("cpu") == {"fast": "off", "linear": "torch", "processor": processor}


@pytest.mark.parametrize("position", ["on", "off"])
def test_a_job_sets_the_switch_before_its_body_and_puts_it_back(position: str) -> None:
    app, seen = typer.Typer(), []

    @app.command()
    def job(fast: Fast = OnOff.on) -> None:
        seen.append(is_on())

    done = CliRunner().invoke(app, ["--fast", position])
    assert done.exit_code == 0, done.output
    assert seen == [position == "on"]
    assert is_on()


def test_every_verb_on_a_device_has_the_switch() -> None:
    def verbs(command: Any) -> Iterator[Any]:
        yield command
        for inner in getattr(command, "commands", {}).values():
            yield from verbs(inner)

    options = {verb.name: {o for p in verb.params for o in p.opts} for verb in verbs(typer.main.get_command(cli))}
    assert sum("--device" in known for known in options.values()) == 11
    assert [name for name, known in options.items() if "--device" in known and "--fast" not in known] == []


def test_an_older_torch_computes_as_it_always_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its oneDNN rounds a row by how many others there are."""
    for version in ("2.8.0+cu128", "2.10.0"):
        monkeypatch.setattr(torch, "__version__", TorchVersion(version))
        assert not has_onednn.__wrapped__()

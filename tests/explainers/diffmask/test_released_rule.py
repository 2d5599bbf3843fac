"""The released training's optimisers against a replica that keeps every gate's and every λ's numbers in a loop of its own."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from tests.conftest import tiny_vit
from tests.explainers.diffmask.conftest import RECIPE
from vitfaith.explainers.diffmask import train as training
from vitfaith.explainers.diffmask.hard_concrete import HardConcrete
from vitfaith.explainers.diffmask.lookahead import Slices, lookahead_adam
from vitfaith.explainers.diffmask.network import DiffMask, new_diffmask
from vitfaith.explainers.diffmask.recipe import OFFICIAL, DiffMaskRecipe
from vitfaith.explainers.diffmask.steps import OfficialStep
from vitfaith.explainers.diffmask.train import train_diffmask
from vitfaith.models.classifier import Classifier

Pictures = NDArray[np.uint8]
RELEASED = RECIPE.model_copy(update={**OFFICIAL, "warmup": 5, "learning_rate": 1e-3})


class Alone:
    """One parameter by the release's rule: Adam, every sixth step of its optimiser half of the way back, or nothing at all."""

    def __init__(self, value: NDArray[np.float64]) -> None:
        self.value, self.own_steps = value, 0
        self.mean, self.square = np.zeros_like(value), np.zeros_like(value)
        self.slow: NDArray[np.float64] | None = None

    def step(self, gradient: NDArray[np.float64] | None, rate: float, *, syncs: bool) -> None:
        if gradient is None:
            return
        self.own_steps += 1
        self.mean = 0.9 * self.mean + 0.1 * gradient
        self.square = 0.999 * self.square + 0.001 * gradient**2
        mean, square = self.mean / (1 - 0.9**self.own_steps), self.square / (1 - 0.999**self.own_steps)
        self.value = self.value - rate * mean / (np.sqrt(square) + 1e-8)
        if syncs:
            if self.slow is None:  # a first sync has nowhere to go back to
                self.slow = self.value
            self.slow = self.slow + 0.5 * (self.value - self.slow)
            self.value = self.slow


def fresh(classifier: Classifier, beta: float = 2.0, **options: Any) -> DiffMask:
    generator = torch.Generator().manual_seed(0)
    return new_diffmask(classifier, distribution=HardConcrete(), beta=beta, generator=generator, **options)


def doubles(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().double().numpy().copy()


def test_lookahead_adam_equals_the_loop_where_gradients_come_and_go() -> None:
    source = np.random.default_rng(0)
    whole = torch.from_numpy(source.normal(size=(5, 3)))
    slices, alone = Slices(whole), [Alone(row.copy()) for row in whole.numpy()]
    optimiser = lookahead_adam([{"params": slices.parameters}], 0.1)
    for step in range(1, 60):
        gradient, count = source.normal(size=(5, 3)), int(source.integers(0, 6))
        slices.hand_over(torch.from_numpy(gradient), count)
        optimiser.step()
        for index, one in enumerate(alone):
            one.step(gradient[index] if index < count else None, 0.1, syncs=step % 6 == 0)
        np.testing.assert_allclose(whole.numpy(), [one.value for one in alone], rtol=1e-10)


@pytest.mark.parametrize("class_specific", [False, True])
def test_a_training_equals_the_loop(sharp: Classifier, pictures: Pictures, class_specific: bool) -> None:
    """Twenty batches; only gradients are taken over from the step under test."""
    network = fresh(sharp, class_specific=class_specific)
    step = OfficialStep(sharp, network, RELEASED)
    axes = {name: int(name == "classes") for name, _ in network.gates.named_parameters()}
    gates = {
        name: [Alone(doubles(part)) for part in parameter.unbind(axes[name])]
        for name, parameter in network.gates.named_parameters()
    }
    placeholder = Alone(doubles(network.placeholder))
    multipliers = [Alone(np.array(20.0)) for _ in range(5)]
    excess: list[float] = []
    descend = step.descend

    def told(count: int, value: Tensor) -> None:
        excess.append(float(value))
        descend(count, value)

    step.descend = told  # type: ignore[method-assign, assignment]
    for batch in range(20):
        images = torch.from_numpy(pictures[batch % 4 * 16 :][:16]).float() / 255
        step(images, batch)
        warm, syncs = min(1.0, batch / RELEASED.warmup), batch % 6 == 5
        last = step.last_gate(batch, "gates")
        for name, parameter in network.gates.named_parameters():
            assert parameter.grad is not None
            for gate, gradient in enumerate(parameter.grad.unbind(axes[name])):
                gates[name][gate].step(doubles(gradient) if gate < last else None, 1e-3 * warm, syncs=syncs)
        assert network.placeholder.grad is not None
        placeholder.step(doubles(network.placeholder.grad), 1e-3 * warm, syncs=syncs)
        chosen = step.last_gate(batch, "multipliers") - 1
        multipliers[chosen].step(np.array(excess[-1]), 0.3, syncs=syncs)
        multipliers[chosen].value = np.clip(multipliers[chosen].value, 0, 200)
        for name, parameter in network.gates.named_parameters():
            found = [doubles(part) for part in parameter.unbind(axes[name])]
            np.testing.assert_allclose(found, [one.value for one in gates[name]], rtol=1e-4, atol=2e-6)
        np.testing.assert_allclose(doubles(network.placeholder), placeholder.value, rtol=1e-4, atol=2e-6)
        np.testing.assert_allclose(doubles(step.multiplier), [one.value for one in multipliers], rtol=1e-5)


def test_gates_and_multipliers_without_a_gradient_stay(sharp: Classifier, pictures: Pictures) -> None:
    network = fresh(sharp)
    step = OfficialStep(sharp, network, RELEASED)
    images = torch.from_numpy(pictures[:16]).float() / 255
    stayed = 0
    for batch in range(30):
        before, multipliers = copy.deepcopy(network.gates.state_dict()), step.multiplier.clone()
        step(images, batch)
        last, chosen = step.last_gate(batch, "gates"), step.last_gate(batch, "multipliers") - 1
        for name, parameter in network.gates.named_parameters():
            assert torch.equal(parameter[last:], before[name][last:])
        others = torch.arange(5) != chosen
        assert torch.equal(step.multiplier[others], multipliers[others])
        stayed += 5 - last
    assert stayed > 20


def test_300_steps_above_the_margin_by_one_nat() -> None:
    """14 gates, of which one λ in 14 has a gradient in a step; a shared Adam would drag all of them to 0.02 … 0.7."""
    classifier = tiny_vit(depth=12)
    for seed in range(4):
        recipe = DiffMaskRecipe(**OFFICIAL, seed=seed)
        step, alone = OfficialStep(classifier, fresh(classifier), recipe), [Alone(np.array(20.0)) for _ in range(14)]
        for number in range(300):
            gates = step.last_gate(number, "multipliers")
            step.descend(gates, torch.tensor(1.0))
            alone[gates - 1].step(np.array(1.0), 0.3, syncs=number % 6 == 5)
        assert float(step.multiplier.mean()) == pytest.approx(15.4, abs=0.4)
        np.testing.assert_allclose(doubles(step.multiplier), [one.value for one in alone], rtol=1e-5)


def test_the_warm_up_starts_at_zero(sharp: Classifier, pictures: Pictures) -> None:
    """As ``get_constant_schedule_with_warmup`` has it: step n of w takes n/w of the rate, so the first batch moves nothing."""
    network = fresh(sharp)
    step, before = OfficialStep(sharp, network, RELEASED), copy.deepcopy(network.state_dict())
    images = torch.from_numpy(pictures[:16]).float() / 255
    step(images, 0)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    step(images, 1)
    assert not torch.equal(network.placeholder, before["placeholder"])
    assert [group["lr"] for group in step.optimisers[0].param_groups] == pytest.approx([1e-3 / 5, 1e-3 / 5])


def test_a_killed_training_of_the_rule_without_separate_gates_starts_again(
    sharp: Classifier,
    pictures: Pictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A file that one optimiser state for all gates left behind is told apart by its key; one of dual ascent still fits."""
    path = tmp_path / "progress.safetensors"
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    for recipe in (RELEASED, RECIPE):
        recipe = recipe.model_copy(update={"steps": 20, "checkpoint_every": 10})
        expected, _ = train_diffmask(sharp, pictures, pictures, recipe, checkpoint=path)
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            facts = json.loads(file.metadata()["vitfaith"])
        facts["key"] = _old_key(sharp, recipe, len(pictures))
        save_file(tensors, path, metadata={"vitfaith": json.dumps(facts)})
        caplog.clear()
        found, log = train_diffmask(sharp, pictures, pictures, recipe, checkpoint=path)
        assert ("of other settings" in caplog.text) == (recipe.mode == "official")
        assert log[0]["step"] == 5
        assert all(torch.equal(v, expected.state_dict()[k]) for k, v in found.state_dict().items())


def _old_key(classifier: Classifier, recipe: DiffMaskRecipe, count: int) -> str:
    import hashlib

    facts = [recipe.model_dump(mode="json"), False, count, training.digest_of(classifier.backbone)]
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=8).hexdigest()

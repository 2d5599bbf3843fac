"""The choice of one iterate where noise decides what each of them looks like."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from vitfaith.attacks.craft import explanation_attacks
from vitfaith.attacks.craft.explanation_attacks import TopKAttack
from vitfaith.attacks.craft.keyed import KeyedRandom, common_draws
from vitfaith.attacks.registry import ATTACKS
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.models.classifier import Classifier
from vitfaith.rng import generator

from .test_adaptive import (
    behind,
    denoiser,  # noqa: F401  (a fixture)
)

IDS = [f"image-{i}" for i in range(5)]


def attack_with(vit: Classifier, network: Denoiser, **settings: object) -> TopKAttack:
    smoothed = {"through": "dds", "eot": 2, "explainer": "raw_attention", "k": 3, "steps": 15}
    parameters: Any = ATTACKS["top_k_attack"].parameters.model_validate(smoothed | settings)
    defence = behind(network, sigma=0.25)
    return TopKAttack(vit, parameters.explainer, parameters, margin=parameters.margin, k=parameters.k, defence=defence)


@pytest.mark.parametrize("seed", [3, 4])
def test_the_kept_iterate_is_as_good_as_the_last_under_fresh_noise(
    vit: Classifier,
    denoiser: Denoiser,  # noqa: F811
    pixels: Tensor,
    predicted: Tensor,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    """On 32 draws that the attack has not seen; a keeper of lucky draws loses a third of the gain over the clean image."""
    iterates: list[Tensor] = []
    stored = explanation_attacks._stored

    def recorded(clean: Tensor, shift: Tensor) -> Tensor:
        iterates.append(stored(clean, shift))
        return iterates[-1]

    monkeypatch.setattr(explanation_attacks, "_stored", recorded)
    attack = attack_with(vit, denoiser)
    with KeyedRandom(seed, IDS):
        kept = attack(pixels, predicted)
    judge = attack_with(vit, denoiser, eot=32)
    judge.leading = attack.leading

    def value(images: Tensor) -> float:
        with KeyedRandom(99, IDS):
            view = judge.view(images.detach().clone().requires_grad_(), predicted)
        return float(judge.dissimilarity(view).detach().mean())

    assert len(iterates) == 16
    gain = value(kept) - value(pixels)
    assert gain > 0.01
    assert value(kept) >= value(iterates[-1]) - 0.05 * gain


def test_candidates_are_compared_on_common_noise(
    vit: Classifier,
    denoiser: Denoiser,  # noqa: F811
    pixels: Tensor,
    predicted: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Slow form: of all iterates that keep the class, the one whose D on the draws "attack/score" is largest."""
    iterates: list[Tensor] = []
    stored = explanation_attacks._stored

    def recorded(clean: Tensor, shift: Tensor) -> Tensor:
        iterates.append(stored(clean, shift))
        return iterates[-1]

    monkeypatch.setattr(explanation_attacks, "_stored", recorded)
    monkeypatch.setattr(explanation_attacks, "_FINAL_REPEATS", 0)
    attack = attack_with(vit, denoiser, steps=6)
    with KeyedRandom(3, IDS):
        kept = attack(pixels, predicted)
    for i in range(5):
        best, best_value, kept_class = pixels[i], -2.0, -1
        for candidate in [pixels[i], *(x[i].detach() for x in iterates)]:
            with KeyedRandom(3, [IDS[i]], "attack/score"):
                view = attack.view(candidate[None].clone().requires_grad_(), predicted[i : i + 1])
            value = -float((view.maps[0] * attack.leading[i]).sum().detach())
            seen = int(view.log_probability.argmax())
            kept_class = seen if kept_class < 0 else kept_class
            holds = seen == kept_class and int(vit(candidate[None]).argmax()) == int(predicted[i])
            if holds and value > best_value:
                best, best_value = candidate, value
        assert float((kept[i] != best).float().mean()) == 0


def test_cost_of_a_smoothed_explanation_attack(
    vit: Classifier,
    denoiser: Denoiser,  # noqa: F811
    pixels: Tensor,
    predicted: Tensor,
) -> None:
    """Through the denoiser: the clean image, each iterate (start included), a gradient a step, four last meetings."""
    rows: list[int] = []
    handle = denoiser.network.register_forward_hook(lambda _m, inputs, _o: rows.append(len(inputs[0])))
    try:
        with KeyedRandom(3, IDS):
            attack_with(vit, denoiser, steps=3)(pixels, predicted)
    finally:
        handle.remove()
    assert rows == [10] * (1 + 4 + 3 + 4 * 2)


def test_common_draws_repeat_and_leave_the_others_alone() -> None:
    with KeyedRandom(3, IDS):
        first = torch.randn(5, 2)
        with common_draws("score"):
            scored = torch.randn(5, 2), torch.randn(5, 2)
        second = torch.randn(5, 2)
        with common_draws("score"):
            again = torch.randn(5, 2), torch.randn(5, 2)
        with common_draws("final"):
            other = torch.randn(5, 2)
    with KeyedRandom(3, IDS):
        assert torch.equal(first, torch.randn(5, 2))
        assert torch.equal(second, torch.randn(5, 2))
    assert torch.equal(torch.stack(scored), torch.stack(again))
    assert not torch.equal(scored[0], scored[1])
    assert not torch.equal(scored[0], other)
    assert torch.equal(scored[1][4], torch.randn(2, generator=generator(3, IDS[4], "attack/score", 1)))


def test_common_draws_without_keys_repeat_and_restore_the_generator() -> None:
    state = torch.get_rng_state()
    with common_draws("score"):
        first = torch.randn(3)
    with common_draws("score"):
        assert torch.equal(first, torch.randn(3))
    assert torch.equal(state, torch.get_rng_state())

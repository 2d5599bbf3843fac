"""Which parameters Muon moves, and how far."""

from __future__ import annotations

import timm
import torch
from torch import nn

from tests.models.training.test_train import ARCHITECTURE, ARGUMENTS, two_classes
from vitfaith.models.classifier import build_backbone
from vitfaith.models.training.classifier import train_classifier
from vitfaith.models.training.optimiser import BETAS, inner_matrices, optimiser
from vitfaith.models.training.recipe import ClassifierRecipe


def test_the_inner_matrices_of_a_vit_are_those_of_its_blocks() -> None:
    layers = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    assert inner_matrices(build_backbone(ARCHITECTURE, ARGUMENTS)) == {
        f"blocks.{i}.{layer}.weight" for i in range(2) for layer in layers
    }


def test_the_first_convolution_and_the_head_of_a_convolutional_network_are_left_out() -> None:
    network = timm.create_model("test_resnet", num_classes=3)
    found = inner_matrices(network)
    matrices = {name for name, parameter in network.named_parameters() if parameter.ndim > 1}
    assert matrices - found == {"conv1.0.weight", "fc.weight"}
    assert found < matrices


def one_step(network: nn.Linear, gradient: torch.Tensor, orthogonal: frozenset[str]) -> torch.Tensor:
    """How the weight moves in the first step."""
    before = network.weight.detach().clone()
    learner = optimiser(
        network.named_parameters(),
        learning_rate=0.01,
        weight_decay=0.0,
        rate_of=lambda name: 1.0,
        orthogonal=orthogonal,
    )
    network.weight.grad, network.bias.grad = gradient, torch.ones(len(gradient))
    learner.step()
    return network.weight.detach() - before


def test_muon_moves_a_matrix_equally_along_the_singular_directions_of_its_gradient() -> None:
    torch.manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, n))[0] for n in (4, 8))
    gradient = left @ torch.diag(torch.tensor([1.0, 0.5, 0.3, 0.2])) @ right[:, :4].T
    moved = one_step(nn.Linear(8, 4), gradient, frozenset({"weight"}))
    size = -left.T @ moved @ right[:, :4] / (0.01 * 0.2 * 8**0.5)  # the step of arXiv 2502.16982: 0.2 √(longer side)
    torch.testing.assert_close(size.diagonal(), torch.ones(4), rtol=0.0, atol=0.15)  # Newton–Schulz is not exact
    torch.testing.assert_close(
        size - torch.diag(size.diagonal()), torch.zeros(4, 4), rtol=0.0, atol=0.02
    )  # in bfloat16


def test_without_inner_matrices_it_is_adamw() -> None:
    moved = one_step(nn.Linear(8, 4), torch.full((4, 8), 3.0), frozenset())
    torch.testing.assert_close(moved, torch.full((4, 8), -0.01))


def test_rates_and_decays_make_groups_and_frozen_parameters_stay() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    rates = {"0": 0.0, "1": 1.0, "2": 0.5}
    learner = optimiser(
        network.named_parameters(), learning_rate=0.1, weight_decay=0.3, rate_of=lambda name: rates[name[0]],
        orthogonal=frozenset({"1.weight"}),
    )  # fmt: skip
    found = [
        (g["lr"], g["weight_decay"], g["use_fallback"], tuple(g["betas"]), len(g["params"]))
        for g in learner.param_groups
    ]
    assert found == [
        (0.1, 0.3, False, BETAS, 1),
        (0.1, 0.0, True, BETAS, 1),
        (0.05, 0.3, True, BETAS, 1),
        (0.05, 0.0, True, BETAS, 1),
    ]
    assert [p.requires_grad for p in network.parameters()] == [False, False, True, True, True, True]


def test_muon_learns_in_fewer_steps_and_repeats_bit_for_bit() -> None:
    data = two_classes(256)
    states, losses = [], {}
    for name in ("adamw", "muon", "muon"):
        recipe = ClassifierRecipe(optimiser=name, epochs=3, batch_size=16, shift=0, ema_decay=0.9)
        network, log = train_classifier(ARCHITECTURE, ARGUMENTS, data, data, recipe, seed=1)
        losses[name] = log[-1]["loss"]
        states.append(network.backbone.state_dict())
    assert losses["muon"] < losses["adamw"]
    assert all(torch.equal(states[1][key], states[2][key]) for key in states[1])

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch

from vitfaith.attacks.craft.keyed import KeyedRandom, forked_random
from vitfaith.errors import InputError
from vitfaith.rng import generator

IDS = ["a", "b", "c"]

DRAWS: dict[str, Callable[[int], torch.Tensor]] = {
    "rand": lambda n: torch.rand(n, 2, 3),
    "rand_size": lambda n: torch.rand((n, 2, 3), dtype=torch.float64),
    "randn": lambda n: torch.randn(n, 20),
    "rand_like": lambda n: torch.rand_like(torch.zeros(n, 4)),
    "randn_like": lambda n: torch.randn_like(torch.zeros(n, 4)),
    "randint": lambda n: torch.randint(0, 100, (n, 5)),
    "randint_high": lambda n: torch.randint(7, size=(n, 5)),
    "randint_named": lambda n: torch.randint(low=5, high=9, size=(n, 5)),
    "uniform_": lambda n: torch.empty(n, 2, 2).uniform_(-3, 3),
    "normal_": lambda n: torch.empty(n, 18).normal_(1, 2),
    "bernoulli_": lambda n: torch.empty(n, 9).bernoulli_(),
    "bernoulli": lambda n: torch.bernoulli(torch.full((n, 9), 0.5)),
    "view": lambda n: torch.zeros(n, 3, 4)[:, 1:].normal_(),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_a_batch_of_draws_is_a_stack_of_single_draws(draw: Callable[[int], torch.Tensor]) -> None:
    with KeyedRandom(3, IDS):
        first, second = draw(3), draw(3)
    for i, image_id in enumerate(IDS):
        with KeyedRandom(3, [image_id]):
            assert torch.equal(draw(1)[0], first[i])
            assert torch.equal(draw(1)[0], second[i])
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    with KeyedRandom(4, IDS):
        assert not torch.equal(draw(3), first)


def test_values_are_those_of_the_keyed_generators() -> None:
    with KeyedRandom(3, IDS, "purpose"):
        torch.rand(3, 1)
        drawn = torch.randn(3, 2, 7)
    assert torch.equal(drawn[1], torch.randn(2, 7, generator=generator(3, "b", "purpose", 1)))


def test_ranges_and_distributions() -> None:
    with KeyedRandom(0, ["a"]):
        assert set(torch.randint(5, 9, (1, 500)).unique().tolist()) == {5, 6, 7, 8}
        assert set(torch.randint_like(torch.zeros(1, 500), 3).unique().tolist()) == {0, 1, 2}
        assert abs(float(torch.rand(1, 4000).mean()) - 0.5) < 0.02
        assert abs(float(torch.empty(1, 4000).normal_(2, 3).std()) - 3) < 0.15
        assert sorted(torch.randperm(10).tolist()) == list(range(10))
        assert torch.rand(1, 2, requires_grad=True).requires_grad
        assert torch.randn(5, dtype=torch.float64).dtype == torch.float64


def test_a_draw_shared_by_the_batch_is_refused() -> None:
    with KeyedRandom(0, IDS), pytest.raises(InputError, match=r"shape \(1,\) for a batch of 3"):
        torch.randint(low=3, high=5, size=(1,))
    with KeyedRandom(0, IDS), pytest.raises(InputError, match="randperm"):
        torch.randperm(3)


def test_own_generators_are_left_alone() -> None:
    own = torch.Generator().manual_seed(5)
    with KeyedRandom(0, IDS):
        drawn = torch.rand(7, generator=own)
    assert torch.equal(drawn, torch.rand(7, generator=torch.Generator().manual_seed(5)))


def test_global_generators_are_seeded_inside_and_restored_outside() -> None:
    def draw() -> tuple[float, float, float]:
        return float(torch.rand(1)), float(np.random.rand()), random.random()

    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    expected = draw()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    cpu = torch.device("cpu")
    with forked_random(0, ["a"], "attack", cpu):
        inside = draw()
    assert draw() == expected
    with forked_random(0, ["a"], "attack", cpu):
        assert draw() == inside
    with forked_random(0, ["b"], "attack", cpu):
        assert draw() != inside

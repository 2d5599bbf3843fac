"""Training: it learns, it is reproducible, its parts are right, and divergence is reported."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vitfaith.errors import VitfaithError
from vitfaith.models.training.classifier import sincos_position_embedding, train_classifier
from vitfaith.models.training.loop import batches, fit, moving_average, warmup_cosine
from vitfaith.models.training.recipe import ClassifierRecipe

ARCHITECTURE = "vit_tiny_patch16_224"
ARGUMENTS = {
    "img_size": 8,
    "patch_size": 4,
    "in_chans": 1,
    "num_classes": 2,
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
}


def two_classes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Bright upper half or bright lower half, with noise: what a tiny ViT must learn."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    images = rng.integers(0, 60, (count, 1, 8, 8))
    for image, label in zip(images, labels, strict=True):
        image[0, 4 * label : 4 * label + 4] += 120
    return images.astype(np.uint8), labels.astype(np.int64)


def test_a_tiny_vit_learns_and_repeats_bit_for_bit() -> None:
    recipe = ClassifierRecipe(epochs=12, batch_size=16, learning_rate=3e-3, shift=0, flip=True, ema_decay=0.9)
    data = two_classes(256)
    runs = [train_classifier(ARCHITECTURE, ARGUMENTS, data, data, recipe, seed=1) for _ in range(2)]
    assert runs[0][1][-1]["test_accuracy"] > 0.95
    states = [run[0].backbone.state_dict() for run in runs]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_an_epoch_may_be_some_batches_of_other_images_each_time() -> None:
    seen: list[list[int]] = []

    def loss_of(indices: np.ndarray, step: int) -> torch.Tensor:
        assert step == len(seen)
        seen.append(indices.tolist())
        return network.weight.sum()

    network = torch.nn.Linear(1, 1)
    recipe = ClassifierRecipe(epochs=3, batches=2, batch_size=4)
    _, log = fit(network, loss_of, recipe, count=20, seed=0, evaluate=lambda _: {})
    whole = [[b.tolist() for b in batches(20, 4, epoch, 0)] for epoch in range(3)]
    assert seen == [batch for epoch in whole for batch in epoch[:2]]
    assert [row["step"] for row in log] == [2, 4, 6]
    seen.clear()
    fit(network, loss_of, ClassifierRecipe(epochs=1, batches=9, batch_size=4), count=20, seed=0, evaluate=lambda _: {})
    assert seen == whole[0]


def test_every_epoch_is_a_permutation_keyed_by_the_seed() -> None:
    first, again, other = (
        np.concatenate(list(batches(20, 5, epoch, seed))) for epoch, seed in ((0, 1), (0, 1), (1, 1))
    )
    assert sorted(first) == list(range(20))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_learning_rate_schedule() -> None:
    peaks = (1.0, 0.3)
    optimiser = torch.optim.SGD([{"params": [torch.zeros(())], "lr": peak} for peak in peaks])
    set_rates = warmup_cosine(optimiser, 100, 10)
    found = []
    for step in range(101):
        set_rates(step)
        found.append([group["lr"] for group in optimiser.param_groups])
    values = [row[0] for row in found]
    assert values[9] == pytest.approx(1.0)
    assert max(values) <= 1.0
    assert values[55] == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.5)))
    assert values[100] == pytest.approx(0.0)
    by_hand = [(t + 1) / 10 if t < 10 else 0.5 * (1 + math.cos(math.pi * (t - 10) / 90)) for t in range(101)]
    np.testing.assert_allclose(found, np.outer(by_hand, peaks), atol=1e-15)


def test_shortest_training_has_a_full_step() -> None:
    optimiser = torch.optim.SGD([torch.zeros(())], lr=0.5)
    warmup_cosine(optimiser, 1, 1)(0)
    assert optimiser.param_groups[0]["lr"] == 0.5


def test_moving_average_equals_a_loop() -> None:
    rng = torch.Generator().manual_seed(0)
    network = torch.nn.BatchNorm1d(3)
    average = moving_average(network, 0.5)
    weight, mean = average.module.weight.clone(), average.module.running_mean.clone()
    for n in range(1, 20):
        network.weight.data.copy_(torch.randn(3, generator=rng))
        network(torch.randn(5, 3, generator=rng))
        average.update(network, n)
        decay = min(0.5, (1 + n) / (10 + n))
        weight = decay * weight + (1 - decay) * network.weight.detach()
        mean = decay * mean + (1 - decay) * network.running_mean
        torch.testing.assert_close(average.module.weight, weight)
        torch.testing.assert_close(average.module.running_mean, mean)
        assert average.module.num_batches_tracked == network.num_batches_tracked == n
    assert not average.module.training
    assert not average.module.weight.requires_grad


def test_sincos_table_against_loops() -> None:
    table = sincos_position_embedding(8, 2, 3, prefix_tokens=1)
    assert table.shape == (1, 7, 8)
    assert torch.equal(table[0, 0], torch.zeros(8))
    for row in range(2):
        for column in range(3):
            for k in range(2):
                frequency = 10000 ** (-k / 2)
                token = table[0, 1 + row * 3 + column]
                assert token[k] == pytest.approx(math.sin(column * frequency), abs=1e-6)
                assert token[2 + k] == pytest.approx(math.cos(column * frequency), abs=1e-6)
                assert token[4 + k] == pytest.approx(math.sin(row * frequency), abs=1e-6)


def test_divergence_is_reported() -> None:
    network = torch.nn.Linear(1, 1)
    with pytest.raises(VitfaithError, match="diverged"):
        fit(
            network,
            lambda indices, step: network(torch.ones(1, 1)).sum() * float("nan"),
            ClassifierRecipe(epochs=1, batch_size=2, learning_rate=1.0, weight_decay=0.0, ema_decay=0.5),
            count=4,
            seed=0,
            evaluate=lambda net: {},
        )

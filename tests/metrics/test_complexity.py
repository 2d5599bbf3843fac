"""Effective complexity, non-sensitivity and the share of nonzero values on a network that sees one patch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.conftest import tiny_vit
from vitfaith.errors import InputError
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier, freeze

SEEN = 6
"""The patch that the network sees."""


class OnePatch(nn.Module):
    """Two classes; the logit of the first is a multiple of the brightness of one patch."""

    num_classes = 2

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = tiny_vit().backbone.patch_embed  # tells the grid

    def forward(self, images: Tensor) -> Tensor:
        brightness = images.mean(1).unflatten(1, (4, 4)).unflatten(3, (4, 4)).mean((2, 4)).flatten(1)[:, SEEN]
        return torch.stack([40 * brightness, torch.zeros_like(brightness)], 1)


def one_patch() -> Classifier:
    return freeze(Classifier(OnePatch(), [0.0] * 3, [1.0] * 3))


def values(maps: Tensor, name: str, **settings: Any) -> list[float]:
    """Scores of maps (B, 4, 4) on images whose every patch is 0.1 or, every second image, 0."""
    count = len(maps)
    images = torch.zeros(count, 3, 16, 16)
    images[::2] += 0.1
    frame = evaluate(
        one_patch(),
        images,
        torch.zeros(count, dtype=torch.int64),
        [f"image-{i}" for i in range(count)],
        {"m": maps},
        {"x": METRICS.item(name, **settings)},
        batch_size=7,
    ).scores.to_pandas()
    return frame.value.tolist()


def ranked(place: int) -> Tensor:
    """A map (1, 4, 4) of different magnitudes with both signs, in which the seen patch has rank ``place``."""
    sizes = torch.arange(16.0, 0, -1)
    order = [p for p in range(16) if p != SEEN]
    order.insert(place, SEEN)
    found = torch.empty(16)
    found[order] = sizes * torch.tensor([1.0, -1.0]).repeat(8)
    return found.view(1, 4, 4)


def test_effective_complexity_is_the_rank_of_the_patch_that_matters() -> None:
    for place in (0, 1, 5, 15):
        found = values(ranked(place), "effective_complexity", fill="black", steps=16)
        assert found == [(place + 1) / 16]


def test_fewer_steps_round_the_number_of_patches_up() -> None:
    found = [values(ranked(p), "effective_complexity", fill="black", steps=4)[0] for p in (0, 3, 4, 11, 12, 15)]
    assert found == [0.25, 0.25, 0.5, 0.75, 1.0, 1.0]


def test_an_image_that_no_removal_changes_needs_the_least_number() -> None:
    assert values(ranked(9).expand(2, -1, -1), "effective_complexity", fill="black", steps=16) == [10 / 16, 1 / 16]


def test_more_steps_than_patches_are_refused() -> None:
    with pytest.raises(InputError, match="steps=17, but the maps have only 16 features"):
        values(ranked(0), "effective_complexity", steps=17)


def test_non_sensitivity_counts_both_errors() -> None:
    only = torch.zeros(1, 4, 4)
    only.view(-1)[SEEN] = -2.0
    wrong = torch.zeros(1, 4, 4)
    wrong.view(-1)[SEEN - 1] = 1.0
    maps = torch.cat([only, only, wrong, wrong, ranked(3)])
    # image 0, 2 and 4 answer to the seen patch, 1 and 3 to none
    assert values(maps, "non_sensitivity", fill="black") == [0, 1 / 16, 2 / 16, 1 / 16, 15 / 16]


def test_small_values_count_as_zero_relative_to_the_largest() -> None:
    map_ = torch.zeros(1, 4, 4)
    map_[0, 0] = torch.tensor([-1.0, 0.5, 0.1, 1e-7])
    for zero, share in ((0.0, 4 / 16), (1e-5, 3 / 16), (0.1, 2 / 16), (0.9, 1 / 16)):
        assert values(1000 * map_, "nonzero_share", zero=zero) == [share]


@pytest.mark.parametrize("name", ["effective_complexity", "non_sensitivity", "nonzero_share"])
def test_singles_equal_batch_and_flagged_maps_have_no_value(name: str) -> None:
    vit = tiny_vit()
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    maps = torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(2))
    maps[1], maps[2, 0, 0] = 1.0, torch.nan
    targets, ids = torch.tensor([0, 1, 2, 3]), list("abcd")
    chosen = {"x": METRICS.item(name)}

    def run(rows: slice) -> np.ndarray:
        found = evaluate(vit, images[rows], targets[rows], ids[rows], {"m": maps[rows]}, chosen, batch_size=5)
        return found.scores.to_pandas().value.to_numpy()

    together = run(slice(None))
    assert np.isnan(together).tolist() == [False, True, True, False]
    np.testing.assert_array_equal(np.concatenate([run(slice(i, i + 1)) for i in range(4)]), together)

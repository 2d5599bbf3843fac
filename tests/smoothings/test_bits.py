"""Denoised images have the same bits whatever the batch and the shard, from batches of 16 rows on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from tests.explainers.test_bits import assert_equal
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.smoothings.dds import DdsParameters, dds, fewest_rows

MODES = [{"mode": "calibrated"}, {"mode": "multistep", "steps": 2, "sampler": "ancestral"}]


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    return Denoiser.load(Path(__file__).parents[2] / "resources" / "denoisers" / "fashion_mnist")


def smoothed(denoiser: Denoiser, images: Sequence[int], batch_size: int, **settings: object) -> torch.Tensor:
    pixels = torch.rand(9, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    parameters = DdsParameters.model_validate({"sigma": 0.25, "samples": 2, "denoiser": "fashion_mnist", **settings})
    names = [str(image) for image in images]
    return dds(denoiser, pixels[list(images)], names, parameters, range(2), seed=3, batch_size=batch_size)


@pytest.mark.parametrize("settings", MODES, ids=lambda settings: settings["mode"])
@pytest.mark.parametrize("batch_size", [fewest_rows((28, 28)), 17, 64])
def test_denoised_images_have_the_same_bits_in_every_batch(
    denoiser: Denoiser, batch_size: int, settings: dict[str, object]
) -> None:
    whole = smoothed(denoiser, range(9), 64, **settings)
    assert_equal(smoothed(denoiser, range(9), batch_size, **settings), whole)
    assert_equal(smoothed(denoiser, [4], batch_size, **settings), whole[4:5])
    assert_equal(smoothed(denoiser, [7, 2], batch_size, **settings), whole[[7, 2]])


@pytest.mark.parametrize("batch_size", [1, 5])
def test_smaller_batches_are_not_filled_up_beyond_batch_size(denoiser: Denoiser, batch_size: int) -> None:
    rows: list[int] = []
    hook = denoiser.network.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    try:
        found = smoothed(denoiser, range(9), batch_size)
    finally:
        hook.remove()
    assert set(rows) == {batch_size}
    torch.testing.assert_close(found, smoothed(denoiser, range(9), 64), rtol=0, atol=1e-5)


def test_large_images_are_not_filled_up() -> None:
    assert [fewest_rows((side, side)) for side in (28, 32, 64, 112, 224, 256)] == [16, 13, 4, 1, 1, 1]

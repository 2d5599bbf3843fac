"""Denoised images have the same bits whatever the batch and the shard, from batches of 16 rows on; so have attacks through them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from tests.explainers.test_bits import EXACT, assert_equal
from vitfaith.attacks.registry import ATTACKS
from vitfaith.attacks.run import attack_images
from vitfaith.attacks.smoothed import Defence
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.models.classifier import Classifier, freeze
from vitfaith.smoothings.dds import DdsParameters, dds, fewest_rows
from vitfaith.smoothings.registry import SMOOTHINGS

MODES = [{"mode": "calibrated"}, {"mode": "multistep", "steps": 2, "sampler": "ancestral"}]


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    return Denoiser.load(Path(__file__).parents[2] / "resources" / "denoisers" / "fashion_mnist")


def small_vit(side: int) -> nn.Module:
    """A ViT of seven or eight patches a side with random weights."""
    torch.manual_seed(0)
    patch = 4 if side < 64 else 8
    sizes = {"embed_dim": 64, "depth": 3, "num_heads": 4, "mlp_ratio": 2.0}
    network: nn.Module = timm.create_model(
        "vit_tiny_patch16_224", img_size=side, patch_size=patch, in_chans=1, num_classes=10, **sizes
    )
    return network


def smoothed(
    denoiser: Denoiser, images: Sequence[int], batch_size: int, side: int = 28, **settings: object
) -> torch.Tensor:
    pixels = torch.rand(9, 1, side, side, generator=torch.Generator().manual_seed(0))
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


@pytest.mark.parametrize("side", [32, 64])
def test_the_same_holds_for_images_of_other_sizes(denoiser: Denoiser, side: int) -> None:
    """The number of rows decides which kernel a convolution takes, not the number of pixels: 18 rows at once, 16 and 2."""
    whole = smoothed(denoiser, range(9), 64, side)
    assert_equal(smoothed(denoiser, range(9), 16, side), whole)
    assert_equal(smoothed(denoiser, [4], 64, side), whole[4:5])


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
    assert [fewest_rows((side, side)) for side in (28, 32, 64, 112, 224, 256)] == [16, 16, 16, 1, 1, 1]


@pytest.mark.parametrize("side", [28, 32, 64])
def test_attacks_through_a_smoothing_do_not_depend_on_the_batch(denoiser: Denoiser, side: int) -> None:
    """The stored images, bit by bit: steps follow the sign of the gradient, which the last bits of a pass do not change."""
    images = (torch.rand(18, 1, side, side, generator=torch.Generator().manual_seed(0)) * 255).round() / 255
    classifier = freeze(Classifier(small_vit(side), [0.286], [0.353]))
    with torch.no_grad():
        targets = classifier(images).argmax(1)
    names = [str(image) for image in range(len(images))]
    attack = ATTACKS.from_spec({"use": "adaptive_pgd", "through": "dds", "eps": 8 / 255, "steps": 1, "eot": 2})
    defence = Defence(SMOOTHINGS.from_spec({"use": "dds", "sigma": 0.25, "denoiser": "fashion_mnist"}), denoiser)
    found = [
        attack_images(classifier, images, targets, names, attack, seed=1, batch_size=size, defence=defence)
        for size in (64, 16, 3)
    ]
    allowed = 0 if EXACT else 1e-4  # share of the pixels
    for other in found[1:]:
        assert (other.images != found[0].images).mean() <= allowed
        if EXACT:
            assert (other.l2 == found[0].l2).all()
            assert (other.prediction == found[0].prediction).all()

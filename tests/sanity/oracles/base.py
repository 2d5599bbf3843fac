"""The subject of the comparisons, and what they share."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.conftest import tiny_vit
from tests.sanity.subjects import Counted, subject_of
from vitfaith import rng
from vitfaith.sanity.randomisation import randomise
from vitfaith.sanity.registry import Subject
from vitfaith.sanity.relative_stability import Of, RelativeStabilityParameters, ratios_of

RADIUS, SAMPLES = 0.05, 4


@cache
def subject(low: float = 0.0) -> Subject:
    """Five images with values in [``low``, 1 − ``low``]."""
    images = low + (1 - 2 * low) * torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    ids = [f"image-{i}" for i in range(5)]
    return subject_of(tiny_vit(), Counted(), images, torch.tensor([0, 3, 1, 4, 3]), ids, seed=4)


def gradients(classifier: Any, images: Tensor, targets: Tensor) -> Tensor:
    """The maps (B, 4, 4) of the method "gradient"."""
    return Counted()(classifier, images, targets, [])["gradient"]


def correlations(some: Tensor, others: Tensor) -> list[float]:
    """NumPy's correlation of each pair of maps."""
    pairs = zip(some.flatten(1).numpy(), others.flatten(1).numpy(), strict=True)
    return [np.corrcoef(one, other)[0, 1] for one, other in pairs]


def noise(given: Subject) -> Tensor:
    """The check's draws (samples, 5, 3, 16, 16)."""
    draws = [rng.uniform(given.seed, given.image_ids, "sensitivity", (3, 16, 16), s) for s in range(SAMPLES)]
    return (2 * torch.stack(draws) - 1) * RADIUS


def normal_copies(given: Subject, image: int, count: int, noise: float) -> list[Tensor]:
    """Copies of one image with the draws of the check, one at a time."""
    x = given.images[image]
    key = (given.seed, [given.image_ids[image]], "smooth-randomisation", (3, 16, 16))
    return [x + noise * (x.max() - x.min()) * rng.normal(*key, sample)[0] for sample in range(count)]


def random_network(given: Subject) -> Any:
    """All weights random."""
    network = tiny_vit()
    randomise(network.backbone, [name for name, _ in network.backbone.named_parameters()], given.seed)
    return network


OF: tuple[Of, ...] = ("input", "output", "representation")


def ratios(given: Subject, radius: float = RADIUS) -> Tensor:
    """Relative stability as ours, (3, 5)."""
    parameters = RelativeStabilityParameters(radius=radius, samples=SAMPLES, clip=False)
    return torch.stack([ratios_of(given, parameters)["gradient"].ratios[of] for of in OF])

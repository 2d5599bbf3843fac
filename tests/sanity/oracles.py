"""Everything that says from outside what a sanity check must give; each registered one has at least one entry."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.conftest import tiny_vit
from tests.oracle import Oracle, Pair
from tests.sanity.subjects import Counted, subject_of
from vitfaith import rng
from vitfaith.sanity.checks import RandomisationParameters, model_randomisation, random_logit
from vitfaith.sanity.measures import MeasureParameters
from vitfaith.sanity.randomisation import other_classes, parts_of, randomise
from vitfaith.sanity.registry import Subject
from vitfaith.sanity.sensitivity import sensitivity

__all__ = ["ORACLES"]

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


def random_weights(cascading: bool) -> Pair:
    """A fresh copy of the network for each part."""
    given = subject()
    parameters = RandomisationParameters(measures=("pearson",), cascading=cascading)
    with torch.no_grad():
        frame = model_randomisation(given, parameters).to_pandas()
    found = frame[frame.method == "gradient"].pivot(index="reference", columns="image_id", values="value")
    parts, expected = parts_of(given.classifier.backbone), []
    for step in range(len(parts)):
        copy = tiny_vit()
        for _, names in parts[0 if cascading else step : step + 1]:
            randomise(copy.backbone, names, given.seed)
        expected.append(correlations(given.maps["gradient"], gradients(copy, given.images, given.targets)))
    ours = found.loc[[f"random {part}" for part, _ in parts], list(given.image_ids)].to_numpy(copy=True)
    return torch.from_numpy(ours), torch.tensor(expected, dtype=torch.float64)


def random_class() -> Pair:
    """One image at a time."""
    given = subject()
    frame = random_logit(given, MeasureParameters(measures=("pearson",))).to_pandas()
    found = frame[frame.method == "gradient"].set_index("image_id").value.loc[list(given.image_ids)]
    others = other_classes(given.targets, given.image_ids, given.classifier.num_classes, given.seed)
    maps = [gradients(given.classifier, given.images[i : i + 1], others[i : i + 1]) for i in range(5)]
    expected = correlations(given.maps["gradient"], torch.cat(maps))
    return torch.from_numpy(found.to_numpy(copy=True)), torch.tensor(expected, dtype=torch.float64)


def noise(given: Subject) -> Tensor:
    """The check's draws (samples, 5, 3, 16, 16)."""
    draws = [rng.uniform(given.seed, given.image_ids, "sensitivity", (3, 16, 16), s) for s in range(SAMPLES)]
    return (2 * torch.stack(draws) - 1) * RADIUS


def captum_maximum(low: float = 0.2, clip: bool = True) -> Pair:
    """Captum does not clip, so the images leave room for the noise where the check does."""
    from captum.metrics import sensitivity_max

    given = subject(low)

    def perturb(repeated: Tensor) -> tuple[Tensor]:
        # captum repeats each image n times in a row
        return (repeated + noise(given).transpose(0, 1).flatten(0, 1),)

    expected = sensitivity_max(
        lambda x, target: (gradients(given.classifier, x[0], target),),  # captum passes tuples and wants them back
        given.images,
        perturb_func=perturb,
        n_perturb_samples=SAMPLES,
        target=given.targets,
    )
    found = sensitivity(given, radius=RADIUS, samples=SAMPLES, clip=clip)["gradient"]
    return found.maximum, expected.double()


def sensitivity_loop(read_out: str) -> Pair:
    """One noisy copy of one image at a time, clipped to [0, 1]."""
    given, expected = subject(), []
    for i in range(5):
        image, target = given.images[i], given.targets[i : i + 1]
        clean = gradients(given.classifier, image[None], target).double()
        changes, slopes = [], []
        for draw in noise(given)[:, i]:
            noisy = (image + draw).clamp(0, 1)
            change = float((gradients(given.classifier, noisy[None], target).double() - clean).norm())
            changes.append(change / float(clean.norm()))
            slopes.append(change / float((noisy - image).double().norm()))
        expected.append(
            {"maximum": max(changes), "average": sum(changes) / SAMPLES, "lipschitz": max(slopes)}[read_out]
        )
    found = sensitivity(given, radius=RADIUS, samples=SAMPLES)["gradient"]
    return getattr(found, read_out), torch.tensor(expected, dtype=torch.float64)


ORACLES = [
    *[
        Oracle(
            "model_randomisation",
            "textbook loop, corrcoef",
            f"network by network, package NumPy; {what}",
            1e-5,
            partial(random_weights, cascading),
        )
        for cascading, what in ((True, "cascading"), (False, "one part at a time"))
    ],
    Oracle(
        "random_logit",
        "textbook loop, corrcoef",
        "image by image, package NumPy; our draw of the class",
        1e-5,
        random_class,
    ),
    Oracle("sensitivity", "sensitivity_max", "package captum, given our noise; maximum", 1e-5, captum_maximum),
    *[
        Oracle("sensitivity", "textbook loop", f"copy by copy; {what}", 1e-5, partial(sensitivity_loop, read_out))
        for read_out, what in (("maximum", "maximum"), ("average", "average"), ("lipschitz", "Lipschitz estimate"))
    ],
]

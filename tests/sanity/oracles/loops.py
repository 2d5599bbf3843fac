"""The checks network by network, image by image and copy by copy."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from tests.conftest import tiny_vit
from tests.oracle import Oracle, Pair
from tests.sanity import textbook
from tests.sanity.oracles.base import (
    RADIUS,
    SAMPLES,
    correlations,
    gradients,
    noise,
    normal_copies,
    random_network,
    ratios,
    subject,
)
from vitfaith.sanity.checks import RandomisationParameters, model_randomisation, random_logit
from vitfaith.sanity.efficient_randomisation import EfficientRandomisationParameters, efficient_randomisation
from vitfaith.sanity.measures import MeasureParameters
from vitfaith.sanity.randomisation import other_classes, parts_of, randomise
from vitfaith.sanity.sensitivity import sensitivity
from vitfaith.sanity.smooth_randomisation import SmoothRandomisationParameters, smooth_randomisation


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


def smooth(order: str) -> Pair:
    """A fresh copy of the network for each part, from the first to the last, and one noisy image at a time."""
    given = subject()
    parameters = SmoothRandomisationParameters(measures=("pearson",), samples=3, order=order, noise=0.2)
    frame = smooth_randomisation(given, parameters).to_pandas()
    found = frame[frame.method == "gradient"].pivot(index="step", columns="image_id", values="value")
    names = [names for _, names in parts_of(given.classifier.backbone)]
    names = names[::-1] if order == "bottom_up" else names

    def smoothed(network: Any) -> Tensor:
        return torch.stack([
            textbook.mean([gradients(network, copy[None], given.targets[i : i + 1])[0] for copy in normal_copies(given, i, 3, 0.2)])
            for i in range(5)
        ])  # fmt: skip

    expected, clean = [], smoothed(given.classifier)
    for step in range(len(names)):
        network = tiny_vit()
        randomise(network.backbone, [name for part in names[: step + 1] for name in part], given.seed)
        expected.append(correlations(clean, smoothed(network)))
    ours = found[list(given.image_ids)].sort_index().to_numpy(copy=True)
    return torch.from_numpy(ours), torch.tensor(expected, dtype=torch.float64)


def rise(bins: int | None) -> Pair:
    given = subject()
    frame = efficient_randomisation(given, EfficientRandomisationParameters(bins=bins)).to_pandas()
    found = frame[frame.method == "gradient"].set_index("image_id").value.loc[list(given.image_ids)]
    random = gradients(random_network(given), given.images, given.targets)
    expected = []
    for one, other in zip(given.maps["gradient"], random, strict=True):
        before, after = (textbook.histogram_entropy(m, bins or 4) for m in (one, other))
        expected.append((after - before) / before)
    return torch.from_numpy(found.to_numpy(copy=True)), torch.tensor(expected, dtype=torch.float64)


def hidden(classifier: Any, images: Tensor) -> Tensor:
    """The class token behind the last norm, which the head reads."""
    with torch.no_grad():
        net = classifier.backbone
        return net.norm(net.blocks(net._pos_embed(net.patch_embed((images - 0.5) / 0.25))))[:, 0]


def stability_loop() -> Pair:
    given, expected = subject(), []
    for i in range(5):
        image, target = given.images[i], given.targets[i : i + 1]
        with torch.no_grad():
            expected.append(
                textbook.relative_stability(
                    image,
                    [image + draw for draw in noise(given)[:, i]],
                    lambda x, t=target: gradients(given.classifier, x[None], t)[0],  # type: ignore[misc]
                    lambda x: given.classifier(x[None])[0],
                    lambda x: hidden(given.classifier, x[None])[0],
                )
            )
    return ratios(given), torch.tensor(expected, dtype=torch.float64).T


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
    *[
        Oracle(
            "smooth_randomisation",
            "textbook loop, corrcoef",
            f"copy by copy, our noise; {what}",
            1e-5,
            partial(smooth, order),
        )
        for order, what in (("bottom_up", "from the input up"), ("top_down", "from the head down"))
    ],
    *[
        Oracle("efficient_randomisation", "textbook loop", f"value by value; {what}", 1e-9, partial(rise, bins))
        for bins, what in ((None, "√P bins"), (9, "9 bins"))
    ],
    Oracle(
        "relative_stability",
        "textbook loop",
        "copy by copy, value by value; input, output, representation",
        1e-4,
        stability_loop,
    ),
    *[
        Oracle("sensitivity", "textbook loop", f"copy by copy; {what}", 1e-5, partial(sensitivity_loop, read_out))
        for read_out, what in (("maximum", "maximum"), ("average", "average"), ("lipschitz", "Lipschitz estimate"))
    ],
]

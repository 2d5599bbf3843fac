"""What captum and quantus compute for the same images, noise and random networks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from tests.conftest import tiny_vit
from tests.oracle import Oracle, Pair
from tests.sanity.oracles.base import (
    OF,
    RADIUS,
    SAMPLES,
    gradients,
    noise,
    random_network,
    ratios,
    subject,
)
from vitfaith import rng
from vitfaith.sanity.efficient_randomisation import complexity_rise
from vitfaith.sanity.randomisation import parts_of, randomise
from vitfaith.sanity.registry import Subject
from vitfaith.sanity.sensitivity import sensitivity
from vitfaith.sanity.smooth_randomisation import SmoothRandomisationParameters, smooth_randomisation


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


def spread(maps: Tensor) -> np.ndarray:
    """(B, 4, 4) as (B, 1, 16, 16), as quantus wants maps."""
    return maps.detach().repeat_interleave(4, -2).repeat_interleave(4, -1)[:, None].numpy()


def of_quantus(given: Subject) -> dict[str, Any]:
    """What all metrics of quantus take; maps are computed by ours."""

    def explain(model: Any, inputs: Any, targets: Any, **_: object) -> np.ndarray:
        return spread(gradients(model, torch.as_tensor(inputs).float(), torch.as_tensor(targets)))

    arrays = {"x_batch": given.images.numpy(), "y_batch": given.targets.numpy(), "a_batch": None}
    return {"model": given.classifier, "device": "cpu", "explain_func": explain, **arrays}


def quantus_stability(of: str) -> Pair:
    """Each value of a map stands for 16 pixels there, so that its norm is four times ours; no copy changes a prediction."""
    import quantus

    given, call = subject(), itertools.count()
    settings: dict[str, Any] = {"layer_names": ["backbone.head_drop"]} if of == "representation" else {}

    def perturb(arr: np.ndarray, **_: object) -> np.ndarray:
        return arr + noise(given)[next(call)].flatten(1).numpy() / 10

    metric = getattr(quantus, f"Relative{of.capitalize()}Stability")
    theirs = metric(nr_samples=SAMPLES, perturb_func=perturb, disable_warnings=True, **settings)(**of_quantus(given))
    return ratios(given, RADIUS / 10)[OF.index(of)], torch.from_numpy(np.array(theirs, dtype=np.float64)) / 4


@contextmanager
def our_random_networks(networks: list[tuple[str, Any]]) -> Iterator[None]:
    """Quantus draws weights from torch's own initialisation; inside, its networks are these."""
    from quantus.helpers.model.pytorch_model import PyTorchModel

    with (
        patch.object(PyTorchModel, "get_random_layer_generator", lambda _self, **_: iter(networks)),
        patch.object(PyTorchModel, "random_layer_generator_length", property(lambda _self: len(networks))),
    ):
        yield


def quantus_rise() -> Pair:
    from quantus import EfficientMPRT

    given = subject()
    metric = EfficientMPRT(complexity_func_kwargs={"n_bins": 7}, disable_warnings=True)
    with our_random_networks([("all", random_network(given))]):
        theirs = metric(**of_quantus(given))
    found = complexity_rise(given.maps["gradient"], gradients(random_network(given), given.images, given.targets), 7)
    return found[0], torch.from_numpy(np.array(theirs, dtype=np.float64))


def quantus_smooth() -> Pair:
    """Quantus adds the image itself as one more copy; its map is made 0 here, which no correlation sees."""
    import quantus
    from quantus.functions.similarity_func import correlation_pearson

    given, draws = subject(), itertools.count()
    parts = parts_of(given.classifier.backbone)[::-1]
    networks = []
    for step, (part, _) in enumerate(parts):
        network = tiny_vit()
        randomise(network.backbone, [name for _, names in parts[: step + 1] for name in names], given.seed)
        networks.append((part, network))

    def explain(model: Any, inputs: np.ndarray, targets: Any, **_: object) -> np.ndarray:
        x = torch.as_tensor(inputs).float()
        scale = 0.0 if torch.equal(x, given.images) else 1.0
        return scale * spread(gradients(model, x, torch.as_tensor(targets)))

    def draw(*shape: int) -> np.ndarray:
        key = (given.seed, given.image_ids, "smooth-randomisation", (3, 16, 16))
        return rng.normal(*key, next(draws) % 3).numpy()

    metric = quantus.SmoothMPRT(
        similarity_func=correlation_pearson,
        nr_samples=4,
        noise_magnitude=0.2,
        abs=False,
        normalise=False,
        disable_warnings=True,
    )
    with our_random_networks(networks), patch("quantus.explain", explain), patch("numpy.random.randn", draw):
        theirs = metric(**of_quantus(given))
    expected = torch.tensor([theirs[part] for part, _ in networks], dtype=torch.float64)
    parameters = SmoothRandomisationParameters(measures=("pearson",), samples=3, noise=0.2)
    frame = smooth_randomisation(given, parameters).to_pandas()
    found = frame[frame.method == "gradient"].pivot(index="step", columns="image_id", values="value")
    return torch.from_numpy(found[list(given.image_ids)].sort_index().to_numpy(copy=True)), expected


ORACLES = [
    Oracle(
        "smooth_randomisation",
        "SmoothMPRT",
        "package quantus, given our noise and random networks",
        1e-5,
        quantus_smooth,
    ),
    Oracle(
        "efficient_randomisation",
        "EfficientMPRT",
        "package quantus, given our random network; 7 bins",
        1e-9,
        quantus_rise,
    ),
    *[
        Oracle(
            "relative_stability",
            f"Relative{of.capitalize()}Stability",
            "package quantus, given our noise",
            1e-4,
            partial(quantus_stability, of),
        )
        for of in OF
    ],
    Oracle("sensitivity", "sensitivity_max", "package captum, given our noise; maximum", 1e-5, captum_maximum),
]

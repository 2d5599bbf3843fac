"""What outside packages compute from the same model, images and maps."""

from __future__ import annotations

import contextlib
from functools import cache, partial
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from tests.conftest import tiny_vit
from tests.metrics.oracles.base import Batch, Oracle, Pair, batch, doubles, grey_batch
from vitfaith.metrics import localisation
from vitfaith.metrics.bank.masks import Subsets
from vitfaith.metrics.context import ScoreContext
from vitfaith.metrics.engine.engine import Engine
from vitfaith.metrics.engine.ranking import Ranking
from vitfaith.metrics.engine.requests import Curve, Features, Stride
from vitfaith.metrics.fills.registry import FILLS
from vitfaith.models.classifier import Classifier
from vitfaith.models.patches import Patches

QUIET = {"abs": False, "normalise": False, "disable_warnings": True}


def distinct(maps: Tensor) -> Tensor:
    """Pixel maps (5, 16, 16) with the order of ``maps`` and no ties, which the packages break in their own ways."""
    everyone = torch.arange(len(maps))
    ranking = Ranking(
        Features("pixel"), torch.zeros(len(maps), 3, 16, 16), Patches.even((4, 4), (16, 16)), batch().ids, 0
    )
    ranks = ranking.ranks(maps, everyone)
    return (256.0 - ranks).reshape(-1, 16, 16)


def spread(cells: Tensor) -> Tensor:
    """(..., 4, 4) as (..., 16, 16)."""
    return cells.repeat_interleave(4, -2).repeat_interleave(4, -1)


def for_quantus(b: Batch, pixels: Tensor) -> dict[str, object]:
    named = {"model": b.classifier, "x_batch": b.images.numpy(), "y_batch": b.targets.numpy()}
    return named | {"a_batch": pixels[:, None].numpy(), "device": "cpu", "softmax": True}


def curve_of(b: Batch, features: Features, grid: Stride) -> Tensor:
    """Probabilities (5, points) under removal of the most relevant features by black."""
    maps, usable = b.maps[:, None], torch.ones(5, 1, dtype=torch.bool)
    context = ScoreContext(b.classifier, b.images, b.targets, b.ids, ("m",), maps, usable)
    request = Curve("morf", features, FILLS.item("black"), grid)
    return Engine(context, 64).answer([request])[request].probability[:, 0].double()


def pixel_flipping(part: str) -> Pair:
    from quantus import PixelFlipping

    b = grey_batch()
    theirs = doubles(
        np.array(PixelFlipping(features_in_step=16, perturb_baseline=0.0, **QUIET)(**for_quantus(b, distinct(b.maps))))
    )
    if part == "curve":
        return curve_of(b, Features("pixel"), Stride(16))[:, 1:], theirs
    return b.score("pixel_flipping", level="pixel", features_in_step=16), theirs.mean(1)


def region_perturbation(part: str, regions: int) -> Pair:
    from quantus import RegionPerturbation

    b = batch()
    metric = RegionPerturbation(patch_size=4, regions_evaluation=regions, perturb_baseline=0.0, **QUIET)
    theirs = doubles(np.array(metric(**for_quantus(b, Patches.even((4, 4), (16, 16)).upsample(b.maps)))))
    if part == "curve":
        ours = curve_of(b, Features("region", 4), Stride(1, regions))
        return ours[:, :1] - ours[:, 1:], theirs
    score = b.score("region_perturbation", fill="black", region=4, regions=regions)
    return score, theirs.sum(1) / (regions + 1)


def faithfulness_estimate() -> Pair:
    from quantus import FaithfulnessEstimate

    b = grey_batch()
    maps = torch.stack([torch.randperm(16, generator=torch.Generator().manual_seed(i)) for i in range(5)])
    maps = maps.float().view(5, 4, 4) - 8
    metric = FaithfulnessEstimate(features_in_step=16, perturb_baseline=0.0, **QUIET)
    ours = b.score("faithfulness_estimate", maps, fill="black")
    return ours, doubles(metric(**for_quantus(b, spread(maps))))


def complexity(name: str) -> Pair:
    import quantus

    metric = {"sparsity_gini": quantus.Sparseness, "entropy": quantus.Complexity}[name]
    b = batch()
    arrays = {"model": None, "x_batch": None, "y_batch": None, "softmax": False, "channel_first": True}
    flat = b.maps.abs().double().flatten(1).numpy()[:, None, None]
    theirs = metric(**{**QUIET, "abs": True}).evaluate_batch(**arrays, a_batch=flat)
    return b.score(name), doubles(theirs)


def scaled(b: Batch) -> Tensor:
    """Magnitudes as pixel maps with maximum 1 each; quantus divides by the largest of the whole batch."""
    return spread(b.maps.abs() / b.maps.abs().amax((1, 2), keepdim=True))


def quantus_nonzero() -> Pair:
    from quantus import EffectiveComplexity

    b = batch()
    theirs = EffectiveComplexity(eps=0.3, normalise=False, disable_warnings=True)(**for_quantus(b, scaled(b)))
    return b.score("nonzero_share", zero=0.3), doubles(np.array(theirs)) / 256


def quantus_non_sensitivity() -> Pair:
    """Quantus asks pixel by pixel; each of its questions is given the patch of its pixel."""
    from quantus import NonSensitivity

    b = grey_batch()
    patch = torch.arange(16).view(4, 4).repeat_interleave(4, 0).repeat_interleave(4, 1).flatten().numpy()

    def without_patch(arr: np.ndarray, indices: np.ndarray, **_: object) -> np.ndarray:
        return np.where(patch[None] == patch[indices], 0, arr).astype(arr.dtype)

    theirs = NonSensitivity(eps=0.02, normalise=False, perturb_func=without_patch, disable_warnings=True)
    expected = doubles(np.array(theirs(**for_quantus(b, scaled(b))))) / 256
    return b.score("non_sensitivity", fill="black", zero=0.02, tolerance=0.02), expected


def quantus_localisation(name: str) -> Pair:
    """On maps of pixels without ties; ours are the read-outs that the metric applies to the upsampled map."""
    import quantus

    pixels = torch.stack([torch.randperm(256, generator=torch.Generator().manual_seed(i)) for i in range(20)])
    pixels = pixels.double().view(20, 16, 16)
    objects = batch().truth.clamp(min=0).repeat(4, 1, 1)
    metric, read_out = {
        "relevance_rank_accuracy": (
            quantus.RelevanceRankAccuracy,
            lambda one, truth: localisation.rank_accuracy(one.flatten(1), truth.flatten() == 1),
        ),
        "energy_pointing_game": (quantus.RelevanceMassAccuracy, localisation.mass_accuracy),
        "localisation_auroc": (
            quantus.AUC,
            lambda one, truth: localisation.auroc(one.flatten(1), truth.flatten() == 1),
        ),
        "pointing_game": (quantus.PointingGame, lambda one, truth: localisation.pointing_hit(one, truth, 0)),
    }[name]
    theirs = metric(**QUIET).evaluate_batch(a_batch=pixels.numpy()[:, None], s_batch=objects.numpy()[:, None])
    ours = [float(read_out(pixels[i : i + 1], objects[i])) for i in range(20)]
    return doubles(ours), doubles([float(np.squeeze(value)) for value in theirs])


class FixedMap:
    """What torchcam asks of an extractor, returning a given map."""

    def __init__(self, model: Classifier, cells: Tensor) -> None:
        self.model, self.cells = model, cells

    def __call__(self, *_arguments: object, **_options: object) -> list[Tensor]:
        return [self.cells]

    def fuse_cams(self, cams: list[Tensor]) -> Tensor:
        return cams[0]

    def _hooks_off(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


@cache
def deletion_and_insertion(steps: int, baseline: str) -> list[dict[str, float]]:
    """Torchcam's two areas of each image, with its ties in our order."""
    from torchcam.metrics import DeletionInsertionMetric

    b, found = batch(), []
    maps = distinct(b.maps)
    for i in range(5):
        image = b.images[i : i + 1]
        start = torch.zeros_like(image) if baseline == "black" else torch.full_like(image, float(image.mean()))
        extractor = FixedMap(b.classifier, maps[i : i + 1])
        metric = DeletionInsertionMetric(extractor, partial(torch.softmax, dim=-1), steps=steps, baseline=start)
        metric.update(image, class_idx=int(b.targets[i]))
        found.append(metric.summary())
    return found


def torchcam_area(name: str, steps: int, baseline: str) -> Pair:
    theirs = [summary[name] for summary in deletion_and_insertion(steps, baseline)]
    return batch().score(name, level="pixel", steps=steps, fill=baseline), doubles(theirs)


def torchcam_confidence(name: str) -> Pair:
    """One image at a time: torchcam's summary is a mean."""
    from torchcam.metrics import ClassificationMetric

    b, theirs = batch(), []
    pixels = torch.nn.functional.interpolate(b.maps[:, None], (16, 16), mode="bilinear", align_corners=False)[:, 0]
    low, high = pixels.amin((1, 2), keepdim=True), pixels.amax((1, 2), keepdim=True)
    for i in range(5):
        extractor = FixedMap(b.classifier, ((pixels - low) / (high - low))[i : i + 1])
        metric = ClassificationMetric(extractor, partial(torch.softmax, dim=-1))
        metric.update(b.images[i : i + 1], class_idx=[int(b.targets[i])])
        theirs.append(metric.summary()["avg_drop" if name == "average_drop" else "conf_increase"])
    return b.score(name), doubles(theirs)


def road(name: str, percentiles: tuple[int, ...]) -> Pair:
    """Without the noise on imputed pixels, which grad-cam draws from the global state."""
    from pytorch_grad_cam.metrics import road as theirs
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    b = batch()
    classes = [ClassifierOutputSoftmaxTarget(int(target)) for target in b.targets]
    arguments = b.images, distinct(b.maps).numpy(), classes, b.classifier
    imputer = theirs.NoisyLinearImputer.__init__
    with patch.object(imputer, "__defaults__", (0.0, *imputer.__defaults__[1:])):
        if name == "road_combined":
            expected = theirs.ROADCombined(list(percentiles))(*arguments)
        else:
            kind = {"road_morf": theirs.ROADMostRelevantFirst, "road_lerf": theirs.ROADLeastRelevantFirst}[name]
            expected = kind(*percentiles)(*arguments, return_diff=False)
    fill = {"name": "noisy_linear", "noise": 0.0, "tolerance": 1e-6}
    shares = tuple(1 - percentile / 100 for percentile in percentiles)
    return b.score(name, shares=shares, fill=fill), doubles(expected)


def infidelity(scaled: bool) -> Pair:
    from captum.metrics import infidelity as captum_infidelity

    b = batch()
    ours = b.score("infidelity", size=0.3, count=10, fill="black", scaled=scaled)
    masks = Subsets(0.3, 10).masks((4, 4), b.ids, 0).unflatten(2, (4, 4)).double()
    pixels = spread(masks).flatten(0, 1)[:, None].expand(-1, 3, -1, -1)
    double = Classifier(tiny_vit().backbone, [0.5] * 3, [0.25] * 3).double().eval()
    theirs = captum_infidelity(
        lambda x: double(x).softmax(1),
        lambda x: (pixels, x * (1 - pixels)),
        b.images.double(),
        # each patch's value is spread over its 48 pixel channels, so that Iᵀa is the sum over patches
        spread(b.maps.double() / 48)[:, None].expand(-1, 3, -1, -1),
        target=b.targets,
        n_perturb_samples=10,
        normalize=scaled,
    )
    return ours, theirs


QUANTUS, TORCHCAM, GRAD_CAM = "package quantus", "package torchcam", "package grad-cam"

ORACLES = [
    Oracle(
        "pixel_flipping", "PixelFlipping", f"{QUANTUS}; each point of the curve", 1e-6, partial(pixel_flipping, "curve")
    ),
    Oracle("pixel_flipping", "PixelFlipping", f"{QUANTUS}; the score", 1e-6, partial(pixel_flipping, "score")),
    *[
        Oracle(
            "region_perturbation",
            "RegionPerturbation",
            f"{QUANTUS}; {regions} regions; {what}",
            1e-6,
            partial(region_perturbation, part, regions),
        )
        for regions in (5, 16)
        for part, what in (("curve", "each point of the curve"), ("score", "the score"))
    ],
    Oracle("faithfulness_estimate", "FaithfulnessEstimate", f"{QUANTUS}; grey images", 1e-4, faithfulness_estimate),
    Oracle("sparsity_gini", "Sparseness", QUANTUS, 1e-6, partial(complexity, "sparsity_gini")),
    Oracle("entropy", "Complexity", QUANTUS, 1e-6, partial(complexity, "entropy")),
    Oracle(
        "nonzero_share",
        "EffectiveComplexity",
        f"{QUANTUS}, given magnitudes with maximum 1; ε = 0.3",
        1e-12,
        quantus_nonzero,
    ),
    Oracle(
        "non_sensitivity",
        "NonSensitivity",
        f"{QUANTUS}; grey images, patches in place of its pixels; ε = 0.02 twice",
        1e-12,
        quantus_non_sensitivity,
    ),
    *[
        Oracle(
            name, theirs, f"{QUANTUS}; the read-out on maps of pixels{also}", 1e-9, partial(quantus_localisation, name)
        )
        for name, theirs, also in (
            ("relevance_rank_accuracy", "RelevanceRankAccuracy", ""),
            ("energy_pointing_game", "RelevanceMassAccuracy", ""),
            ("localisation_auroc", "AUC", ""),
            ("pointing_game", "PointingGame", "; no tolerance"),
        )
    ],
    *[
        Oracle(
            name,
            "DeletionInsertionMetric",
            f"{TORCHCAM}; {steps} steps; fill {fill}",
            1e-6,
            partial(torchcam_area, name, steps, fill),
        )
        for name in ("deletion_auc", "insertion_auc")
        for steps in (8, 16)
        for fill in ("black", "image_mean")
    ],
    *[
        Oracle(name, "ClassificationMetric", f"{TORCHCAM}; image by image", 1e-5, partial(torchcam_confidence, name))
        for name in ("average_drop", "average_increase")
    ],
    *[
        Oracle(
            name,
            theirs,
            f"{GRAD_CAM}, without its noise; percentile {percentile}",
            2e-5,
            partial(road, name, (percentile,)),
        )
        for name, theirs in (("road_morf", "ROADMostRelevantFirst"), ("road_lerf", "ROADLeastRelevantFirst"))
        for percentile in (25, 50, 75)
    ],
    Oracle(
        "road_combined",
        "ROADCombined",
        f"{GRAD_CAM}, without its noise; percentiles 25, 50, 75",
        5e-5,  # a difference of two numbers ten times its size
        partial(road, "road_combined", (25, 50, 75)),
    ),
    Oracle(
        "infidelity",
        "infidelity",
        "package captum, float64; our random sets; one fitted factor",
        1e-5,
        partial(infidelity, True),
    ),
    Oracle(
        "infidelity",
        "infidelity",
        "package captum, float64; our random sets; no factor",
        1e-6,
        partial(infidelity, False),
    ),
]

"""Curves against the packages that other people use for them."""

from __future__ import annotations

import contextlib
from functools import partial

import numpy as np
import pytest
import quantus
import torch
from pytorch_grad_cam.metrics.perturbation_confidence import PerturbationConfidenceMetric
from pytorch_grad_cam.metrics.road import NoisyLinearImputer, RemoveLeastRelevantFirst, RemoveMostRelevantFirst
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
from torchcam.metrics import DeletionInsertionMetric

from tests.conftest import tiny_vit
from vitfaith.models.classifier import Classifier
from vitfaith.score.engine import Engine
from vitfaith.score.evaluate import evaluate
from vitfaith.score.fills import resolve_fill
from vitfaith.score.metrics.base import ScoreContext
from vitfaith.score.metrics.common import CurveParameters
from vitfaith.score.metrics.region import FlippingParameters, RegionParameters
from vitfaith.score.metrics.road import RoadParameters
from vitfaith.score.plan import Curve, Features, Stride
from vitfaith.score.ranking import Ranking, upsample


@pytest.fixture(scope="module")
def maps() -> torch.Tensor:
    return torch.randint(-512, 512, (5, 4, 4), generator=torch.Generator().manual_seed(2)) / 64


@pytest.fixture(scope="module")
def grey_vit() -> Classifier:
    """One channel: quantus 0.6 flips the three values of a colour pixel one by one."""
    return Classifier(tiny_vit(in_chans=1).backbone, [0.5], [0.25]).eval()


def distinct(maps: torch.Tensor) -> torch.Tensor:
    """Pixel maps (5, 16, 16) with the order of ``maps`` and no ties, which the packages break in their own ways."""
    everyone = torch.arange(len(maps))
    ranks = Ranking(Features("pixel"), torch.zeros(len(maps), 3, 16, 16), (4, 4)).ranks(maps, everyone)
    return (256.0 - ranks).reshape(-1, 16, 16)


def arrays(model, images, targets, cams) -> dict[str, object]:
    named = {"model": model, "x_batch": images.numpy(), "y_batch": targets.numpy(), "a_batch": cams[:, None].numpy()}
    return named | {"device": "cpu", "softmax": True}


def curve_of(model, images, targets, maps, image_ids, features: Features, grid: Stride) -> np.ndarray:
    context = ScoreContext(model, images, targets, image_ids, ("m",), maps[:, None], torch.ones(5, 1, dtype=torch.bool))
    request = Curve("morf", features, resolve_fill("black"), grid)
    return Engine(context, 64).answer([request])[request].probability[:, 0].numpy()


def values(model, images, targets, image_ids, maps, name, parameters) -> np.ndarray:
    table = evaluate(model, images, targets, image_ids, {"m": maps}, {"x": (name, parameters)}, batch_size=64).scores
    return table.column("value").to_numpy()


def test_pixel_flipping_equals_quantus(grey_vit, images, targets, image_ids, maps):
    grey = images.mean(1, keepdim=True)
    metric = quantus.PixelFlipping(
        features_in_step=16, abs=False, normalise=False, perturb_baseline=0.0, disable_warnings=True
    )
    theirs = np.array(metric(**arrays(grey_vit, grey, targets, distinct(maps))))
    ours = curve_of(grey_vit, grey, targets, maps, image_ids, Features("pixel"), Stride(16))
    assert np.abs(ours[:, 1:] - theirs).max() < 1e-6
    score = values(
        grey_vit,
        grey,
        targets,
        image_ids,
        maps,
        "pixel_flipping",
        FlippingParameters(level="pixel", features_in_step=16),
    )
    assert np.abs(score - theirs.mean(1)).max() < 1e-6


@pytest.mark.parametrize("regions", [5, 16])
def test_region_perturbation_equals_quantus(vit, images, targets, image_ids, maps, regions):
    metric = quantus.RegionPerturbation(
        patch_size=4,
        regions_evaluation=regions,
        abs=False,
        normalise=False,
        perturb_baseline=0.0,
        disable_warnings=True,
    )
    theirs = np.array(metric(**arrays(vit, images, targets, upsample(maps, (16, 16)))))
    ours = curve_of(vit, images, targets, maps, image_ids, Features("region", 4), Stride(1, regions))
    assert np.abs((ours[:, :1] - ours[:, 1:]) - theirs).max() < 1e-6
    score = values(
        vit,
        images,
        targets,
        image_ids,
        maps,
        "region_perturbation",
        RegionParameters(fill="black", region=4, regions=regions),
    )
    assert np.abs(score - theirs.sum(1) / (regions + 1)).max() < 1e-6


class FixedMap:
    """What torchcam asks of an extractor, returning a given map."""

    def __init__(self, model, cells: torch.Tensor) -> None:
        self.model, self.cells = model, cells

    def __call__(self, *_arguments: object, **_options: object) -> list[torch.Tensor]:
        return [self.cells]

    def fuse_cams(self, cams: list[torch.Tensor]) -> torch.Tensor:
        return cams[0]

    def _hooks_off(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


@pytest.mark.parametrize("steps", [8, 16])
@pytest.mark.parametrize("baseline", ["black", "image_mean"])
def test_deletion_and_insertion_equal_torchcam(vit, images, targets, image_ids, maps, steps, baseline):
    parameters = CurveParameters(level="pixel", steps=steps, fill=baseline)
    ours = {
        name: values(vit, images, targets, image_ids, maps, name, parameters)
        for name in ("deletion_auc", "insertion_auc")
    }
    for index in range(5):
        image = images[index : index + 1]
        metric = DeletionInsertionMetric(
            FixedMap(vit, maps[index : index + 1]),
            partial(torch.softmax, dim=-1),
            steps=steps,
            baseline=torch.zeros_like(image) if baseline == "black" else torch.full_like(image, float(image.mean())),
        )
        metric.update(image, class_idx=int(targets[index]))
        for name, value in metric.summary().items():
            assert ours[name][index] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "remover"), [("road_morf", RemoveMostRelevantFirst), ("road_lerf", RemoveLeastRelevantFirst)]
)
@pytest.mark.parametrize("percentile", [25, 50, 75])
def test_road_equals_grad_cam_without_its_unseeded_noise(
    vit, images, targets, image_ids, maps, name, remover, percentile
):
    metric = PerturbationConfidenceMetric(remover(percentile, NoisyLinearImputer(noise=0.0)))
    classes = [ClassifierOutputSoftmaxTarget(int(target)) for target in targets]
    cams = distinct(maps).numpy()
    theirs = metric(images, cams, classes, vit, return_diff=False)
    fill = {"name": "noisy_linear", "noise": 0.0, "tolerance": 1e-6}
    parameters = RoadParameters(shares=(1 - percentile / 100,), fill=fill)
    ours = values(vit, images, targets, image_ids, maps, name, parameters)
    assert np.abs(ours - theirs).max() < 1e-5

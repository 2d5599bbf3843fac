"""What outside packages compute for the same tiny model and images."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from tests.conftest import tiny_vit
from tests.explainers.bridge import txv_model
from tests.explainers.oracles.base import Oracle, Pair, by_image, maps
from tests.explainers.textbook.path import in_patches
from tests.explainers.zoo import batch, model
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.rng import normal, uniform


def rollout(fusion: str) -> Pair:
    from fast_vit_rollout import ViTAttentionRollout

    classifier = copy.deepcopy(model("class_token"))
    images, _, _ = batch(classifier)
    for block in classifier.backbone.blocks:
        block.attn.fused_attn = False
    oracle = ViTAttentionRollout(classifier, head_fusion=fusion, discard_ratio=0.0)
    with torch.no_grad():
        classifier(images)
    matrix = oracle._compute_rollout()
    return maps(model("class_token"), "attention_rollout", head_fusion=fusion), matrix[:, 0, 1:].unflatten(1, (4, 4))


def captum_gradient(name: str) -> Pair:
    from captum.attr import InputXGradient, Saliency

    classifier = model("class_token")
    images, targets, _ = batch(classifier)
    images.requires_grad_()
    if name == "saliency":
        pixels = Saliency(classifier).attribute(images, target=targets, abs=True).detach().amax(1)
    else:
        pixels = InputXGradient(classifier).attribute(images, target=targets).detach().sum(1)
    sums = torch.stack([in_patches(field, (4, 4)) for field in pixels])
    return maps(classifier, name), sums / 16 if name == "saliency" else sums


def captum_path() -> Pair:
    from captum.attr import IntegratedGradients

    classifier = model("class_token")
    images, targets, _ = batch(classifier)
    start = classifier.mean.expand_as(images)
    pixels = IntegratedGradients(classifier).attribute(images, start, target=targets, n_steps=8, method="gausslegendre")
    expected = torch.stack([in_patches(field.sum(0), (4, 4)) for field in pixels.detach()])
    return maps(classifier, "integrated_gradients", steps=8, baseline="model_mean"), expected


@contextmanager
def noise_of(image_id: str, samples: int) -> Iterator[None]:
    """Captum draws its noise from the global state; inside, its draws are ours."""
    draws = torch.cat([normal(0, [image_id], f"smoothgrad-{copy_}", (3, 16, 16)) for copy_ in range(samples)])
    with patch("torch.normal", lambda _mean, deviation: draws * deviation):
        yield


def captum_smoothgrad(statistic: str, nt_type: str) -> Pair:
    from captum.attr import NoiseTunnel, Saliency

    classifier = model("class_token")

    def theirs(image: Tensor, target: int, image_id: str) -> Tensor:
        deviation = 0.15 * float(image.max() - image.min())
        settings = {"nt_type": nt_type, "nt_samples": 6, "stdevs": deviation, "target": target}
        with noise_of(image_id, 6):
            found = NoiseTunnel(Saliency(classifier)).attribute(image[None], **settings)
        return in_patches(found[0].amax(0), (4, 4)) / 16

    settings = {"samples": 6, "quantity": "saliency", "statistic": statistic}
    return maps(classifier, "smoothgrad", **settings)[:2], by_image(classifier, theirs)


def captum_gradient_shap() -> Pair:
    """Three baselines from a file; captum draws from the global states, which give it our draws."""
    from captum.attr import GradientShap

    classifier = model("class_token")
    baselines = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(8))

    def drawn(image_id: str, what: str, shape: tuple[int, ...]) -> Tensor:
        return torch.cat([uniform(0, [image_id], f"expected_gradients-{what}-{i}", shape) for i in range(6)])

    def theirs(image: Tensor, target: int, image_id: str) -> Tensor:
        noise = torch.cat([normal(0, [image_id], f"expected_gradients-noise-{i}", (3, 16, 16)) for i in range(6)])
        rows = (drawn(image_id, "baseline", ()) * 3).long().tolist()
        with (
            patch("numpy.random.uniform", lambda *_: drawn(image_id, "alpha", (1,))[:, 0].double().numpy()),
            patch("numpy.random.choice", lambda *_: np.array(rows)),
            patch("torch.normal", lambda _mean, deviation: noise * deviation),
        ):
            found = GradientShap(classifier).attribute(image[None], baselines, n_samples=6, stdevs=0.1, target=target)
        return in_patches(found[0].sum(0), (4, 4))

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "baselines.npy"
        np.save(file, baselines.numpy())
        found = maps(classifier, "expected_gradients", samples=6, noise=0.1, background=file)
    return found[:2], by_image(classifier, theirs)


def captum_occlusion(window: int, stride: int) -> Pair:
    from captum.attr import Occlusion

    classifier = model("class_token")
    images, targets, _ = batch(classifier)
    shapes = {
        "sliding_window_shapes": (3, 4 * window, 4 * window),
        "strides": (3, 4 * stride, 4 * stride),
    }
    expected = Occlusion(classifier).attribute(images, target=targets, **shapes)
    settings = {"window": window, "stride": stride, "fill": "black", "score": "logit"}
    return maps(classifier, "occlusion", **settings), expected[:, 0, ::4, ::4].float()


def captum_shapley() -> Pair:
    """``ShapleyValues`` tries all orders of the four patches, so it is exact; captum's ``KernelShap`` draws."""
    from captum.attr import ShapleyValues

    classifier = tiny_vit(4, img_size=8)
    images, targets, ids = batch(classifier, 2)
    features = torch.arange(4).view(1, 1, 2, 2).repeat_interleave(4, 2).repeat_interleave(4, 3)
    features = features.expand(1, 3, 8, 8).contiguous()
    expected = ShapleyValues(classifier).attribute(
        images, target=targets, baselines=classifier.mean.expand_as(images), feature_mask=features
    )
    methods = {"it": EXPLAINERS.item("kernel_shap", fill="model_mean", score="logit")}
    found = explain(classifier, images, targets, ids, methods, seed=0, batch_size=8)["it"]
    return found, expected[:, 0, ::4, ::4]


def tam() -> Pair:
    import txv.exp

    classifier = model("class_token")
    explainer = txv.exp.TAM(txv_model(classifier))

    def theirs(image: Tensor, target: int, _: str) -> Tensor:
        found: Tensor = explainer.explain(((image - 0.5) / 0.25)[None], index=target, steps=20)
        return found.view(4, 4)

    found = maps(classifier, "tam", steps=20, rule="uniform", baseline="model_mean")
    return found[:2], by_image(classifier, theirs)


def beyond_intuition(kind: str) -> Pair:
    """Up to txv's min-max of the gradients, a factor; one point at α = 1, since txv's points leave out α = 0."""
    import txv.exp

    classifier = model("class_token")
    explainer = txv.exp.BeyondIntuition(txv_model(classifier))

    def theirs(image: Tensor, target: int, _: str) -> Tensor:
        found: Tensor = explainer.explain(((image - 0.5) / 0.25)[None], method=kind, index=target, steps=1)
        return (found / found.max()).view(4, 4)

    found = maps(classifier, f"beyond_intuition_{kind}", steps=1, rule="uniform")[:2]
    return found / found.amax((1, 2), keepdim=True), by_image(classifier, theirs)


CAPTUM = "package captum"
PER_PATCH = f"{CAPTUM}; its pixels summed or averaged over patches"
OWN_NOISE = f"{CAPTUM}, given our noise; 6 copies, magnitudes"

ORACLES = [
    *[
        Oracle("attention_rollout", "fast-vit-rollout", f"package; heads: {f}; no discard", 1e-6, partial(rollout, f))
        for f in ("mean", "max", "min")
    ],
    Oracle("saliency", "Saliency", PER_PATCH, 1e-6, partial(captum_gradient, "saliency")),
    Oracle("input_x_gradient", "InputXGradient", PER_PATCH, 1e-5, partial(captum_gradient, "input_x_gradient")),
    Oracle("integrated_gradients", "IntegratedGradients", f"{PER_PATCH}; Gauss–Legendre", 1e-5, captum_path),
    Oracle(
        "expected_gradients",
        "GradientShap",
        f"{CAPTUM}, given our draws; 6 draws from 3 baselines, noise 0.1; its pixels summed over patches",
        1e-5,
        captum_gradient_shap,
    ),
    *[
        Oracle("smoothgrad", f"NoiseTunnel {theirs}", OWN_NOISE, 1e-5, partial(captum_smoothgrad, ours, theirs))
        for ours, theirs in (("mean", "smoothgrad"), ("square", "smoothgrad_sq"), ("variance", "vargrad"))
    ],
    *[
        Oracle("occlusion", "Occlusion", f"{CAPTUM}; window {w}, stride {s}", 1e-5, partial(captum_occlusion, w, s))
        for w, s in ((1, 1), (2, 1), (2, 2), (3, 2), (3, 3))
    ],
    Oracle("kernel_shap", "ShapleyValues", f"{CAPTUM}; all orders of 4 patches", 1e-5, captum_shapley),
    Oracle("tam", "TAM", "package txv; 20 points", 1e-5, tam),
    *[
        Oracle(
            f"beyond_intuition_{kind}",
            "BeyondIntuition",
            "package txv; one point; both divided by their maximum",
            1e-5,
            partial(beyond_intuition, kind),
        )
        for kind in ("head", "token")
    ],
]

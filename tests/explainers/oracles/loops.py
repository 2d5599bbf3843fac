"""The methods as their papers write them: slow loops on unfused attention with retained gradients, in float64."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.conftest import tiny_vit
from tests.explainers.autograd import arrays, legrad, pixel_gradients, pooled_legrad
from tests.explainers.oracles.base import Oracle, Pair, by_image, maps
from tests.explainers.textbook import attention, gradient_rules, path, perturbation, relprop, token_cams
from tests.explainers.zoo import batch, model
from vitfaith.explainers.explain import explain
from vitfaith.explainers.passes.path_pass import nodes
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.explainers.tis import k_means
from vitfaith.rng import generator, normal, uniform

CLASS_TOKEN = "class_token"


def one_pass(name: str, loops: Callable[..., Any], tolerance: float = 1e-5) -> Oracle:
    """Loops over the arrays of plain autograd; ``loops(arrays, rows)`` gives a vector over tokens."""

    def pair() -> Pair:
        images, rows = arrays(CLASS_TOKEN)
        expected = [np.asarray(loops(image, rows))[-16:].reshape(4, 4) for image in images]
        signed = {"clamp": False} if "clamp" in EXPLAINERS[name].parameters.model_fields and "cam" in name else {}
        return maps(model(CLASS_TOKEN), name, **signed), torch.from_numpy(np.stack(expected))

    return Oracle(name, "unfused autograd", UNFUSED, tolerance, pair)


def token_cam(name: str, arrays_: Any, _rows: list[int]) -> Any:
    return attention.token_cam(arrays_["features"], arrays_["features_gradient"], name)


def layer_scores() -> Pair:
    return maps(model(CLASS_TOKEN), "legrad"), legrad(CLASS_TOKEN)


def pixel_gradient(name: str, key: str) -> Pair:
    return maps(model(CLASS_TOKEN), name), pixel_gradients(CLASS_TOKEN)[key]


def random_patches() -> Pair:
    classifier = model(CLASS_TOKEN)

    def slow(_image: Tensor, _target: int, image_id: str) -> Tensor:
        source = generator(0, image_id, "random-patch")
        return torch.stack([torch.rand((), generator=source) for _ in range(16)]).view(4, 4)

    return maps(classifier, "random")[:2], by_image(classifier, slow)


def external_file() -> Pair:
    """Pixel maps of a NumPy file, averaged over patches by NumPy."""
    classifier = model(CLASS_TOKEN)
    _, _, ids = batch(classifier)
    values = np.random.default_rng(0).random((4, 16, 16))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "maps.npz"
        np.savez(file, image_ids=np.array(ids), maps=values)
        found = maps(classifier, "external", path=file)
    return found, torch.from_numpy(values.reshape(4, 4, 4, 4, 4).mean((2, 4)))


def relevance(name: str) -> Pair:
    classifier = model(CLASS_TOKEN)
    return maps(classifier, name)[:1], by_image(
        classifier, lambda image, target, _: relprop.relevance_maps(classifier, image, target)[name], 1
    )


def pooled_layer_scores() -> Pair:
    classifier = model("attention_pool")
    return maps(classifier, "legrad"), pooled_legrad(classifier)


def messages(name: str, rule: str, gamma: float = 0) -> Pair:
    """At the tokens that enter the first block."""
    classifier = copy.deepcopy(model(CLASS_TOKEN)).double()

    def slow(image: Tensor, target: int, _: str) -> Tensor:
        with torch.no_grad():
            return gradient_rules.relevance_of_tokens(classifier, image, target, rule, gamma)[1:].view(4, 4)

    more = {"gamma": gamma} if gamma else {}
    return maps(model(CLASS_TOKEN), name, at="tokens", **more)[:2], by_image(classifier, slow)


def outside_attention(gamma: float, gamma_patches: float | None) -> Pair:
    """CP-LRP with γ outside attention, at the pixels."""
    classifier = copy.deepcopy(model(CLASS_TOKEN)).double()
    at_patches = gamma if gamma_patches is None else gamma_patches

    def slow(image: Tensor, target: int, _: str) -> Tensor:
        with torch.no_grad():
            return gradient_rules.relevance_of_patches(classifier, image, target, gamma, at_patches)

    found = maps(model(CLASS_TOKEN), "cp_lrp", gamma=gamma, gamma_patches=gamma_patches)
    return found[:2], by_image(classifier, slow)


def explicit_forward() -> Pair:
    """CP-LRP at the pixels: gradient × input of a forward in which all factors but one are constants."""
    classifier = copy.deepcopy(model(CLASS_TOKEN)).double()

    def slow(image: Tensor, target: int, _: str) -> Tensor:
        pixels = ((image.double() - 0.5) / 0.25).requires_grad_()
        (gradient,) = torch.autograd.grad(gradient_rules.conservative_logit(classifier, pixels, target), pixels)
        return path.in_patches((pixels * gradient).detach().sum(0), (4, 4))

    return maps(model(CLASS_TOKEN), "cp_lrp")[:2], by_image(classifier, slow)


def libragrad(name: str) -> Pair:
    classifier = copy.deepcopy(model(CLASS_TOKEN)).double()

    def slow(image: Tensor, target: int, _: str) -> Tensor:
        inputs, biases = gradient_rules.slow_full_gradient(classifier, image, target)
        return (inputs[0] if "input" in name else inputs.sum(0) + biases)[1:].view(4, 4)

    return maps(model(CLASS_TOKEN), name)[:2], by_image(classifier, slow)


def integrated_gradients() -> Pair:
    classifier = model(CLASS_TOKEN)
    points = list(zip(*nodes("gauss_legendre", 4), strict=True))

    def slow(image: Tensor, target: int, _: str) -> Tensor:
        return path.in_patches(path.integrated_gradients(classifier, image, target, points, 0.25), (4, 4))

    found = maps(classifier, "integrated_gradients", steps=4, baseline="value", value=0.25)
    return found[:2], by_image(classifier, slow)


def lines(image_id: str, samples: int, noise: float) -> list[tuple[Tensor, Tensor, float]]:
    """Baseline, noise and α of each draw of expected gradients, from their keys."""

    def draw(make: Callable[..., Tensor], what: str, copy_: int, shape: tuple[int, ...]) -> Tensor:
        return make(0, [image_id], f"expected_gradients-{what}-{copy_}", shape)[0]

    return [
        (
            draw(uniform, "baseline", i, (3, 16, 16)),
            noise * draw(normal, "noise", i, (3, 16, 16)),
            float(draw(uniform, "alpha", i, (1, 1, 1))),
        )
        for i in range(samples)
    ]


def expected_gradients(noise: float) -> Pair:
    classifier = model(CLASS_TOKEN)

    def slow(image: Tensor, target: int, image_id: str) -> Tensor:
        field = path.expected_gradients(classifier, image, target, lines(image_id, 4, noise))
        return path.in_patches(field, (4, 4))

    return maps(classifier, "expected_gradients", samples=4, noise=noise)[:2], by_image(classifier, slow)


def finer_cam(weights: str, references: int, strength: float) -> Pair:
    classifier = model(CLASS_TOKEN)
    settings: dict[str, Any] = {"references": references, "strength": strength, "weighting": weights, "clamp": False}

    def slow(image: Tensor, target: int, _: str) -> Tensor:
        return token_cams.finer_cam(classifier, image, target, references, strength, weights)

    return maps(classifier, "token_finercam", **settings), by_image(classifier, slow, 4)


def shapley_cam(utility: str) -> Pair:
    classifier = model(CLASS_TOKEN)

    def slow(image: Tensor, target: int, _: str) -> Tensor:
        return token_cams.shapley_cam(classifier, image, target, utility)

    return maps(classifier, "token_shapleycam", utility=utility, clamp=False)[:2], by_image(classifier, slow)


def smoothgrad() -> Pair:
    classifier = model(CLASS_TOKEN)

    def slow(image: Tensor, target: int, image_id: str) -> Tensor:
        draws = [normal(0, [image_id], f"smoothgrad-{i}", (3, 16, 16))[0] for i in range(4)]
        how = {"quantity": "gradient", "statistic": "mean", "channels": "max"}
        return path.in_patches(path.smoothgrad(classifier, image, target, draws, 0.15, **how), (4, 4)) / 16

    return maps(classifier, "smoothgrad", samples=4)[:2], by_image(classifier, slow)


def along_the_line(name: str) -> Pair:
    classifier = model(CLASS_TOKEN)

    def slow(image: Tensor, target: int, _: str) -> Tensor:
        whole, line = path.Reference(classifier, image, target), path.line(classifier, image, target, 4)
        if name == "tam":
            return path.tam(whole, line, 1, 0)
        steps = path.head_transitions(whole) if name.endswith("head") else path.token_transitions(whole)
        return path.beyond_intuition(steps, line, 1)

    found = maps(classifier, name, steps=4, rule="uniform", baseline="model_mean")
    return found[:2], by_image(classifier, slow)


def occlusion() -> Pair:
    classifier = model(CLASS_TOKEN)
    slow = partial(perturbation.occlusion, classifier)
    return maps(classifier, "occlusion", fill="channel_mean")[:2], by_image(classifier, lambda i, t, _: slow(i, t))


def rise() -> Pair:
    classifier = model(CLASS_TOKEN)
    how: dict[str, Any] = {"masks": 9, "cells": 3, "keep": 0.4, "normalisation": "expected"}

    def slow(image: Tensor, target: int, image_id: str) -> Tensor:
        return perturbation.rise(classifier, image, target, (0, image_id), **how)

    return maps(classifier, "rise", fill="black", **how)[:2], by_image(classifier, slow)


def kernel_shap() -> Pair:
    classifier = tiny_vit(2, img_size=(8, 12))
    images, targets, ids = batch(classifier, 2)
    methods = {"it": EXPLAINERS.item("kernel_shap", fill="image_mean")}
    found = explain(classifier, images, targets, ids, methods, seed=0, batch_size=64)["it"]
    expected = [perturbation.kernel_shap(classifier, images[i], int(targets[i])) for i in range(2)]
    return found, torch.stack(expected)


def vit_cx() -> Pair:
    classifier = model(CLASS_TOKEN)
    how = {"noise": 0.4, "distance": 0.2}

    def slow(image: Tensor, target: int, image_id: str) -> Tensor:
        return perturbation.vit_cx(classifier, image, target, (0, image_id), **how)

    return maps(classifier, "vit_cx", **how)[:2], by_image(classifier, slow)


def tis() -> Pair:
    classifier = model(CLASS_TOKEN)

    def slow(image: Tensor, target: int, image_id: str) -> Tensor:
        points = perturbation.channels_of(classifier, image)
        return perturbation.tis(classifier, image, target, k_means(points, 7, 100, generator(0, image_id, "tis")), 4)

    return maps(classifier, "tis", masks=7, keep=0.3)[:2], by_image(classifier, slow)


def centroids() -> Pair:
    """Where no cluster runs empty; there scikit-learn moves it and ours keeps it."""
    from sklearn.cluster import KMeans

    points = torch.randn(30, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    start = points[torch.randperm(30, generator=torch.Generator().manual_seed(2))[:4]]
    theirs = KMeans(4, init=start.numpy(), n_init=1, max_iter=100, tol=0).fit(points.numpy())
    ours = k_means(points, 4, 100, torch.Generator().manual_seed(2))
    return ours, torch.from_numpy(theirs.cluster_centers_)


UNFUSED = "attention and gradients retained by unfused autograd; loops over heads and tokens, float64"
LOOPS = "loops of the paper's definition"
SLOW = "slow textbook relprop, neuron by neuron, float64"
LOGITS = "one gradient for each logit, float64"
LINE = "one image and one step at a time, float64"

ORACLES = [
    one_pass("raw_attention", attention.raw_attention),
    one_pass("attention_rollout", attention.rollout),
    one_pass("grad_attention_rollout", attention.grad_rollout),
    one_pass("transformer_mm", attention.transformer_mm),
    one_pass("attention_gradcam", partial(attention.attention_gradcam, prefix=1)),
    one_pass("attcat", attention.attcat),
    one_pass("agcam", attention.agcam),
    one_pass("tokentm", attention.tokentm),
    *[
        one_pass(name, partial(token_cam, name), 1e-4 if name == "token_xgradcam" else 1e-5)
        for name in ("token_gradcam", "token_hirescam", "token_layercam", "token_xgradcam", "token_eigencam")
    ],
    Oracle("legrad", "unfused autograd", "one forward and backward for each layer, float64", 1e-5, layer_scores),
    Oracle("legrad", "textbook pooler", "attention pooling; one head and backward at a time, float64", 1e-5, pooled_layer_scores),
    Oracle("saliency", "unfused autograd", UNFUSED, 1e-5, partial(pixel_gradient, "saliency", "max")),
    Oracle("input_x_gradient", "unfused autograd", UNFUSED, 1e-5, partial(pixel_gradient, "input_x_gradient", "black")),
    Oracle("random", "torch generator", "one draw at a time from the generator of the image's key", 0, random_patches),
    Oracle("external", "NumPy", "the file's own pixels, averaged by NumPy", 1e-6, external_file),
    *[
        Oracle(name, "textbook relprop", SLOW, 1e-5, partial(relevance, name))
        for name in ("lrp", "partial_lrp", "transformer_attribution", "lrp_rollout")
    ],
    Oracle("cp_lrp", "textbook relprop", SLOW, 1e-5, partial(messages, "cp_lrp", "constant")),
    *[
        Oracle(
            "cp_lrp",
            "textbook relprop",
            f"{SLOW}; γ = {g} in MLPs and head, {g if p is None else p} in the patch embedding",
            1e-5,
            partial(outside_attention, g, p),
        )
        for g, p in ((0.05, 0.25), (0.25, None), (0.1, 0))
    ],
    Oracle("cp_lrp", "explicit forward", "gradient × input with all factors but one detached", 1e-5, explicit_forward),
    Oracle("attnlrp", "textbook relprop", SLOW, 1e-5, partial(messages, "attnlrp", "uniform")),
    *[
        Oracle("attnlrp", "textbook relprop", f"{SLOW}; γ = {g}", 1e-5, partial(messages, "attnlrp", "uniform", g))
        for g in (0.05, 1)
    ],
    *[
        Oracle(name, "explicit forward", "every bias a separate leaf at every token, float64", 1e-5, partial(libragrad, name))
        for name in ("libragrad_input_x_gradient", "libragrad_fullgrad_plus")
    ],
    Oracle("integrated_gradients", "textbook path", LINE, 1e-5, integrated_gradients),
    *[
        Oracle("expected_gradients", "textbook path", f"{LINE}; our draws, noise {noise}", 1e-5, partial(expected_gradients, noise))
        for noise in (0.0, 0.2)
    ],
    *[
        Oracle(
            "token_finercam", "textbook chain rule", f"{LOGITS}; {n} references, γ = {g}, {weights} weights", 1e-5,
            partial(finer_cam, weights, n, g),
        )
        for weights, n, g in (("equal", 3, 1.0), ("equal", 9, 0.6), ("probability", 3, 1.0))
    ],
    *[
        Oracle("token_shapleycam", "textbook Hessian", f"the whole matrix, float64; utility {u}", 1e-5, partial(shapley_cam, u))
        for u in ("rest", "logit")
    ],
    Oracle("smoothgrad", "textbook path", LINE, 1e-5, smoothgrad),
    *[
        Oracle(name, "textbook path", f"{LINE}; unfused autograd", 1e-5, partial(along_the_line, name))
        for name in ("tam", "beyond_intuition_head", "beyond_intuition_token")
    ],
    Oracle("occlusion", "textbook loop", LOOPS, 1e-5, occlusion),
    Oracle("rise", "textbook loop", LOOPS, 1e-5, rise),
    Oracle("kernel_shap", "Shapley's formula", "all coalitions of 6 patches", 1e-5, kernel_shap),
    Oracle("vit_cx", "textbook loop", f"{LOOPS}; scikit-learn's clustering", 1e-5, vit_cx),
    Oracle("tis", "textbook loop", LOOPS, 1e-5, tis),
    Oracle("tis", "KMeans", "package scikit-learn; the centroids", 1e-8, centroids),
]  # fmt: skip

"""What outside packages compute for the same tiny model and images."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from tests.conftest import tiny_vit
from tests.explainers.bridge import twin, txv_model
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


def zennit(layer: nn.Module, rule: object, values: Tensor, relevance: Tensor) -> Tensor:
    """What a rule of zennit makes of ``relevance`` at the output of ``layer``."""
    from zennit.composites import LayerMapComposite

    values = values.clone().requires_grad_()
    network = nn.Sequential(layer)
    with LayerMapComposite([(type(layer), rule)]).context(network) as modified:
        return torch.autograd.grad(modified(values), values, relevance)[0]


def zennit_linear() -> Pair:
    from zennit.rules import ZPlus

    from vitfaith.explainers.relevance import rules

    layer, values, relevance = random_linear()
    ours = rules.linear(values, layer.weight.detach(), relevance)
    return ours, zennit(layer, ZPlus(1e-12, zero_params="bias"), values, relevance)


def zennit_pixels() -> Pair:
    from zennit.rules import ZBox

    from vitfaith.explainers.relevance import rules

    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.Conv2d(3, 5, 4, 4).double()
    values = torch.randn(1, 3, 8, 8, generator=generator, dtype=torch.float64)
    relevance = torch.randn(1, 5, 2, 2, generator=generator, dtype=torch.float64)
    ours = rules.pixels(values, layer.weight.detach(), (4, 4), relevance)
    return ours, zennit(layer, ZBox(values.min(), values.max(), 1e-12, zero_params="bias"), values, relevance)


def zennit_gamma(kind: str) -> Pair:
    """The γ-rule of one layer; relevance is gradient × output going in and gradient × input coming out."""
    from zennit.rules import Gamma

    from vitfaith.explainers.relevance.gamma import gamma_convolution, gamma_linear

    generator = torch.Generator().manual_seed(0)
    layer: nn.Module
    if kind == "linear":
        layer, values, relevance = random_linear()
        forward = gamma_linear(layer, 0.25)
    else:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layer = nn.Conv2d(3, 5, 4, 4).double()
        values = torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64)
        relevance = torch.randn(2, 5, 2, 2, generator=generator, dtype=torch.float64)
        forward = gamma_convolution(layer, 0.25)
    leaf = values.clone().requires_grad_()
    outputs = forward(leaf)
    (gradient,) = torch.autograd.grad(outputs, leaf, relevance / outputs.detach())
    return gradient * values, zennit(layer, Gamma(0.25, stabilizer=1e-12), values, relevance)


def zennit_vit() -> Pair:
    """The whole CP-LRP pass at the pixels, with zennit's γ-rule in the layers that have one: relevance out, relevance in."""
    from zennit.rules import Gamma

    classifier = copy.deepcopy(model("class_token")).double()
    images, targets, _ = batch(classifier)
    net: Any = classifier.backbone

    def hold(layer: nn.Module, gamma: float) -> Any:
        class Held(torch.autograd.Function):
            @staticmethod
            def forward(context: Any, x: Tensor) -> Tensor:
                context.save_for_backward(x)
                return layer(x)

            @staticmethod
            def backward(context: Any, gradient: Tensor) -> Tensor:
                (x,) = context.saved_tensors
                with torch.enable_grad():
                    return zennit(layer, Gamma(gamma, stabilizer=1e-12), x, gradient * layer(x)) / x

        return Held.apply

    def norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
        scale = torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + layer.eps).detach()
        return (x - x.mean(-1, keepdim=True)) / scale * layer.weight + layer.bias

    def logits(pixels: Tensor) -> Tensor:
        x = hold(net.patch_embed.proj, 0.25)(pixels).flatten(2).mT
        x = torch.cat([net.cls_token.expand(len(x), -1, -1), x], 1) + net.pos_embed
        for block in net.blocks:
            qkv = block.attn.qkv(norm(block.norm1, x)).unflatten(-1, (3, 3, 8)).permute(2, 0, 3, 1, 4)
            a = (qkv[0] @ qkv[1].mT / 8**0.5).softmax(-1).detach()
            x = x + block.attn.proj((a @ qkv[2]).transpose(1, 2).flatten(2))
            y = hold(block.mlp.fc1, 0.05)(norm(block.norm2, x))
            x = x + hold(block.mlp.fc2, 0.05)(y * (nn.functional.gelu(y) / y).detach())
        return hold(net.head, 0.05)(norm(net.norm, x)[:, 0])

    pixels = ((images.double() - 0.5) / 0.25).requires_grad_()
    (gradient,) = torch.autograd.grad(logits(pixels).gather(1, targets[:, None]).sum(), pixels)
    expected = (pixels * gradient).detach().sum(1).unflatten(1, (4, 4)).unflatten(3, (4, 4)).sum((2, 4))
    return maps(model("class_token"), "cp_lrp", gamma=0.05, gamma_patches=0.25), expected


def random_linear() -> tuple[nn.Linear, Tensor, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(7, 5).double(), torch.randn(4, 7).double(), torch.randn(4, 5).double()


def grad_cam(name: str, theirs: str) -> Pair:
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection_with_sign_correction

    classifier = copy.deepcopy(model("class_token"))
    images, targets, _ = batch(classifier)

    def to_channels(tokens: Tensor) -> Tensor:
        return tokens[:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2)

    layer = classifier.backbone.blocks[-1].norm1
    with getattr(pytorch_grad_cam, theirs)(classifier, [layer], reshape_transform=to_channels) as cam:
        cam.get_target_width_height = lambda _: (4, 4)  # their resize, by another library, is not under test
        if name == "token_eigencam":  # their EigenCAM has a random sign; their Seg-EigenCAM corrects it
            cam.get_cam_image = lambda *a, **k: get_2d_projection_with_sign_correction(a[3])
        expected = cam(images.requires_grad_(), [ClassifierOutputTarget(int(t)) for t in targets])
    return unit(maps(model("class_token"), name)), torch.from_numpy(expected)


def unit(maps: Tensor) -> Tensor:
    """Min-max of each map, as grad-cam scales them."""
    maps = maps - maps.amin((1, 2), keepdim=True)
    return maps / maps.amax((1, 2), keepdim=True).clamp_min(1e-12)


def contrasted_cam(theirs: str) -> Pair:
    """Classes that the network predicts, which is what their FinerCAM compares with the nearest ones."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputReST

    classifier = copy.deepcopy(model("class_token"))
    images, _, ids = batch(classifier)
    targets = classifier(images).argmax(1)
    for block in classifier.backbone.blocks:
        block.attn.fused_attn = False  # has no second derivative

    def to_channels(tokens: Tensor) -> Tensor:
        return tokens[:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2)

    layer, finer = classifier.backbone.blocks[-1].norm1, theirs == "FinerCAM"
    with getattr(pytorch_grad_cam, theirs)(classifier, [layer], reshape_transform=to_channels) as cam:
        inner = cam.base_cam if finer else cam
        inner.get_target_width_height = lambda _: (4, 4)  # their resize, by another library, is not under test
        if not finer:  # version 1.5.7 forgets to reshape the tokens of a ViT, and to let go of its views

            def weighted(*given: Any) -> Any:
                weights = torch.from_numpy(cam.get_cam_weights(*given[:5]))
                return (weights[:, :, None, None] * to_channels(given[3])).sum(1).detach().numpy()

            cam.get_cam_image, cam.activations_and_grads.clear = weighted, lambda: None
        wanted = None if finer else [ClassifierOutputReST(int(t)) for t in targets]
        expected = cam(images.requires_grad_(), wanted)
    name, settings = ("token_finercam", {"weighting": "probability"}) if finer else ("token_shapleycam", {})
    methods = {"it": EXPLAINERS.item(name, **settings)}
    found = explain(model("class_token"), images.detach(), targets, ids, methods, seed=0, batch_size=4)["it"]
    return unit(found), torch.from_numpy(expected)


def legrad() -> Pair:
    from torchcam.methods import LeGrad

    classifier = model("class_token")
    images, targets, _ = batch(classifier)
    other = twin(classifier)
    with LeGrad(other.vit, list(other.vit.encoder.layers)) as oracle:
        scores = other(images.requires_grad_())
        expected = oracle.compute_cams(targets.tolist(), scores, normalized=False)[0]
    return maps(classifier, "legrad"), expected


GRAD_CAMS = {
    "token_gradcam": "GradCAM", "token_hirescam": "HiResCAM", "token_layercam": "LayerCAM",
    "token_xgradcam": "XGradCAM", "token_eigencam": "EigenCAM",
}  # fmt: skip

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
    *[
        Oracle(ours, theirs, "package grad-cam; min–max, without its resize", 2e-5, partial(grad_cam, ours, theirs))
        for ours, theirs in GRAD_CAMS.items()
    ],
    *[
        Oracle(
            ours, theirs, f"package grad-cam; predicted classes; {what}; min–max", 2e-5, partial(contrasted_cam, theirs)
        )
        for ours, theirs, what in (
            ("token_finercam", "FinerCAM", "3 references, weights by probability"),
            ("token_shapleycam", "ShapleyCAM", "ReST"),
        )
    ],
    Oracle("legrad", "LeGrad", "package torchcam, on a torchvision twin with the same weights", 1e-5, legrad),
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
    Oracle("attnlrp", "Gamma", "package zennit; the γ-rule of one linear layer", 1e-6, partial(zennit_gamma, "linear")),
    Oracle(
        "attnlrp", "Gamma", "package zennit; the γ-rule of the patch embedding", 1e-6, partial(zennit_gamma, "conv")
    ),
    Oracle("cp_lrp", "Gamma", "package zennit; γ-rule in MLPs, head and patch embedding", 1e-5, zennit_vit),
    Oracle("lrp", "ZPlus", "package zennit; one linear layer", 1e-6, zennit_linear),
    Oracle("lrp", "ZBox", "package zennit; the patch embedding", 1e-6, zennit_pixels),
]

"""Oracles of class activation maps: the packages grad-cam and torchcam."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tests.explainers.bridge import twin
from tests.explainers.oracles.base import Oracle, Pair, maps
from tests.explainers.zoo import batch, model
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS


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


ORACLES = [
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
]

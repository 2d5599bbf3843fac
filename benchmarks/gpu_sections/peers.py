"""The same maps and curves by packages; a package that is not installed gets a row that says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from benchmarks.gpu_sections.setup import Case, Row, Setup
from torch import Tensor

from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.models.classifier import Classifier
from vitfaith.models.precision import forward_precision

CAMS = {
    "token_gradcam": "GradCAM",
    "token_hirescam": "HiResCAM",
    "token_layercam": "LayerCAM",
    "token_xgradcam": "XGradCAM",
    "token_eigencam": "EigenCAM",
}
"""Our name → grad-cam's."""


def cases(setup: Setup, classifier: Classifier) -> Iterator[Case]:
    """Package by package, in float32."""
    yield "saliency and input × gradient, ViT-Ti, float32, captum", partial(_captum, setup, classifier)
    yield "five token CAMs, ViT-Ti, float32, grad-cam", partial(_gradcam, setup, classifier)
    yield "deletion, insertion, pixel flipping, ViT-Ti, float32, torchcam + quantus", partial(_curves, setup)


def _against(setup: Setup, classifier: Classifier, names: list[str], theirs: Callable[[Tensor, Tensor], object]) -> Row:
    count = 2 if setup.small else 16
    images = setup.images(count, classifier.input_shape)
    targets = torch.arange(count, device=setup.device)
    ids = [str(i) for i in range(count)]
    methods = {name: EXPLAINERS.item(name) for name in names}

    def ours() -> None:
        explain(classifier, images, targets, ids, methods, seed=0, batch_size=count)

    with forward_precision("float32", setup.device):
        mine, other = setup.seconds(ours, lambda: theirs(images, targets))
    return _row(mine, other, count)


def _row(mine: float, other: float, count: int) -> Row:
    return {"result": "ok", "per s": count / mine, "ours, s": mine, "package, s": other, "package / ours": other / mine}


def _captum(setup: Setup, classifier: Classifier) -> Row:
    from captum.attr import InputXGradient, Saliency

    def theirs(images: Tensor, targets: Tensor) -> None:
        for method in (Saliency, InputXGradient):
            method(classifier).attribute(images.clone().requires_grad_(), target=targets)

    return _against(setup, classifier, ["saliency", "input_x_gradient"], theirs)


def _gradcam(setup: Setup, classifier: Classifier) -> Row:
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    rows, columns = classifier.grid
    layer = classifier.backbone.blocks[-1].norm1  # type: ignore[union-attr,index]

    def to_channels(tokens: Tensor) -> Tensor:
        return tokens[:, 1:].unflatten(1, (rows, columns)).permute(0, 3, 1, 2)

    def theirs(images: Tensor, targets: Tensor) -> None:
        wanted = [ClassifierOutputTarget(int(target)) for target in targets]
        for name in CAMS.values():
            with getattr(pytorch_grad_cam, name)(classifier, [layer], reshape_transform=to_channels) as cam:
                cam(images.clone().requires_grad_(), wanted)

    return _against(setup, classifier, list(CAMS), theirs)


def _curves(setup: Setup) -> Row:
    from benchmarks.score import Work

    methods = 2 if setup.small else 4
    work = Work("small" if setup.small else "vit-ti", setup.device, 2 if setup.small else 4, methods, 64)
    with forward_precision("float32", setup.device):
        mine, other = setup.seconds(lambda: work.score(work.curves), work.packages)
    return _row(mine, other, len(work.images) * methods)

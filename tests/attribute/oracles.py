"""What outside packages and stored reference outputs say about the one-pass explainers.

Each entry computes (ours, theirs) on the same tiny model. The tests hold the error under ``tolerance``; the conformance
table (``python -m benchmarks.conformance``) prints the error itself.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.attribute.bridge import twin
from tests.attribute.zoo import batch, model, tiny
from vitfaith.attribute.explain import explain
from vitfaith.attribute.registry import EXPLAINERS
from vitfaith.models.classifier import Classifier, freeze

GOLDEN = Path(__file__).parents[1] / "data" / "relevance.safetensors"

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Oracle:
    """One comparison: of what, with what, how (a remark for the table), to which relative error."""

    subject: str
    source: str
    remark: str
    tolerance: float
    pair: Callable[[], Pair]

    def error(self) -> float:
        """Largest absolute difference, relative to the largest magnitude of the oracle's output."""
        found, expected = self.pair()
        assert found.shape == expected.shape
        return float((found.to(expected) - expected).abs().max() / expected.abs().max())


def maps(classifier: Classifier, name: str, **parameters: Any) -> Tensor:
    """Maps (4, rows, columns) of one explainer on the model's batch."""
    images, targets, ids = batch(classifier)
    methods = {"it": (name, EXPLAINERS[name].parameters(**parameters))}
    return explain(classifier, images, targets, ids, methods, seed=0, batch_size=4)["it"]


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


def captum(name: str) -> Pair:
    from captum.attr import InputXGradient, Saliency

    classifier = model("class_token")
    images, targets, _ = batch(classifier)
    images.requires_grad_()
    if name == "saliency":
        pixels = Saliency(classifier).attribute(images, target=targets, abs=True).detach().amax(1)
        return maps(classifier, "saliency"), torch.nn.functional.avg_pool2d(pixels, 4)
    pixels = InputXGradient(classifier).attribute(images, target=targets).detach().sum(1)
    return maps(classifier, "input_x_gradient"), 16 * torch.nn.functional.avg_pool2d(pixels, 4)


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
    found = maps(model("class_token"), name)
    found = found - found.amin((1, 2), keepdim=True)
    return found / found.amax((1, 2), keepdim=True).clamp_min(1e-12), torch.from_numpy(expected)


def legrad() -> Pair:
    from torchcam.methods import LeGrad

    classifier = model("class_token")
    images, targets, _ = batch(classifier)
    other = twin(classifier)
    with LeGrad(other.vit, list(other.vit.encoder.layers)) as oracle:
        scores = other(images.requires_grad_())
        expected = oracle.compute_cams(targets.tolist(), scores, normalized=False)[0]
    return maps(classifier, "legrad"), expected


def golden_model() -> tuple[Classifier, Tensor, Tensor, dict[str, Tensor]]:
    """The reference network as a classifier, its images in [0, 1], its targets, and all stored arrays."""
    golden = load_file(GOLDEN)
    plain = tiny("vit_base_patch16_224", img_size=32, patch_size=8, embed_dim=48, depth=4, num_heads=4, num_classes=10)
    state = {key.removeprefix("weights."): v for key, v in golden.items() if key.startswith("weights.")}
    plain.backbone.load_state_dict(state)
    low, span = golden["images"].min(), golden["images"].max() - golden["images"].min()
    # Stored as they were fed; the wrapper's normalisation maps [0, 1] back to that.
    wrapped = freeze(Classifier(plain.backbone, [-float(low / span)] * 3, [1 / float(span)] * 3))
    return wrapped, ((golden["images"] - low) / span).clamp(0, 1), golden["target"], golden


def golden_raw_attention() -> Pair:
    classifier, images, targets, golden = golden_model()
    methods = {"raw": ("raw_attention", EXPLAINERS["raw_attention"].parameters())}
    found = explain(classifier, images, targets, list("abcd"), methods, seed=0, batch_size=2)["raw"]
    return found, golden["map.raw_attention"]


def golden_logits() -> Pair:
    classifier, images, _, golden = golden_model()
    with torch.no_grad():
        return classifier(images), golden["logits"]


GRAD_CAMS = {
    "token_gradcam": "GradCAM", "token_hirescam": "HiResCAM", "token_layercam": "LayerCAM",
    "token_xgradcam": "XGradCAM", "token_eigencam": "EigenCAM",
}  # fmt: skip

ORACLES = [
    *[
        Oracle("attention_rollout", "fast-vit-rollout", f"heads: {f}; no discard", 1e-6, partial(rollout, f))
        for f in ("mean", "max", "min")
    ],
    Oracle("saliency", "captum Saliency", "channel maximum, mean over patches", 1e-6, partial(captum, "saliency")),
    Oracle("input_x_gradient", "captum InputXGradient", "sum over patches", 1e-5, partial(captum, "input_x_gradient")),
    *[
        Oracle(ours, f"grad-cam {theirs}", "min–max; without their resize", 2e-5, partial(grad_cam, ours, theirs))
        for ours, theirs in GRAD_CAMS.items()
    ],
    Oracle("legrad", "torchcam LeGrad", "through a torchvision twin with the same weights", 1e-5, legrad),
    Oracle("raw_attention", "authors' code of Chefer et al. 2021", "stored float64 output", 1e-5, golden_raw_attention),
    Oracle("(logits)", "authors' code of Chefer et al. 2021", "stored float64 output", 1e-5, golden_logits),
]


def quiet(oracle: Oracle) -> float:
    """The error, without the package's warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return oracle.error()

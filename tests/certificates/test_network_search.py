"""A search for perturbations inside certified radii, on the shipped networks behind denoised smoothing: none breaks it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vitfaith.attacks.craft.differentiable import DifferentiableExplainer
from vitfaith.certificates.of_maps import certify_maps
from vitfaith.certificates.radii.base import base_map
from vitfaith.certificates.radii.cohen import certify
from vitfaith.certificates.radii.top_k import ranking
from vitfaith.certificates.settings import CertificateParameters
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.models.load import load_classifier
from vitfaith.registries import REGISTRIES
from vitfaith.smoothings.dds import DdsParameters, smooth_batch
from vitfaith.smoothings.dds import dds as run_dds
from vitfaith.study.load import load_study, read_yaml

ROOT = Path(__file__).resolve().parents[2]
SIGMA, K, BETA, ALPHA = 0.25, 5, 0.4, 0.01
SELECTION, ESTIMATION, FRESH = 30, 130, 60
METHODS = {"raw_attention": EXPLAINERS.item("raw_attention")}
IMAGES = 2


def test_no_perturbation_inside_a_certified_radius_breaks_the_overlap_or_the_class() -> None:
    study = load_study(read_yaml(ROOT / "config" / "tiny.yaml"))
    section, (reader, _) = study.models["vit_patch4"], study.datasets["tiny"]
    vit = load_classifier(section.model_dump(include={"timm", "arguments", "mean", "std"}), ROOT / str(section.weights))
    denoiser = Denoiser.load(ROOT / study.denoisers["fashion_mnist"].path)
    dds = DdsParameters(sigma=SIGMA, denoiser="fashion_mnist")
    draw = torch.Generator().manual_seed(5)
    parameters = reader.parameters.model_copy(update={"path": ROOT / reader.parameters.path})  # type: ignore[attr-defined]
    source = REGISTRIES["datasets"][reader.name].implementation(parameters)
    shown = np.array([np.flatnonzero(source.labels == label)[0] for label in (1, 8)])  # trousers, a bag
    images = 0.1 + 0.8 * torch.from_numpy(np.asarray(source.read(shown))).float() / 255  # room for steps within [0, 1]
    with torch.no_grad():
        targets = vit(images).argmax(1)

    def sampled(image: Tensor, target: Tensor, name: str, samples: range) -> tuple[np.ndarray, np.ndarray]:
        """Maps (S, n) and class votes (C,) of noisy, denoised copies."""
        copies = run_dds(denoiser, image[None], [name], dds, samples, seed=9, batch_size=256)[0]
        count = len(copies)
        maps = explain(vit, copies, target.expand(count), [name] * count, METHODS, seed=0, batch_size=256)
        with torch.no_grad():
            votes = torch.bincount(vit(copies).argmax(1), minlength=10)
        return maps["raw_attention"].flatten(1).numpy(), votes.numpy()

    def gradient(image: Tensor, target: Tensor, inside: np.ndarray, outside: np.ndarray) -> Tensor:
        """Direction that takes relevance from the certified set, averaged over noise."""
        moving = image[None].repeat(8, 1, 1, 1).requires_grad_()
        copies = smooth_batch(denoiser, moving, dds, lambda like: torch.randn(like.shape, generator=draw))
        found, _ = DifferentiableExplainer(vit, METHODS["raw_attention"])(copies, target.expand(8))
        flat = found.flatten(1)
        (slope,) = torch.autograd.grad((flat[:, outside.copy()].sum() - flat[:, inside.copy()].sum()), moving)
        return slope.sum(0)

    tried = 0
    single = CertificateParameters(k=K, beta=BETA, sigma=SIGMA, alpha=ALPHA, base="vote")
    for i, (image, target) in enumerate(zip(images, targets, strict=True)):
        chosen, first = sampled(image, target, f"{i} selection", range(SELECTION))
        counted, second = sampled(image, target, f"{i} estimation", range(ESTIMATION))
        row = certify_maps(
            chosen[None], counted[None], "grouped", single, image_ids=["a"], method="m", dimensions=784
        ).to_pylist()[0]
        order = ranking(base_map(chosen, "vote", K).mean(0))
        prediction = certify(first[None], second[None], SIGMA, ALPHA)
        radius = min(row["radius"], float(prediction.radius[0]))
        assert radius > 0.02, "nothing certified, so nothing would be tested"
        directions = [torch.randn(image.shape, generator=draw) for _ in range(3)]
        directions += [gradient(image, target, order[:K], order[K : 2 * K]) for _ in range(1)]
        for number, direction in enumerate(directions):
            moved = image + 0.999 * radius * direction / direction.norm()
            maps, votes = sampled(moved, target, f"{i} {number}", range(FRESH))
            there = ranking(base_map(maps, "vote", K).mean(0))[:K]
            assert len(set(there.tolist()) & set(order[:K].tolist())) >= BETA * K
            assert int(votes.argmax()) == prediction.prediction[0]
            tried += 1
    assert tried == IMAGES * 4

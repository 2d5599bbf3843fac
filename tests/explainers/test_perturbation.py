"""Explainers that ask the classifier about masked images: their draws and masks, parameters, and costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.conftest import tiny_vit
from tests.explainers.textbook import perturbation as textbook
from vitfaith.errors import ConfigError, InputError
from vitfaith.explainers.kernel_shap import KernelShapParameters, kernel_shap
from vitfaith.explainers.occlusion import OcclusionParameters, occlusion
from vitfaith.explainers.passes import masking
from vitfaith.explainers.passes.context import Context
from vitfaith.explainers.rise import RiseParameters, rise
from vitfaith.explainers.tis import TisParameters, k_means, tis
from vitfaith.explainers.vit_cx import VitCxParameters, vit_cx
from vitfaith.models.classifier import Classifier, build_backbone, freeze
from vitfaith.models.passes import PassCounter
from vitfaith.models.patches import Patches
from vitfaith.rng import generator


def make(classifier: Classifier, images: Tensor, targets: Tensor, ids: list[str], **settings: Any) -> Context:
    return Context(classifier, images, targets, ids, needs=frozenset({"hidden"}), **settings)


@pytest.fixture(scope="module")
def small() -> Classifier:
    """2×3 patches, so that all 64 coalitions can be tried."""
    return tiny_vit(2, img_size=(8, 12))


@pytest.fixture(scope="module")
def small_images() -> Tensor:
    return torch.rand(3, 3, 8, 12, generator=torch.Generator().manual_seed(5))


@contextmanager
def count_rows(classifier: Classifier) -> Iterator[list[int]]:
    """Sizes of the batches that leave the backbone."""
    sizes: list[int] = []
    handle = classifier.backbone.register_forward_hook(lambda _m, _i, output: sizes.append(len(output)))
    yield sizes
    handle.remove()


# ---------------------------------------------------------------- draws, masks, parameters


def test_occlusion_refuses_gaps(vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]) -> None:
    with pytest.raises(ConfigError, match="stride <= window"):
        occlusion(make(vit, images, targets, image_ids), OcclusionParameters(window=1, stride=2))


@pytest.mark.parametrize("normalisation", ["expected", "coverage"])
def test_rise_equals_the_textbook_loop(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], normalisation: Any
) -> None:
    how: dict[str, Any] = {"masks": 9, "cells": 3, "keep": 0.4, "normalisation": normalisation}
    ours = rise(make(vit, images, targets, image_ids, seed=7, batch_size=4), RiseParameters(fill="black", **how))
    for i in range(2):
        expected = textbook.rise(vit, images[i], int(targets[i]), (7, image_ids[i]), **how)
        assert torch.allclose(ours[i].double(), expected, rtol=1e-5)


def test_sampled_kernel_shap_approaches_the_shapley_value(small: Classifier, small_images: Tensor) -> None:
    """60 of the 62 coalitions' worth of draws leave some error; 16 times as many quarter it (n^-1/2)."""
    targets = torch.tensor([1, 0, 4])
    from vitfaith.explainers import kernel_shap as module

    exact = kernel_shap(make(small, small_images, targets, ["a", "b", "c"]), KernelShapParameters())
    errors = {}
    for samples in (60, 960):
        # Sampling is only reached with fewer samples than coalitions, so draw and solve by hand for the larger number.
        total = torch.zeros(3, 6)
        for i, name in enumerate("abc"):
            masks = module._sample_coalitions(0, name, 0, 6, samples)
            keep = Patches.even((2, 3), (8, 12)).to_pixels(torch.cat([torch.zeros(1, 6), masks.float()]).view(-1, 2, 3))
            fill = masking.fill_values(small, small_images[i : i + 1], "model_mean")[0]
            copies = torch.cat([masking.blend(small_images[i], keep, fill), small_images[i : i + 1]])
            scores = masking.forward(small, copies).softmax(-1)[:, targets[i]].double()
            total[i] = module._solve(
                masks.double(),
                scores[1:-1] - scores[0],
                torch.ones(samples, dtype=torch.float64),
                scores[-1] - scores[0],
            )
        errors[samples] = float((total.view(3, 2, 3) - exact).norm() / exact.norm())
    assert errors[960] < 0.5 * errors[60]
    assert errors[960] < 0.1


def test_kernel_shap_draws_sizes_from_the_kernel() -> None:
    from vitfaith.explainers.kernel_shap import _sample_coalitions

    masks = _sample_coalitions(0, "a", 0, 6, 40000)
    assert bool((masks[:20000] != masks[20000:]).all())
    weights = torch.tensor([1 / (k * (6 - k)) for k in range(1, 6)])
    expected = weights / weights.sum()
    frequency = torch.bincount(masks[:20000].sum(1), minlength=7)[1:6] / 20000
    assert torch.allclose(frequency, expected, atol=0.015)
    assert torch.allclose(masks.float().mean(0), torch.full((6,), 0.5), atol=1e-7)  # pairs balance exactly


@settings(max_examples=10, deadline=None)
@given(samples=st.integers(1, 40).map(lambda n: 2 * n), seed=st.integers(0, 1000))
def test_kernel_shap_is_efficient(samples: int, seed: int) -> None:
    """Σφ = f(x) - f(∅), even with fewer samples than patches."""
    classifier = tiny_vit()
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    targets = torch.tensor([0, 3])
    maps = kernel_shap(
        make(classifier, images, targets, ["a", "b"], seed=seed),
        KernelShapParameters(samples=samples, score="logit", fill="black"),
    )
    with torch.no_grad():
        gap = (classifier(images) - classifier(torch.zeros_like(images))).gather(1, targets[:, None])[:, 0]
    assert torch.allclose(maps.sum((1, 2)), gap, atol=1e-5)


@pytest.mark.parametrize("layers", ["all", "last"])
@pytest.mark.parametrize("registers", [0, 2])
def test_tis_equals_the_textbook_loop(
    images: Tensor, targets: Tensor, image_ids: list[str], layers: Any, registers: int
) -> None:
    classifier = tiny_vit(6, reg_tokens=registers)
    parameters = TisParameters(masks=7, keep=0.3, layers=layers)
    ours = tis(make(classifier, images, targets, image_ids, seed=4, batch_size=5), parameters)
    for i in range(2):
        points = textbook.channels_of(classifier, images[i], last=layers == "last")
        assert points.shape == ((72 if layers == "all" else 24), 16)
        centroids = k_means(points, 7, 100, generator(4, image_ids[i], "tis"))
        expected = textbook.tis(classifier, images[i], int(targets[i]), centroids, 4)  # int(0.3 · 16)
        assert torch.allclose(ours[i], expected, atol=1e-6)


def test_tis_draws_among_patches_of_equal_value(
    vit: Classifier, images: Tensor, targets: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Centroids that say nothing would always keep the first patches if ties went by position."""
    from vitfaith.explainers import tis as module

    seen = []
    real = module._sampler

    def sampler(subsets: Tensor, prefix: int, patches: int) -> Any:
        seen.append(subsets)
        return real(subsets, prefix, patches)

    monkeypatch.setattr(module, "k_means", lambda *_: torch.zeros(1, 16))
    monkeypatch.setattr(module, "_sampler", sampler)
    ids = [f"copy-{i}" for i in range(200)]
    context = make(vit, images[:1].repeat(200, 1, 1, 1), targets[:1].repeat(200), ids, seed=4)
    tis(context, TisParameters(masks=1))
    kept = torch.cat(seen)
    assert kept.shape == (200, 8)
    assert all(len(set(row)) == 8 for row in kept.tolist())
    counts = kept.flatten().bincount(minlength=16)
    assert ((counts - 100).abs() < 4 * 50**0.5).all()


def test_tis_with_all_tokens_is_the_clean_answer(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]
) -> None:
    maps = tis(make(vit, images, targets, image_ids), TisParameters(masks=3, keep=1, score="logit"))
    with torch.no_grad():
        clean = vit(images).gather(1, targets[:, None])
    assert torch.allclose(maps.flatten(1), clean.expand(-1, 16), atol=1e-5)


def test_tis_refuses_models_that_cannot_drop_tokens(targets: Tensor, image_ids: list[str]) -> None:
    arguments = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5}
    backbone = build_backbone("eva02_tiny_patch14_224", arguments)
    classifier = freeze(Classifier(backbone, [0.5] * 3, [0.25] * 3))
    with pytest.raises(InputError, match=r"positions inside its blocks \(Eva\.rope\); use rise"):
        tis(make(classifier, torch.rand(5, 3, 16, 16), targets, image_ids), TisParameters(masks=2))


# ---------------------------------------------------------------- costs


@pytest.mark.parametrize(
    ("method", "parameters", "passes"),
    [
        (occlusion, OcclusionParameters(), 17),
        (occlusion, OcclusionParameters(window=2, stride=2), 5),
        (rise, RiseParameters(masks=11), 11),
        (kernel_shap, KernelShapParameters(samples=20), 22),
        (tis, TisParameters(masks=9), 10),
        (tis, TisParameters(masks=1024), 73),  # as many masks as channels: 3 blocks of 24
    ],
    ids=["occlusion", "occlusion_2", "rise", "kernel_shap", "tis", "tis_all"],
)
def test_cost(
    vit: Classifier,
    images: Tensor,
    targets: Tensor,
    image_ids: list[str],
    method: Any,
    parameters: Any,
    passes: int,
) -> None:
    with count_rows(vit) as sizes:
        method(make(vit, images, targets, image_ids, batch_size=16), parameters)
    assert sum(sizes) == 5 * passes
    assert max(sizes) <= 16
    # Full batches: at most one incomplete batch for the clean images and one for the masked ones.
    assert len(sizes) <= 5 * passes // 16 + 2


def test_cost_of_vit_cx_is_two_passes_for_each_mask(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]
) -> None:
    context = make(vit, images, targets, image_ids)
    features = context.capture.features
    masks = [textbook.merged_masks(f.T.reshape(-1, 4, 4), (16, 16), 0.1) for f in features]
    with PassCounter(vit.backbone) as passes:
        vit_cx(make(vit, images, targets, image_ids), VitCxParameters())
    assert passes.forwards == 5 + 2 * sum(map(len, masks))
    assert passes.backwards == 0


def test_clean_pass_is_shared(vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]) -> None:
    context = make(vit, images, targets, image_ids)
    with count_rows(vit) as sizes:
        occlusion(context, OcclusionParameters())
        kernel_shap(context, KernelShapParameters(samples=20))
    assert sum(sizes) == 5 * (1 + 16 + 21)
    context = make(vit, images, targets, image_ids)
    with count_rows(vit) as sizes:
        tis(context, TisParameters(masks=4))  # runs the shared pass, whose answers the others read
        occlusion(context, OcclusionParameters())
        kernel_shap(context, KernelShapParameters(samples=20))
    assert sum(sizes) == 5 * (1 + 4 + 16 + 21)


def test_all_coalitions_cost_their_number(small: Classifier, small_images: Tensor) -> None:
    with count_rows(small) as sizes:
        kernel_shap(make(small, small_images, torch.zeros(3).long(), list("abc")), KernelShapParameters())
    assert sum(sizes) == 3 * 64


# ---------------------------------------------------------------- masking


def test_batches_are_full() -> None:
    cut = list(masking.batches([3, 0, 5], 4))
    assert cut == [[(0, 0, 3), (2, 0, 1)], [(2, 1, 5)]]


def test_fill_values(vit: Classifier, images: Tensor) -> None:
    assert float(masking.fill_values(vit, images, "black").abs().max()) == 0
    assert torch.equal(masking.fill_values(vit, images, "model_mean"), torch.full((5, 3, 1, 1), 0.5))
    scalar = masking.fill_values(vit, images, "image_mean")
    assert torch.allclose(scalar[1], images[1].mean().expand(3, 1, 1))
    assert torch.allclose(masking.fill_values(vit, images, "channel_mean")[1, 2], images[1, 2].mean())
    with pytest.raises(InputError, match="use black"):
        masking.fill_values(vit, images, "white")  # type: ignore[arg-type]


def test_blend_is_exact_for_binary_masks(images: Tensor) -> None:
    keep = (torch.rand(4, 16, 16, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    mixed = masking.blend(images[0], keep, torch.full((3, 1, 1), 0.3))
    assert torch.equal(mixed, torch.where(keep[:, None] == 1, images[0], torch.tensor(0.3)))


def test_uncovered_cells_get_the_mean_score() -> None:
    masks = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.5, 0.0]])
    values = masking.weighted_coverage(torch.tensor([0.2, 0.6]), masks)
    assert torch.allclose(values, torch.tensor([0.2, 0.4, 0.4]))

"""Confident images: an attack's direction depends neither on the scale of the logits nor on the rest of the batch."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vitfaith.attacks.craft.losses import ConfidentCrossEntropy, wrong_log_odds
from vitfaith.attacks.registry import ATTACKS as REGISTERED
from vitfaith.attacks.run import AttackResult, attack_images
from vitfaith.attacks.smoothed import smoothed_log_probability
from vitfaith.models.classifier import Classifier

from ..conftest import tiny_vit

COUNT = 8
ATTACKS: list[tuple[str, dict[str, Any]]] = [
    ("fgsm", {"eps": 2 / 255}),
    ("pgd", {"eps": 2 / 255, "steps": 3}),
    ("pgd_l2", {"eps": 0.3, "steps": 4}),
    ("mi_fgsm", {"eps": 2 / 255, "steps": 3}),
    ("apgd", {"eps": 2 / 255, "steps": 4}),
    ("apgd", {"eps": 0.3, "norm": "l2", "steps": 4}),
    *(
        ("torchattacks", {"name": name, "arguments": {"eps": 2 / 255, "steps": 3}})
        for name in ("TPGD", "NIFGSM", "SINIFGSM", "VMIFGSM", "VNIFGSM", "UPGD", "PGDRS")
    ),
]


def scaled(factor: float) -> Classifier:
    """The tiny ViT with logits times ``factor``: ×50 leads by about 5, ×250 by 25, ×1000 by 100."""
    model = copy.deepcopy(tiny_vit())
    model.backbone.head.weight.data.mul_(factor)  # type: ignore[union-attr]
    model.backbone.head.bias.data.mul_(factor)  # type: ignore[union-attr]
    return model


@pytest.fixture(scope="module")
def many() -> Tensor:
    drawn = torch.rand(COUNT, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return (drawn * 255).round() / 255


def run(model: Classifier, images: Tensor, name: str, settings: dict[str, Any], batch_size: int) -> AttackResult:
    with torch.no_grad():
        targets = model(images).argmax(1)
    ids = [f"image-{i}" for i in range(len(images))]
    return attack_images(model, images, targets, ids, REGISTERED.item(name, **settings), seed=3, batch_size=batch_size)


@pytest.mark.parametrize(("name", "settings"), ATTACKS, ids=lambda v: v if isinstance(v, str) else v.get("name", ""))
def test_scale_of_the_logits_and_batch_change_nothing(many: Tensor, name: str, settings: dict[str, Any]) -> None:
    """Bitwise over batches on this model, up to signs of vanishing gradients; alike in success over scales."""
    success = []
    for factor in (50, 250, 1000):
        model = scaled(factor)
        whole = run(model, many, name, settings, COUNT)
        for batch_size in (1, 7) if factor == 250 else (7,):  # one by one is slow
            parts = run(model, many, name, settings, batch_size)
            assert float((whole.images != parts.images).mean()) <= 0.002
            assert np.array_equal(whole.success, parts.success)
        success.append(float(whole.success.mean()))
    assert min(success) >= max(success) - 0.25
    assert min(success) >= 0.2


def test_log_odds_by_hand() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0], [0.5, 0.0, -1.0]])
    labels = torch.tensor([2, 1])
    for row, label, found in zip(values.double(), labels, wrong_log_odds(values, labels), strict=True):
        p = row.softmax(0)[label]
        assert float(found) == pytest.approx(float(torch.log((1 - p) / p)), abs=1e-12)
    assert torch.allclose(wrong_log_odds(values, labels), wrong_log_odds(values.log_softmax(1), labels), atol=1e-6)


def test_log_odds_point_where_the_cross_entropy_points(vit: Classifier, many: Tensor) -> None:
    labels = vit(many).argmax(1)
    for loss in (functional.cross_entropy, wrong_log_odds):
        image = many.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(vit(image), labels).sum(), image)
        unit = gradient.flatten(1) / gradient.flatten(1).norm(dim=1, keepdim=True)
        if loss is functional.cross_entropy:
            first = unit
    assert torch.allclose(first, unit, atol=1e-5)


def test_gradient_of_a_confident_image_against_float64() -> None:
    """A lead of 60: p_y rounds to 1 in float64 too; the exact direction is softmax over the others, −1 at the label."""
    logits = torch.tensor([[60.0, 0.0, -1.0, -200.0]], requires_grad=True)
    labels = torch.tensor([0])
    (plain,) = torch.autograd.grad(functional.cross_entropy(logits, labels), logits)
    assert float(plain[0, 0]) == 0  # the label's own part is lost
    exact = torch.tensor([[-1.0, *torch.tensor([0.0, -1.0, -200.0], dtype=torch.float64).softmax(0).tolist()]])
    with ConfidentCrossEntropy():
        (found,) = torch.autograd.grad(torch.nn.CrossEntropyLoss()(logits, labels), logits)
    assert torch.allclose(found, exact, atol=1e-7)
    with ConfidentCrossEntropy(keep_size=True):
        (sized,) = torch.autograd.grad(functional.cross_entropy(logits, labels), logits)
    assert torch.allclose(sized / sized.abs().max(), exact, atol=1e-6)
    probability = float(torch.tensor([0.0, -1.0, -200.0], dtype=torch.float64).logsumexp(0).sub(60).exp())
    assert float(sized.abs().max()) == pytest.approx(probability * 2.0**64, rel=1e-6)


def test_losses_are_sums_or_rows() -> None:
    logits, labels = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 4, 2, 2])
    rows = wrong_log_odds(logits, labels)
    with ConfidentCrossEntropy():
        assert torch.equal(functional.cross_entropy(logits, labels), rows.sum())
        assert torch.equal(torch.nn.CrossEntropyLoss(reduction="none")(logits, labels), rows)
        assert torch.allclose(functional.nll_loss(logits.double().log_softmax(1), labels), rows.sum())
    assert torch.allclose(functional.softplus(rows).float(), functional.cross_entropy(logits, labels, reduction="none"))


def test_smoothed_log_odds_of_confident_draws() -> None:
    """−log of a mean probability of 1 has no gradient in float32; its log-odds agree with float64 by hand."""
    logits = torch.tensor([[40.0, 0.0, 1.0], [30.0, 2.0, 0.0]], requires_grad=True)  # two draws of one image
    labels = torch.tensor([0])
    (gradient,) = torch.autograd.grad(wrong_log_odds(smoothed_log_probability(logits, 2), labels).sum(), logits)
    wide = logits.detach().double().requires_grad_()
    wrong = (wide[:, 1:].logsumexp(1) - wide.logsumexp(1)).exp().mean()
    (exact,) = torch.autograd.grad(wrong.log() - torch.log1p(-wrong), wide)
    assert torch.allclose(gradient.double(), exact, atol=1e-6)
    (plain,) = torch.autograd.grad(-smoothed_log_probability(logits, 2)[0, 0], logits)
    assert float(plain[:, 0].abs().max()) < 1e-6


@pytest.mark.parametrize("factor", [50, 1000])
def test_pgd_l2_against_the_textbook(many: Tensor, factor: float) -> None:
    """Float64, one image at a time: x ← projection of x + α ∇L/‖∇L‖ on the ball, then on [0, 1]."""
    eps, alpha, steps = 0.5, 0.2, 3
    model = scaled(factor)
    settings = {"eps": eps, "alpha": alpha, "steps": steps, "random_start": False}
    ours = run(model, many[:4], "pgd_l2", settings, 4)
    wide = copy.deepcopy(model).double()
    for i in range(4):
        clean = many[i].double()
        label = int(wide(clean[None]).argmax())
        current = clean
        for _ in range(steps):
            image = current.detach().requires_grad_()
            logits = wide(image[None])[0]
            others = torch.cat([logits[:label], logits[label + 1 :]])
            (gradient,) = torch.autograd.grad(others.logsumexp(0) - logits[label], image)
            shift = current + alpha * gradient / gradient.norm() - clean
            current = (clean + shift * min(1.0, eps / float(shift.norm()))).clamp(0, 1)
        assert float((current - clean).norm()) > 0.8 * eps
        away = torch.from_numpy(ours.images[i]).double() - current * 255
        assert float(away.abs().max()) <= 1.01  # the rounding towards the clean pixel

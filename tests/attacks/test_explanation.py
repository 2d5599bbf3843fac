from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from vitfaith.attacks.craft.differentiable import DifferentiableExplainer
from vitfaith.attacks.craft.explanation_attacks import TopKAttack, View, target_pattern
from vitfaith.attacks.registry import ATTACKS
from vitfaith.attacks.run import AttackResult, attack_images
from vitfaith.errors import ConfigError, InputError
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.models.classifier import Classifier
from vitfaith.rng import generator

from ..conftest import tiny_vit

ATTENTION = ["raw_attention", "attention_rollout", "transformer_mm"]
NAMES = ["top_k_attack", "mass_centre_attack", "manipulation"]
EPS = 8 / 255


def run(vit: Classifier, pixels: Tensor, targets: Tensor, name: str, **settings: Any) -> AttackResult:
    ids = [f"image-{i}" for i in range(len(pixels))]
    return attack_images(vit, pixels, targets, ids, ATTACKS.item(name, **{"steps": 12, **settings}), seed=3)


def maps_of(vit: Classifier, pixels: Tensor | np.ndarray, targets: Tensor, explainer: str) -> Tensor:
    if isinstance(pixels, np.ndarray):
        pixels = torch.from_numpy(pixels).float() / 255
    methods = {"m": EXPLAINERS.item(explainer)}
    ids = [str(i) for i in range(len(pixels))]
    return explain(vit, pixels, targets, ids, methods, seed=0, batch_size=8)["m"]


def mean_overlap(a: Tensor, b: Tensor, k: int = 3) -> float:
    tops = zip(a.flatten(1).topk(k).indices.tolist(), b.flatten(1).topk(k).indices.tolist(), strict=True)
    return float(np.mean([len(set(p) & set(q)) / k for p, q in tops]))


def centres(maps: Tensor) -> Tensor:
    """Centre of mass of each map, by hand."""
    found = []
    for grid in maps.abs().double():
        row = sum(i * float(grid[i].sum()) for i in range(len(grid))) / float(grid.sum())
        column = sum(j * float(grid[:, j].sum()) for j in range(grid.shape[1])) / float(grid.sum())
        found.append([row, column])
    return torch.tensor(found)


def attackable() -> list[str]:
    names = []
    for entry in EXPLAINERS:
        try:
            ATTACKS["top_k_attack"].parameters.model_validate({"explainer": entry.name})
        except ValidationError:
            continue
        names.append(entry.name)
    return names


VARIANTS: dict[str, dict[str, Any]] = {
    "class_token": {},
    "registers": {"reg_tokens": 2},
    "pooled": {"class_token": False, "global_pool": "avg"},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_differentiable_maps_are_the_registered_ones(variant: str, pixels: Tensor) -> None:
    vit = tiny_vit(**VARIANTS[variant])
    targets = vit(pixels).argmax(1)
    assert set(ATTENTION) <= set(attackable())
    for name in attackable():
        image = pixels.clone().requires_grad_()
        maps, logits = DifferentiableExplainer(vit, EXPLAINERS.item(name))(image, targets)
        expected = maps_of(vit, pixels, targets, name)
        # rounding that depends on the processor; token_xgradcam divides by a sum of both signs, which enlarges it
        tolerance = 1e-4 if name == "token_xgradcam" else 1e-5
        assert float((maps.detach() - expected).abs().max() / expected.abs().max()) <= tolerance, name
        assert torch.allclose(logits, vit(pixels), atol=1e-5)
        (gradient,) = torch.autograd.grad(maps.square().sum(), image)
        assert bool(gradient.isfinite().all()), name
        assert bool(gradient.any()), name
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in vit.modules())


@pytest.mark.parametrize("name", [*ATTENTION, "input_x_gradient", "attention_gradcam"])
def test_gradient_of_a_map_against_finite_differences(
    vit: Classifier, pixels: Tensor, predicted: Tensor, name: str
) -> None:
    explainer = DifferentiableExplainer(vit, EXPLAINERS.item(name))
    source = torch.Generator().manual_seed(4)
    weights, direction = torch.randn(5, 4, 4, generator=source), torch.randn(pixels.shape, generator=source)

    def value(shift: float) -> Tensor:
        maps, _ = explainer((pixels + shift * direction).requires_grad_(), predicted)
        return (maps.double() * weights).sum((1, 2)).detach()

    image = pixels.clone().requires_grad_()
    maps, _ = explainer(image, predicted)
    (gradient,) = torch.autograd.grad((maps * weights).sum(), image)
    step = 5e-4
    numeric = (value(step) - value(-step)) / (2 * step)
    analytic = (gradient * direction).sum((1, 2, 3)).double()
    assert torch.allclose(analytic, numeric, rtol=0.03, atol=0.03 * float(numeric.abs().mean()))


@pytest.mark.parametrize("explainer", ATTENTION)
def test_top_k_attack_lowers_the_overlap_and_keeps_the_prediction(
    vit: Classifier, pixels: Tensor, predicted: Tensor, explainer: str
) -> None:
    result = run(vit, pixels, predicted, "top_k_attack", explainer=explainer, k=3)
    clean = maps_of(vit, pixels, predicted, explainer)
    noise = torch.randint(-8, 9, pixels.shape, generator=torch.Generator().manual_seed(0)) / 255
    by_noise = mean_overlap(clean, maps_of(vit, (pixels + noise).clamp(0, 1), predicted, explainer))
    by_attack = mean_overlap(clean, maps_of(vit, result.images, predicted, explainer))
    assert by_attack <= 0.4
    assert by_attack <= by_noise - 0.3
    assert not result.success.any()
    assert result.linf.max() <= EPS + 1e-7


@pytest.mark.parametrize("explainer", ATTENTION)
def test_mass_centre_attack_moves_the_centre_and_keeps_the_prediction(
    vit: Classifier, pixels: Tensor, predicted: Tensor, explainer: str
) -> None:
    result = run(vit, pixels, predicted, "mass_centre_attack", explainer=explainer)
    clean = centres(maps_of(vit, pixels, predicted, explainer))
    noise = torch.randint(-8, 9, pixels.shape, generator=torch.Generator().manual_seed(0)) / 255
    by_noise = (centres(maps_of(vit, (pixels + noise).clamp(0, 1), predicted, explainer)) - clean).norm(dim=1)
    by_attack = (centres(maps_of(vit, result.images, predicted, explainer)) - clean).norm(dim=1)
    assert bool((by_attack > by_noise).all())
    assert float(by_attack.mean()) > 2 * float(by_noise.mean())
    assert not result.success.any()


@pytest.mark.parametrize("explainer", ATTENTION)
@pytest.mark.parametrize("pattern", ["mirror", "invert", "centre", "corner"])
def test_manipulation_comes_closer_to_the_target_and_keeps_the_prediction(
    vit: Classifier, pixels: Tensor, predicted: Tensor, explainer: str, pattern: str
) -> None:
    result = run(vit, pixels, predicted, "manipulation", explainer=explainer, pattern=pattern, steps=8)

    def unit(maps: Tensor) -> Tensor:
        return maps / maps.abs().sum((1, 2), keepdim=True)

    clean, after = (
        unit(maps_of(vit, pixels, predicted, explainer)),
        unit(maps_of(vit, result.images, predicted, explainer)),
    )
    target = unit(target_pattern(clean, pattern))
    before, now = ((m - target).square().sum((1, 2)) for m in (clean, after))
    assert bool((now < before).all())
    assert float((now / before).mean()) < (0.85 if pattern in ("mirror", "invert") else 0.97)
    assert not result.success.any()


def test_target_patterns_by_hand() -> None:
    maps = torch.tensor([[[1.0, 2.0], [3.0, 6.0]]])
    assert target_pattern(maps, "mirror").tolist() == [[[2.0, 1.0], [6.0, 3.0]]]
    assert target_pattern(maps, "invert").tolist() == [[[6.0, 5.0], [4.0, 1.0]]]
    assert target_pattern(torch.zeros(1, 3, 3), "centre").argmax() == 4
    assert target_pattern(torch.zeros(1, 3, 3), "corner").argmax() == 0


def textbook_attention(vit: Classifier, image: Tensor) -> tuple[Tensor, Tensor]:
    """Class-token attention of the last block, heads averaged, and the logits, by the ViT's own formulas."""
    model: Any = vit.backbone
    x = (image[None] - vit.mean) / vit.std
    tokens = model.patch_embed.proj(x).flatten(2).transpose(1, 2)
    tokens = torch.cat([model.cls_token, tokens], 1) + model.pos_embed
    row = tokens
    for block in model.blocks:
        normed = block.norm1(tokens)
        q, k, v = block.attn.qkv(normed).reshape(1, 17, 3, 3, 8).permute(2, 0, 3, 1, 4)
        attention = (q @ k.transpose(-2, -1) / 8**0.5).softmax(-1)
        row = attention.mean(1)[0, 0, 1:]
        tokens = tokens + block.attn.proj((attention @ v).transpose(1, 2).reshape(1, 17, 24))
        tokens = tokens + block.mlp(block.norm2(tokens))
    return row, model.head(model.norm(tokens)[:, 0])[0]


def test_top_k_attack_against_the_textbook(vit: Classifier, pixels: Tensor, predicted: Tensor) -> None:
    """Ghorbani et al. 2019, algorithm 1: sign steps on −Σ of the leading patches; the best iterate of the class."""
    eps, k, steps = EPS, 3, 6
    ours = run(vit, pixels, predicted, "top_k_attack", explainer="raw_attention", k=k, steps=steps, margin=0)
    for i in range(2):
        clean, target = pixels[i], int(predicted[i])
        levels = (clean * 255).round()
        row, _ = textbook_attention(vit, clean)
        leading = row.argsort(descending=True)[:k]
        best, best_value = levels, -float(row[leading].sum() / row.sum())
        shift = torch.empty(clean.shape).uniform_(-eps, eps, generator=generator(3, f"image-{i}", "attack", 0))
        shift = (clean + shift).clamp(0, 1) - clean
        for step in range(steps + 1):
            stored = levels + (shift * 255 + shift.sign() * 1e-4).trunc()
            image = (stored / 255).requires_grad_()
            row, logits = textbook_attention(vit, image)
            value = -(row[leading].sum() / row.sum())
            if int(logits.argmax()) == target and float(value.detach()) > best_value:
                best, best_value = stored, float(value.detach())
            if step < steps:
                (gradient,) = torch.autograd.grad(value, image)
                shift = (shift + eps / 5 * gradient.sign()).clamp(-eps, eps)
                shift = (clean + shift).clamp(0, 1) - clean
        away = torch.from_numpy(ours.images[i]).float() - best
        assert float((away != 0).float().mean()) <= 0.02  # gradients around zero take either sign


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("explainer", ["attention_rollout", "transformer_mm"])
def test_a_batch_is_a_stack_of_singles(
    vit: Classifier, pixels: Tensor, predicted: Tensor, name: str, explainer: str
) -> None:
    whole = run(vit, pixels[:3], predicted[:3], name, explainer=explainer, steps=4)
    for i in range(3):
        alone = attack_images(
            vit,
            pixels[i : i + 1],
            predicted[i : i + 1],
            [f"image-{i}"],
            ATTACKS.item(name, explainer=explainer, steps=4),
            seed=3,
        )
        # a gradient around zero may take another sign in a matrix product of another shape
        assert (alone.images[0] != whole.images[i]).mean() <= 0.03


def test_the_prediction_is_defended_where_it_is_weak(vit: Classifier, pixels: Tensor, predicted: Tensor) -> None:
    """Towards the decision boundary: with the margin, at least as many images find an attack that keeps the class."""
    found = {}
    for margin in (0.0, 0.1):
        result = run(vit, pixels, predicted, "top_k_attack", explainer="raw_attention", eps=32 / 255, margin=margin)
        assert not result.success.any()
        clean = maps_of(vit, pixels, predicted, "raw_attention")
        found[margin] = mean_overlap(clean, maps_of(vit, result.images, predicted, "raw_attention"))
    assert found[0.1] <= found[0.0]


def test_an_image_that_cannot_be_attacked_stays_clean(vit: Classifier, pixels: Tensor, predicted: Tensor) -> None:
    """The shift of one step, half a grey level, stores as the clean image."""
    result = run(vit, pixels, predicted, "top_k_attack", alpha=0.5 / 255, steps=1, random_start=False)
    assert not result.linf.any()


def test_cost(vit: Classifier, pixels: Tensor, predicted: Tensor) -> None:
    """The clean map, one pass per iterate (start included), one prediction of what is stored."""
    rows: list[int] = []
    handle = vit.register_forward_hook(lambda _m, inputs, _o: rows.append(len(inputs[0])))
    try:
        run(vit, pixels, predicted, "top_k_attack", steps=4)
    finally:
        handle.remove()
    assert rows == [5] * 7


def test_model_is_left_as_found_and_inference_mode_works(vit: Classifier, pixels: Tensor, predicted: Tensor) -> None:
    model = copy.deepcopy(vit)
    fused = [block.attn.fused_attn for block in model.backbone.blocks]  # type: ignore[union-attr]
    expected = run(model, pixels[:2], predicted[:2], "top_k_attack", explainer="transformer_mm", steps=3)
    with torch.inference_mode():
        inside = run(
            model, pixels[:2].clone(), predicted[:2].clone(), "top_k_attack", explainer="transformer_mm", steps=3
        )
    assert np.array_equal(expected.images, inside.images)
    assert fused == [block.attn.fused_attn for block in model.backbone.blocks]  # type: ignore[union-attr]
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), vit.state_dict().values(), strict=True))
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"explainer": "atention_rollout"}, "did you mean 'attention_rollout'"),
        ({"explainer": "rise"}, "attack a deterministic one of the family one_pass"),
        ({"explainer": "random"}, "attack a deterministic one of the family one_pass"),
        ({"explainer": "legrad"}, "attack a deterministic one of the family one_pass"),
        (
            {"denoiser": "u_net", "sigma": 0.25, "steps": 7},
            r"'denoiser', 'sigma': .* write {steps: 7, eot: 4, through: dds} beside the name of the attack, and dds: {denoiser: u_net, sigma: 0.25} in",
        ),
        (
            {"sigma": 0.25, "eot": 2},
            r"'sigma': .* write {eot: 2, through: dds} beside the name of the attack, and dds: {sigma: 0.25} in the section",
        ),
        ({"mode": "official"}, "'mode': an attack names the smoothing it sees through"),
        ({"size": "network"}, "'size': an attack names the smoothing it sees through"),
        ({"eps": 8}, "did you mean 8/255"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, ValidationError), match=message):
        ATTACKS["top_k_attack"].parameters.model_validate(settings)


def test_arguments_reach_the_explainer(vit: Classifier, pixels: Tensor, predicted: Tensor) -> None:
    first, last = (
        run(
            vit, pixels, predicted, "top_k_attack", explainer="raw_attention", arguments={"layer": layer}, steps=2
        ).images
        for layer in (0, -1)
    )
    assert (first != last).any()


def test_cross_entropy_attack_is_another_attack(vit: Classifier, pixels: Tensor, predicted: Tensor) -> None:
    """PGD on the prediction changes the class; the attack on the map does not, and changes the map more."""
    pgd = run(vit, pixels, predicted, "pgd")
    top_k = run(vit, pixels, predicted, "top_k_attack", explainer="attention_rollout")
    loss = [
        float(functional.cross_entropy(vit(torch.from_numpy(r.images).float() / 255), predicted)) for r in (pgd, top_k)
    ]
    clean = maps_of(vit, pixels, predicted, "attention_rollout")
    overlap = [mean_overlap(clean, maps_of(vit, r.images, predicted, "attention_rollout")) for r in (pgd, top_k)]
    assert loss[0] > loss[1]
    assert overlap[0] > overlap[1]


@pytest.mark.parametrize("k", [16, 99, 0.97])
def test_a_top_k_attack_on_all_patches_is_refused(vit: Classifier, pixels: Tensor, predicted: Tensor, k: float) -> None:
    with pytest.raises(InputError, match=r"k=.* of 16 patches.*give a share"):
        run(vit, pixels, predicted, "top_k_attack", k=k, steps=1)


def test_the_top_k_attack_takes_relevance_from_tied_patches_in_equal_parts(vit: Classifier) -> None:
    """The dissimilarity is the mean over all orders of the clean map's ties; without ties it is the sum over the k patches."""
    parameters: Any = ATTACKS["top_k_attack"].parameters.model_validate({"k": 3})
    attack = TopKAttack(vit, parameters.explainer, parameters, margin=parameters.margin, k=parameters.k)
    clean = torch.tensor([[0.4, 0.2, 0.2, 0.2, 0.0], [0.3, 0.1, 0.25, 0.15, 0.2]])
    later = torch.rand(2, 5, generator=torch.Generator().manual_seed(0))
    attack.prepare(View(clean, torch.zeros(2, 5)))
    found = attack.dissimilarity(View(later, torch.zeros(2, 5)))
    pairs = [(1, 2), (1, 3), (2, 3)]
    tied = np.mean([float(later[0, 0] + later[0, i] + later[0, j]) for i, j in pairs])
    assert found.tolist() == pytest.approx([-tied, -float(later[1, [0, 2, 4]].sum())])

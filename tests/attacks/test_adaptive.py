from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vitfaith.attacks.adaptive import AdaptivePgdParameters
from vitfaith.attacks.craft.keyed import KeyedRandom
from vitfaith.attacks.craft.smoothed_pgd import SmoothedPGD
from vitfaith.attacks.registry import ATTACKS
from vitfaith.attacks.run import AttackResult, attack_images
from vitfaith.attacks.smoothed import Defence, smoothed_log_probability
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.denoisers.schedule import Schedule
from vitfaith.errors import ConfigError
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.models.classifier import Classifier
from vitfaith.rng import generator
from vitfaith.smoothings.aggregate import aggregate_maps
from vitfaith.smoothings.dds import DdsParameters, dds
from vitfaith.smoothings.registry import SMOOTHINGS

from ..denoisers.conftest import tiny_unet

SIGMA = 0.1


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    """A random network whose output matters: twenty times the usual scale of its last layer."""
    network = tiny_unet(2)
    network.conv_out.weight.data *= 20
    return Denoiser(network, Schedule.from_config({}))


def settings(**more: Any) -> dict[str, Any]:
    return {"through": "dds", "eot": 4, **more}


def behind(denoiser: Denoiser, **more: Any) -> Defence:
    """The defence of the study: ``dds`` with a random network."""
    return Defence(SMOOTHINGS.item("dds", **{"denoiser": "tiny", "sigma": SIGMA, **more}), denoiser)


def run(
    vit: Classifier, pixels: Tensor, targets: Tensor, name: str, defence: Defence | None, **more: Any
) -> AttackResult:
    ids = [f"image-{i}" for i in range(len(pixels))]
    return attack_images(vit, pixels, targets, ids, ATTACKS.item(name, **more), seed=3, defence=defence)


def fresh_samples(denoiser: Denoiser, images: Tensor | np.ndarray, samples: int) -> Tensor:
    """Samples of the defence, whose noise the attack has not seen: (B, samples, C, H, W)."""
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(images).float() / 255
    parameters = DdsParameters.model_validate({"denoiser": "tiny", "sigma": SIGMA})
    ids = [str(i) for i in range(len(images))]
    return dds(denoiser, images, ids, parameters, range(samples), seed=99, batch_size=64)


def smoothed_probability(vit: Classifier, denoiser: Denoiser, images: Tensor | np.ndarray) -> Tensor:
    samples = fresh_samples(denoiser, images, 32)
    with torch.no_grad():
        return vit(samples.flatten(0, 1)).softmax(1).unflatten(0, samples.shape[:2]).mean(1)


def test_smoothed_log_probability_by_hand() -> None:
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    found = smoothed_log_probability(logits, 3)
    for image in range(2):
        rows = [logits[draw * 2 + image].double().softmax(0) for draw in range(3)]
        assert torch.allclose(found[image].double(), (sum(rows) / 3).log(), atol=1e-6)


def test_copies_are_the_defence_on_keyed_noise(denoiser: Denoiser, pixels: Tensor) -> None:
    """Draw by draw what Carlini et al.'s one-shot denoiser gives, image i from its own generator."""
    parameters = AdaptivePgdParameters.model_validate(settings(eot=2))
    ids = [f"image-{i}" for i in range(5)]
    with KeyedRandom(3, ids), torch.no_grad():
        copies = behind(denoiser).copies(pixels, parameters)
    t = denoiser.schedule.timestep(SIGMA)
    for draw in range(2):
        for i in range(5):
            noise = torch.randn(pixels[i].shape, generator=generator(3, ids[i], "attack", draw))
            noisy = denoiser.schedule.signal(t) * (2 * pixels[i] - 1) + denoiser.schedule.noise(t) * noise
            with torch.no_grad():
                predicted = denoiser.network(noisy[None], torch.tensor([t])).sample[0]
            clean = (noisy - denoiser.schedule.noise(t) * predicted) / denoiser.schedule.signal(t)
            assert torch.allclose(copies[draw * 5 + i], ((clean.clamp(-1, 1) + 1) / 2), atol=1e-5)


def loss_of(vit: Classifier, denoiser: Denoiser, images: Tensor, targets: Tensor, gradient: str) -> Tensor:
    parameters = AdaptivePgdParameters.model_validate(settings(eot=2, gradient=gradient))
    with KeyedRandom(3, [f"image-{i}" for i in range(len(images))]):
        copies = behind(denoiser).copies(images, parameters)
    return -smoothed_log_probability(vit(copies), 2).gather(1, targets[:, None]).sum()


def test_full_gradient_against_finite_differences(
    vit: Classifier, denoiser: Denoiser, pixels: Tensor, predicted: Tensor
) -> None:
    image = (0.4 + 0.2 * pixels).requires_grad_()  # away from the clamps' kinks
    (gradient,) = torch.autograd.grad(loss_of(vit, denoiser, image, predicted, "full"), image)
    for seed in range(3):
        direction = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
        step = 3e-4
        with torch.no_grad():
            numeric = float(
                loss_of(vit, denoiser, image + step * direction, predicted, "full")
                - loss_of(vit, denoiser, image - step * direction, predicted, "full")
            ) / (2 * step)
        scale = float(gradient.norm() * direction.norm()) / image.numel() ** 0.5
        assert float((gradient * direction).sum()) == pytest.approx(numeric, abs=0.03 * scale)


def test_bpda_takes_the_gradient_at_the_denoised_image(
    vit: Classifier, denoiser: Denoiser, pixels: Tensor, predicted: Tensor
) -> None:
    image = pixels.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss_of(vit, denoiser, image, predicted, "bpda"), image)
    parameters = AdaptivePgdParameters.model_validate(settings(eot=2))
    with KeyedRandom(3, [f"image-{i}" for i in range(5)]), torch.no_grad():
        copies = behind(denoiser).copies(pixels, parameters)
    copies.requires_grad_()
    loss = -smoothed_log_probability(vit(copies), 2).gather(1, predicted[:, None]).sum()
    (at_copies,) = torch.autograd.grad(loss, copies)
    assert torch.allclose(gradient, at_copies[:5] + at_copies[5:], atol=1e-7, rtol=1e-4)
    (full,) = torch.autograd.grad(loss_of(vit, denoiser, image, predicted, "full"), image)
    assert not torch.allclose(gradient, full, rtol=0.1)


def test_adaptive_pgd_against_the_textbook(
    vit: Classifier, denoiser: Denoiser, pixels: Tensor, predicted: Tensor
) -> None:
    """One image at a time: at each step the mean softmax over two keyed draws, its −log's sign gradient, projection."""
    eps, alpha, steps = 8 / 255, 3 / 255, 3
    ours = run(
        vit,
        pixels[:2],
        predicted[:2],
        "adaptive_pgd",
        behind(denoiser),
        **settings(eot=2, eps=eps, alpha=alpha, steps=3),
    )
    t = denoiser.schedule.timestep(SIGMA)
    for i in range(2):
        draw_number = 0

        def draw(kind: str, image_id: str = f"image-{i}", shape: torch.Size = pixels[i].shape) -> Tensor:
            nonlocal draw_number
            source = generator(3, image_id, "attack", draw_number)
            draw_number += 1
            empty = torch.empty(shape)
            return empty.uniform_(-eps, eps, generator=source) if kind == "start" else empty.normal_(generator=source)

        current = (pixels[i] + draw("start")).clamp(0, 1)
        for _ in range(steps):
            current = current.detach().requires_grad_()
            mean = torch.zeros(())
            for _ in range(2):
                noisy = denoiser.schedule.signal(t) * (2 * current - 1) + denoiser.schedule.noise(t) * draw("noise")
                clean = noisy - denoiser.schedule.noise(t) * denoiser.network(noisy[None], torch.tensor([t])).sample[0]
                image = ((clean / denoiser.schedule.signal(t)).clamp(-1, 1) + 1) / 2
                mean = mean + vit(image[None]).softmax(1)[0, int(predicted[i])] / 2
            (gradient,) = torch.autograd.grad(-mean.log(), current)
            moved = current.detach() + alpha * gradient.sign()
            current = torch.max(torch.min(moved, pixels[i] + eps), pixels[i] - eps).clamp(0, 1)
        away = torch.from_numpy(ours.images[i]) - current * 255
        assert float((away.abs() > 1.01).float().mean()) <= 0.01


def test_adaptive_attack_beats_the_blind_one_on_the_defence(
    vit: Classifier, denoiser: Denoiser, pixels: Tensor
) -> None:
    clean = smoothed_probability(vit, denoiser, pixels)
    targets = clean.argmax(1)

    def left(result: AttackResult) -> float:
        return float(smoothed_probability(vit, denoiser, result.images).gather(1, targets[:, None]).mean())

    eps = 4 / 255
    before = float(clean.gather(1, targets[:, None]).mean())
    blind = left(run(vit, pixels, targets, "pgd", None, eps=eps))
    full = left(run(vit, pixels, targets, "adaptive_pgd", behind(denoiser), **settings(eps=eps, eot=8)))
    assert full < blind < before


def test_a_batch_is_a_stack_of_singles(vit: Classifier, denoiser: Denoiser, pixels: Tensor, predicted: Tensor) -> None:
    for name, more in (("adaptive_pgd", {}), ("adaptive_pgd", {"gradient": "bpda"}), ("top_k_attack", {})):
        parameters = settings(eot=2, steps=2, **more)
        whole = run(vit, pixels[:3], predicted[:3], name, behind(denoiser), **parameters)
        order = [2, 0]
        again = attack_images(
            vit,
            pixels[order],
            predicted[order],
            [f"image-{i}" for i in order],
            ATTACKS.item(name, **parameters),
            seed=3,
            batch_size=1,
            defence=behind(denoiser),
        )
        assert (again.images != whole.images[order]).mean() <= 0.03


@pytest.mark.parametrize("gradient", ["full", "bpda"])
def test_explanation_attack_through_the_smoothing(
    vit: Classifier, denoiser: Denoiser, pixels: Tensor, predicted: Tensor, gradient: str
) -> None:
    """Judged on noise the attack has not seen: the smoothed map loses leading patches, both predictions stay."""

    def smoothed_map(images: Tensor | np.ndarray) -> Tensor:
        samples = fresh_samples(denoiser, images, 8)
        methods = {"m": EXPLAINERS.item("raw_attention")}
        ids = ["x"] * 5
        maps = [explain(vit, samples[:, s], predicted, ids, methods, seed=0, batch_size=8)["m"] for s in range(8)]
        return aggregate_maps(torch.stack(maps), "mean")[0]

    more = settings(explainer="raw_attention", k=3, steps=12, gradient=gradient)
    result = run(vit, pixels, predicted, "top_k_attack", behind(denoiser), **more)
    assert not result.success.any()
    before, after = smoothed_map(pixels).flatten(1), smoothed_map(result.images).flatten(1)
    leading = before.topk(3).indices
    share = [m.gather(1, leading).sum(1) / m.sum(1) for m in (before, after)]
    attacked = torch.from_numpy(result.linf) > 0
    assert float(attacked.float().mean()) >= 0.8
    assert bool((share[1] < share[0])[attacked].all())
    kept = smoothed_probability(vit, denoiser, pixels).argmax(1)
    now = smoothed_probability(vit, denoiser, result.images).argmax(1)
    assert float((kept == now).float().mean()) >= 0.8  # four draws a step against thirty-two


def test_official_mode_can_be_attacked_by_bpda(
    vit: Classifier, denoiser: Denoiser, pixels: Tensor, predicted: Tensor
) -> None:
    defence = behind(denoiser, mode="official", sigma=4 / 255)
    result = run(vit, pixels, predicted, "adaptive_pgd", defence, **settings(gradient="bpda", steps=2, eot=2))
    assert result.linf.max() > 0


def test_cost_of_adaptive_pgd(vit: Classifier, denoiser: Denoiser, pixels: Tensor, predicted: Tensor) -> None:
    """One network call per draw and step, in one batch a step."""
    rows: list[int] = []
    handle = denoiser.network.register_forward_hook(lambda _m, inputs, _o: rows.append(len(inputs[0])))
    try:
        run(vit, pixels, predicted, "adaptive_pgd", behind(denoiser), **settings(steps=3, eot=4))
    finally:
        handle.remove()
    assert rows == [20] * 3


def test_defence_is_asked_for(vit: Classifier, denoiser: Denoiser, pixels: Tensor, predicted: Tensor) -> None:
    with pytest.raises(ConfigError, match="needs 'through'"):
        ATTACKS["adaptive_pgd"].parameters.model_validate({})
    with pytest.raises(ConfigError, match="sees through smoothing 'dds'; give attack_images its defence"):
        run(vit, pixels, predicted, "adaptive_pgd", None, **settings())
    with pytest.raises(ConfigError, match="'pgd' sees no smoothing"):
        run(vit, pixels, predicted, "pgd", behind(denoiser))
    with pytest.raises(ConfigError, match="largest possible sigma"):
        run(vit, pixels, predicted, "adaptive_pgd", behind(denoiser, sigma=200), **settings())
    with pytest.raises(ConfigError, match=r"smoothing 'none' has no gradient in the image.*known: dds"):
        Defence(SMOOTHINGS.item("none"), None)
    with pytest.raises(ConfigError, match=r"unknown smoothing 'ddss' \(did you mean 'dds'"):
        Defence(SMOOTHINGS.item("ddss"), None)


def test_draws_are_the_smoothings_own_without_eot(
    vit: Classifier, denoiser: Denoiser, pixels: Tensor, predicted: Tensor
) -> None:
    defence = behind(denoiser, samples=3)
    rows: list[int] = []
    handle = denoiser.network.register_forward_hook(lambda _m, inputs, _o: rows.append(len(inputs[0])))
    try:
        run(vit, pixels, predicted, "adaptive_pgd", defence, through="dds", steps=1)
        run(vit, pixels, predicted, "adaptive_pgd", defence, through="dds", steps=1, eot=2)
    finally:
        handle.remove()
    assert rows == [15, 10]


def test_as_a_torchattacks_attack(vit: Classifier, denoiser: Denoiser, pixels: Tensor, predicted: Tensor) -> None:
    import torchattacks

    attack = SmoothedPGD(vit, behind(denoiser), AdaptivePgdParameters.model_validate(settings(steps=1, eot=1)))
    assert isinstance(attack, torchattacks.attack.Attack)
    attacked = attack(pixels, predicted)
    assert float((attacked - pixels).abs().max()) <= 8 / 255 + 1e-6

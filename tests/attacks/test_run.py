"""Every attack: one image at a time, within its bound, by its textbook, and what it refuses."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torchattacks
from torch import Tensor
from torch.nn import functional

from tests.attacks.running import run
from vitfaith.attacks.catalogue import signatures
from vitfaith.attacks.registry import ATTACKS, attack
from vitfaith.attacks.run import attack_images
from vitfaith.errors import ConfigError, InputError
from vitfaith.models.classifier import Classifier
from vitfaith.registry import Parameters
from vitfaith.rng import derive_seed, generator

SMALL: dict[str, dict[str, Any]] = {
    "clean": {},
    "fgsm": {},
    "pgd": {"steps": 3},
    "pgd_l2": {"steps": 3},
    "mi_fgsm": {"steps": 3},
    "apgd": {"steps": 5},
    "autoattack": {"steps": 4, "queries": 10, "eps": 2 / 255},
    "cw": {"steps": 10},
}
CHEAP = {
    "steps": 3,
    "n_queries": 20,
    "max_iterations": 10,
    "nb_sample": 8,
    "max_batch_size": 4,
    "num_iter_set": 3,
    "restarts": 2,
    "binary_search_steps": 2,
    "popsize": 3,
}
TEN_CLASSES = "JSMA"  # aims at (label + 1) % 10 whatever the model


def cases() -> list[tuple[str, dict[str, Any]]]:
    generic = [
        ("torchattacks", {"name": name, "arguments": {k: v for k, v in CHEAP.items() if k in arguments}})
        for name, arguments in signatures().items()
        if name not in (TEN_CLASSES, "AutoAttack")
    ]
    return [*SMALL.items(), ("apgd", {"norm": "l2", "eps": 0.5, "steps": 5}), *generic]


@pytest.mark.parametrize(("name", "parameters"), cases(), ids=lambda v: v if isinstance(v, str) else v.get("name", ""))
def test_every_attack_is_a_stack_of_singles_within_its_bound(
    vit: Classifier, pixels: Tensor, predicted: Tensor, name: str, parameters: dict[str, Any]
) -> None:
    pixels, predicted = pixels[:3], predicted[:3]
    whole = run(vit, pixels, predicted, name, parameters)
    order = [2, 0, 1]
    ids = [f"image-{i}" for i in order]
    shuffled = attack_images(
        vit, pixels[order], predicted[order], ids, ATTACKS.item(name, **parameters), seed=7, batch_size=2
    )
    # bitwise on the tiny model; matrix products of other shapes may differ in the last bit on other machines, and a
    # gradient that changes sign there moves a pixel
    assert (whole.images[order] != shuffled.images).mean() <= 0.01
    assert np.array_equal(whole.success[order], shuffled.success)

    bound = ATTACKS[name].traits["bound"](ATTACKS[name].parameters.model_validate(parameters))
    if bound is not None:
        assert (whole.linf if bound.norm == "linf" else whole.l2).max() <= bound.eps + 1e-6
    stored = torch.from_numpy(whole.images).float() / 255
    assert np.array_equal(vit(stored).argmax(1).numpy(), whole.prediction)
    assert np.array_equal(whole.prediction != predicted.numpy(), whole.success)


def test_another_seed_gives_other_images(vit: Classifier, pixels: Tensor, predicted: Tensor) -> None:
    first, second = (run(vit, pixels, predicted, "pgd", {"steps": 2}, seed=s).images for s in (1, 2))
    assert (first != second).mean() > 0.05


@pytest.mark.parametrize("random_start", [False, True])
def test_pgd_is_torchattacks_pgd(vit: Classifier, pixels: Tensor, predicted: Tensor, random_start: bool) -> None:
    """With the seed that keys the first draw of an image, torchattacks draws the same random start."""
    ours = run(vit, pixels, predicted, "pgd", {"eps": 6 / 255, "alpha": 2 / 255, "random_start": random_start})
    for i in range(len(pixels)):
        torch.manual_seed(derive_seed(7, f"image-{i}", "attack", 0))
        reference = torchattacks.PGD(vit, 6 / 255, 2 / 255, 10, random_start)(pixels[i : i + 1], predicted[i : i + 1])
        difference = (reference[0] - pixels[i]).double() * 255
        stored = torch.where((difference - difference.round()).abs() < 1e-3, difference.round(), difference.trunc())
        assert np.array_equal(ours.images[i], ((pixels[i] * 255).round() + stored).numpy().astype(np.uint8))


def textbook_pgd(
    classifier: Classifier, image: Tensor, label: int, start: Tensor, eps: float, alpha: float, steps: int
) -> Tensor:
    """Madry et al. 2018: x ← clip(x + α sign ∇ −log p_label), pixel by pixel, in float64."""
    model = copy.deepcopy(classifier).double()
    clean = image.double()
    current = (clean + start.double()).clamp(0, 1)
    for _ in range(steps):
        current = current.detach().requires_grad_()
        loss = -functional.log_softmax(model(current[None])[0], 0)[label]
        (gradient,) = torch.autograd.grad(loss, current)
        moved = torch.empty_like(clean)
        for index in np.ndindex(*clean.shape):
            value = float(current.detach()[index]) + alpha * float(torch.sign(gradient[index]))
            value = min(max(value, float(clean[index]) - eps), float(clean[index]) + eps)
            moved[index] = min(max(value, 0.0), 1.0)
        current = moved
    return current


def test_pgd_against_the_textbook(vit: Classifier, pixels: Tensor, predicted: Tensor) -> None:
    eps, steps = 8 / 255, 4
    ours = run(vit, pixels, predicted, "pgd", {"eps": eps, "steps": steps})
    for i in range(3):
        source = generator(7, f"image-{i}", "attack", 0)
        start = torch.empty(pixels[i].shape).uniform_(-eps, eps, generator=source)
        reference = textbook_pgd(vit, pixels[i], int(predicted[i]), start, eps, eps / 5, steps)
        away = (torch.from_numpy(ours.images[i]) - reference * 255).abs()
        assert float((away > 1.001).double().mean()) <= 0.005  # a gradient of either sign in float32 and float64
        assert float(away.max()) <= 2 * steps * eps / 5 * 255


def test_fgsm_against_the_textbook(vit: Classifier, pixels: Tensor, predicted: Tensor) -> None:
    ours = run(vit, pixels, predicted, "fgsm", {"eps": 4 / 255})
    for i in range(len(pixels)):
        reference = textbook_pgd(vit, pixels[i], int(predicted[i]), torch.zeros(pixels[i].shape), 4 / 255, 4 / 255, 1)
        away = torch.from_numpy(ours.images[i]) - (reference * 255).round()
        assert float((away != 0).double().mean()) <= 0.002


def test_pgd_l2_takes_normalised_steps(vit: Classifier, pixels: Tensor, predicted: Tensor) -> None:
    ours = run(vit, pixels, predicted, "pgd_l2", {"eps": 1.0, "alpha": 1.0, "steps": 1, "random_start": False})
    for i in range(len(pixels)):
        image = pixels[i : i + 1].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(functional.cross_entropy(vit(image), predicted[i : i + 1]), image)
        reference = (image.detach() + gradient / gradient.norm()).clamp(0, 1)
        away = (torch.from_numpy(ours.images[i]) - reference[0] * 255).abs()
        assert float(away.max()) <= 1.001  # at most the rounding


@pytest.mark.parametrize("eps", [1 / 255, 3 / 255])
def test_apgd_finds_what_pyautoattack_finds(vit: Classifier, pixels: Tensor, predicted: Tensor, eps: float) -> None:
    from pyautoattack import AutoAttack

    reference = AutoAttack(vit, norm="Linf", eps=eps, version="custom", attacks=["apgd-ce"], device="cpu", seed=0)
    result = reference.run_standard_evaluation(pixels, predicted, batch_size=5)
    attacked = result[0] if isinstance(result, tuple) else result
    theirs = (vit(attacked).argmax(1) != predicted).numpy()
    ours = run(vit, pixels, predicted, "apgd", {"eps": eps, "steps": 100})
    assert (ours.success == theirs).mean() >= 0.8
    assert abs(ours.success.mean() - theirs.mean()) <= 0.2
    assert theirs.any() or eps < 2 / 255


def test_autoattack_is_at_least_each_part(vit: Classifier, pixels: Tensor, predicted: Tensor) -> None:
    settings: dict[str, Any] = {"eps": 1 / 255, "steps": 6, "queries": 20}
    pixels, predicted = pixels[:3], predicted[:3]
    whole = run(vit, pixels, predicted, "autoattack", settings).success
    for part in ("apgd_ce", "apgd_t", "square"):
        alone = run(vit, pixels, predicted, "autoattack", {**settings, "attacks": [part]}).success
        assert (whole >= alone).mean() >= 0.6  # draws are keyed by their number, which earlier parts shift


def test_clean_changes_nothing(vit: Classifier, pixels: Tensor, predicted: Tensor) -> None:
    result = run(vit, pixels, predicted, "clean", {})
    assert np.array_equal(result.images, (pixels * 255).round().numpy().astype(np.uint8))
    assert result.images.dtype == np.uint8
    assert result.linf.dtype == result.l2.dtype == np.float32
    assert not result.success.any()
    assert not result.linf.any()


@pytest.mark.parametrize("name", ["pgd", "cw", "autoattack"])
def test_model_and_generators_are_left_as_found(vit: Classifier, pixels: Tensor, predicted: Tensor, name: str) -> None:
    model = copy.deepcopy(vit).train()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    generators = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    result = run(model, pixels[:2], predicted[:2], name, SMALL[name])
    assert all(m.training for m in model.modules())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert hooks == sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    assert torch.equal(generators[0], torch.get_rng_state())
    assert np.array_equal(generators[1], np.random.get_state()[1])  # type: ignore[index,arg-type]
    assert np.array_equal(result.images, run(vit, pixels[:2], predicted[:2], name, SMALL[name]).images)


@pytest.mark.parametrize("name", ["pgd", "cw", "autoattack"])
def test_works_inside_inference_mode(vit: Classifier, pixels: Tensor, predicted: Tensor, name: str) -> None:
    expected = run(vit, pixels[:2], predicted[:2], name, SMALL[name])
    with torch.inference_mode():
        inside = run(vit, pixels[:2].clone(), predicted[:2].clone(), name, SMALL[name])
    with torch.no_grad():
        without = run(vit, pixels[:2], predicted[:2], name, SMALL[name])
    assert np.array_equal(expected.images, inside.images)
    assert np.array_equal(expected.images, without.images)


def test_bfloat16_model(vit: Classifier, pixels: Tensor) -> None:
    model = copy.deepcopy(vit).bfloat16()
    predicted = model.backbone(((pixels - model.mean.float()) / model.std.float()).bfloat16()).argmax(1)
    result = run(model, pixels, predicted, "pgd", {})
    assert result.success.mean() >= 0.6
    assert result.linf.max() <= 8 / 255 + 1e-7


def test_cost_of_pgd(vit: Classifier, pixels: Tensor, predicted: Tensor) -> None:
    """One pass a step, and one for the prediction of what is stored."""
    seen: list[int] = []
    handle = vit.register_forward_hook(lambda _m, inputs, _o: seen.append(len(inputs[0])))
    try:
        result = run(vit, pixels, predicted, "pgd", {"steps": 6})
    finally:
        handle.remove()
    assert result.success.all()
    assert seen == [5] * 7


def test_empty_batch(vit: Classifier) -> None:
    result = attack_images(vit, torch.zeros(0, 3, 16, 16), torch.zeros(0).long(), [], ATTACKS.item("clean"), seed=0)
    assert result.images.shape == (0, 3, 16, 16)
    assert len(result.success) == 0


def test_bad_inputs_are_named(vit: Classifier, pixels: Tensor, predicted: Tensor) -> None:
    nan = pixels.clone()
    nan[0, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match="NaN"):
        run(vit, nan, predicted, "pgd", {})
    with pytest.raises(InputError, match="normalisation belongs to the model"):
        run(vit, pixels * 2 - 1, predicted, "pgd", {})
    with pytest.raises(InputError, match="do not fit the model"):
        run(vit, pixels[..., :8], predicted, "pgd", {})
    with pytest.raises(InputError, match="targets of shape"):
        run(vit, pixels, predicted[:2], "pgd", {})
    with pytest.raises(InputError, match="lie in 0…4"):
        run(vit, pixels, predicted + 5, "pgd", {})
    with pytest.raises(InputError, match="class numbers"):
        run(vit, pixels, predicted.float(), "pgd", {})
    with pytest.raises(ConfigError, match=r"unknown attack 'pdg'.*did you mean 'pgd'"):
        run(vit, pixels, predicted, "pdg", {})
    with pytest.raises(ConfigError, match="reaches every image"):
        run(vit, pixels, predicted, "pgd_l2", {"eps": 128})


def test_an_attack_that_fails_inside_is_named(vit: Classifier, pixels: Tensor, predicted: Tensor) -> None:
    with pytest.raises(ConfigError, match=r"torchattacks\.JSMA fails with these arguments"):
        run(vit, pixels, predicted, "torchattacks", {"name": "JSMA"})


def test_a_plugin_that_breaks_its_promises_is_caught(vit: Classifier, pixels: Tensor, predicted: Tensor) -> None:
    from vitfaith.attacks.registry import Bound

    @attack("test_too_far", citation="", bound=lambda _p: Bound("linf", 0.01))
    def too_far(classifier: Classifier, images: Tensor, targets: Tensor, parameters: Parameters) -> Tensor:
        return (images + 0.02).clamp(0, 1)

    @attack("test_mixing", citation="")
    def mixing(classifier: Classifier, images: Tensor, targets: Tensor, parameters: Parameters) -> Tensor:
        return (images + 0.1 * torch.rand(1, *images.shape[1:])).clamp(0, 1)

    try:
        with pytest.raises(InputError, match="beyond its bound"):
            run(vit, pixels, predicted, "test_too_far", {})
        with pytest.raises(InputError, match="would mix them"):
            run(vit, pixels, predicted, "test_mixing", {})
    finally:
        for name in ("test_too_far", "test_mixing"):
            del ATTACKS._entries[name]

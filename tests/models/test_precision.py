"""Jobs and public functions compute in full float32 unless a stage is told otherwise; the caller's settings come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.conftest import tiny_vit
from vitfaith.api.inputs import ready
from vitfaith.attacks.registry import ATTACKS
from vitfaith.attacks.run import attack_images
from vitfaith.cli.options import OUT
from vitfaith.cli.stage import OnDevice, OverShard, Stage
from vitfaith.errors import InputError
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.models.classifier import Classifier
from vitfaith.models.precision import forward_precision, passes_in
from vitfaith.registry import Item


@pytest.fixture
def reduced() -> Iterator[None]:
    """TF32 allowed everywhere, as torch allows it for convolutions on its own."""
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = True
    yield
    assert allowed() == (True, True)
    products.allow_tf32, convolutions.allow_tf32 = before


def allowed() -> tuple[bool, bool]:
    """Whether matrix products and convolutions may be TF32."""
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("kind", [OnDevice, OverShard])
def test_a_job_computes_in_float32(
    kind: type[Stage], reduced: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitfaith.cli.stage.run_in_parts", lambda run, inputs, outputs, **_: run(inputs, outputs))
    seen = []
    stage = kind("verb", "", "", {"out": OUT})
    machine = {"gpus": 0, "device": "auto", "part_size": 0, "batch_size": 1}
    given = {"spec": "{}", "code": "", "out": tmp_path / "out.parquet", **machine}
    stage.run(given, lambda **_: seen.append(allowed()))
    assert seen == [(False, False)]


def test_a_public_function_computes_in_float32(reduced: None) -> None:
    with ready(tiny_vit()):
        assert allowed() == (False, False)


def test_scoring_may_choose_tf32(reduced: None) -> None:
    with forward_precision("float32", "cpu"), forward_precision("tf32", "cpu"):
        assert allowed() == (True, True)


CHEAP: dict[str, dict[str, Any]] = {
    "rise": {"masks": 8},
    "kernel_shap": {"samples": 20},
    "smoothgrad": {"samples": 2},
    "vit_cx": {},
    "integrated_gradients": {"steps": 2},
}
MODELS: dict[str, dict[str, Any]] = {
    "class token": {},
    "mean of patches": {"global_pool": "avg", "class_token": False},
    "no positions": {"pos_embed": "none"},  # its residual stream starts in bfloat16
}


def explainers(family: str, **chosen: Any) -> dict[str, Item]:
    """Those of a family that need no files and no training."""
    known = [e for e in EXPLAINERS if e.traits["family"] == family and not e.traits.get("model_files")]
    return {e.name: EXPLAINERS.item(e.name, **CHEAP.get(e.name, {}), **chosen) for e in known}


def maps(
    model: Classifier, images: Tensor, targets: Tensor, methods: dict[str, Item], **options: Any
) -> dict[str, Tensor]:
    """Maps of ``methods`` in batches of two, under names that do not depend on how many images there are."""
    ids = [f"{float(image.sum()):.4f}" for image in images]
    return explain(model, images, targets, ids, methods, seed=0, **{"batch_size": 2, **options})


class Products(TorchDispatchMode):
    """The types in which matrix products run."""

    def __init__(self) -> None:
        super().__init__()
        self.types: set[torch.dtype] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.linear):
            self.types.add(args[-1].dtype)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("family", ["one_pass", "path", "perturbation"])
def test_maps_in_bfloat16_are_near_those_in_float32(model: str, family: str, images: Tensor, targets: Tensor) -> None:
    vit = tiny_vit(**MODELS[model])
    methods = explainers(family)
    exact, half = (maps(vit, images, targets, methods, precision=p) for p in ("float32", "bfloat16"))
    for name, found in half.items():
        assert found.dtype == torch.float32
        assert torch.isfinite(found).all()
        if name != "token_xgradcam":  # its denominators come near 0
            assert (found - exact[name]).norm() <= 0.3 * exact[name].norm(), name
    same = {name for name in methods if torch.equal(half[name], exact[name]) and bool(exact[name].any())}
    assert same <= {"random"}
    assert vit.precision == "float32"


def test_rules_of_relevance_keep_their_precision(images: Tensor, targets: Tensor) -> None:
    methods = explainers("relevance")
    exact, half = (maps(tiny_vit(), images, targets, methods, precision=p) for p in ("float32", "bfloat16"))
    assert {"lrp", "attnlrp", "cp_lrp", "transformer_attribution"} <= set(methods)
    for name in methods:
        assert torch.equal(exact[name], half[name]), name


def test_maps_in_bfloat16_do_not_depend_on_the_batch(vit: Classifier, images: Tensor, targets: Tensor) -> None:
    rows = {"raw_attention", "attention_gradcam", "agcam", "tam"}  # single rows of a product, also in float32
    methods = {name: item for name, item in (explainers("one_pass") | explainers("path")).items() if name not in rows}
    every, one = (maps(vit, images[:n], targets[:n], methods, precision="bfloat16", batch_size=n) for n in (5, 1))
    for name in methods:
        assert torch.equal(every[name][:1], one[name]), name


def test_backward_passes_run_in_bfloat16_too(vit: Classifier, images: Tensor) -> None:
    with passes_in(vit, "bfloat16"):
        leaves = images.clone().requires_grad_()
        score = vit(leaves).float()[:, 0].sum()
    with Products() as products:
        (gradient,) = torch.autograd.grad(score, leaves)
    assert products.types == {torch.bfloat16}
    assert gradient.dtype == torch.float32


def test_only_the_forward_of_the_classifier_is_under_autocast(vit: Classifier, images: Tensor) -> None:
    with torch.no_grad(), passes_in(vit, "bfloat16"):
        logits = vit(images)
        assert (images[0, 0] @ images[0, 0]).dtype == torch.float32
        assert not torch.is_autocast_enabled("cpu")
    with torch.no_grad(), forward_precision("bfloat16", "cpu"):
        assert torch.equal(vit(images), logits)
        with passes_in(vit, "float32"):
            assert vit(images).dtype == torch.bfloat16  # as the caller has it
    with torch.no_grad():
        assert not torch.equal(vit(images), logits.float())


def test_a_precision_comes_back_after_an_error(vit: Classifier) -> None:
    with passes_in(vit, "tf32"):
        assert (vit.precision, allowed()) == ("tf32", (True, True))
        with pytest.raises(InputError, match="precision is 'half'; give one of float32, tf32, bfloat16"):
            passes_in(vit, "half").__enter__()  # type: ignore[arg-type]
    with pytest.raises(AssertionError), passes_in(vit, "bfloat16"):
        vit(torch.zeros(1))
    assert vit.precision == "float32"


@pytest.mark.parametrize(("name", "settings"), [("pgd", {"steps": 3}), ("top_k_attack", {"steps": 2})])
def test_attacks_in_bfloat16_are_judged_in_float32(
    vit: Classifier, images: Tensor, name: str, settings: dict[str, Any]
) -> None:
    stored = (images * 255).round() / 255
    ids = [str(i) for i in range(len(images))]
    with torch.no_grad():
        targets = vit(stored).argmax(1)
    attack = ATTACKS.item(name, eps=8 / 255, **settings)
    exact, half = (
        attack_images(vit, stored, targets, ids, attack, seed=0, precision=p) for p in ("float32", "bfloat16")
    )
    assert (exact.images != half.images).any()
    assert half.linf.max() <= 8 / 255 + 1e-6
    with torch.no_grad():
        predicted = vit(torch.from_numpy(half.images).float() / 255).argmax(1)
    assert torch.equal(torch.from_numpy(half.prediction), predicted)
    one = attack_images(vit, stored[:1], targets[:1], ids[:1], attack, seed=0, precision="bfloat16")
    assert (one.images == half.images[:1]).all()

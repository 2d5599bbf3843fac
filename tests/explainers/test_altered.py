"""Models that somebody changed by hand: the maps are those of what the model now computes, or the explainer refuses."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import vitfaith as vf
from vitfaith.models.classifier import Classifier, build_backbone, freeze

SIZES: dict[str, Any] = {
    "img_size": (16, 24), "patch_size": 4, "num_classes": 5, "embed_dim": 24, "depth": 3, "num_heads": 3, "mlp_ratio": 2.0,
}  # fmt: skip
IMAGES = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


def network(name: str = "vit_tiny_patch16_224", **arguments: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made: nn.Module = timm.create_model(name, **{**SIZES, **arguments})
        for parameter in made.parameters():
            parameter.data.add_(0.2 * torch.randn_like(parameter))
    return made.eval()


def maps(model: nn.Module, explainer: str, **settings: Any) -> Tensor:
    found: Tensor = vf.explain(model, IMAGES, [(explainer, settings)], target=[1, 2])[explainer]
    return found


def doubled(module: nn.Module) -> None:
    """The module's output is twice what its class computes."""
    forward = module.forward
    module.forward = lambda *args, **kwargs: 2 * forward(*args, **kwargs)  # type: ignore[method-assign]


def hooked(module: nn.Module) -> None:
    module.register_forward_hook(lambda _m, _i, output: 2 * output)


def twice_as_large(layer: nn.Linear) -> None:
    layer.weight.data *= 2
    layer.bias.data *= 2


READERS = ["transformer_mm", "attention_rollout", "token_gradcam", "legrad", "input_x_gradient", "integrated_gradients"]


@pytest.mark.parametrize("change", [doubled, hooked])
@pytest.mark.parametrize("explainer", READERS)
def test_a_changed_output_is_seen(explainer: str, change: Callable[[nn.Module], None]) -> None:
    changed, twin = network(), network()
    for one, other in zip(changed.blocks, twin.blocks, strict=True):  # type: ignore[arg-type]
        change(one.attn)
        change(one.mlp)
        twice_as_large(other.attn.proj)
        twice_as_large(other.mlp.fc2)
    torch.testing.assert_close(maps(changed, explainer), maps(twin, explainer), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "explainer", ["cp_lrp", "attnlrp", "libragrad_fullgrad_plus", "lrp", "transformer_attribution"]
)
def test_rules_refuse_a_replaced_forward(explainer: str) -> None:
    changed = network()
    doubled(changed.blocks[1].attn)  # type: ignore[union-attr, index]
    with pytest.raises(vf.InputError, match=r"'blocks\.1\.attn', whose forward was replaced"):
        maps(changed, explainer)


def test_rules_of_weights_refuse_hooks_that_gradients_go_through() -> None:
    changed, twin = network(), network()
    hooked(changed.blocks[1].attn)  # type: ignore[union-attr, index]
    twice_as_large(twin.blocks[1].attn.proj)  # type: ignore[union-attr, index]
    torch.testing.assert_close(maps(changed, "cp_lrp"), maps(twin, "cp_lrp"), rtol=1e-3, atol=1e-5)
    with pytest.raises(vf.InputError, match=r"'blocks\.1\.attn' has hooks.*remove them; use cp_lrp"):
        maps(changed, "lrp")


@pytest.mark.parametrize("explainer", ["tokentm", "beyond_intuition_token"])
@pytest.mark.parametrize("change", [doubled, hooked])
def test_methods_that_read_the_projection_refuse(explainer: str, change: Callable[[nn.Module], None]) -> None:
    changed = network()
    change(changed.blocks[2].attn)  # type: ignore[union-attr, index]
    with pytest.raises(vf.InputError, match=r"hooks or a replaced forward on its attention.*use transformer_mm"):
        maps(changed, explainer)


@pytest.mark.parametrize("explainer", ["tokentm", "beyond_intuition_token", "legrad"])
def test_hooks_that_only_watch_change_nothing(explainer: str) -> None:
    watched, seen = network(), []
    for block in watched.blocks:  # type: ignore[union-attr]
        block.attn.register_forward_hook(lambda _m, _i, output: seen.append(output.shape))
    torch.testing.assert_close(maps(watched, explainer), maps(network(), explainer))
    assert seen


@pytest.mark.parametrize("explainer", ["lrp", "transformer_attribution", "cp_lrp"])
def test_a_module_at_two_places_is_refused_and_left_as_it_was(explainer: str) -> None:
    shared = network()
    for block in shared.blocks:  # type: ignore[union-attr]
        block.norm2 = shared.blocks[0].norm1  # type: ignore[union-attr, index]
    with pytest.raises(
        vf.InputError, match=r"needs each module at one place, and 'blocks\.0\.norm2' is 'blocks\.0\.norm1'"
    ):
        maps(shared, explainer)
    assert {p.dtype for p in shared.parameters()} == {torch.float32}
    maps(shared, "transformer_mm")


def test_tied_weights_work_and_stay_as_they_were() -> None:
    tied, twin = network(), network()
    for model in (tied, twin):
        model.blocks[2].mlp.fc1.weight.data.copy_(model.blocks[0].mlp.fc1.weight.data)  # type: ignore[union-attr, index]
    tied.blocks[2].mlp.fc1.weight = tied.blocks[0].mlp.fc1.weight  # type: ignore[union-attr, index]
    for explainer in ("lrp", "cp_lrp"):
        torch.testing.assert_close(maps(tied, explainer), maps(twin, explainer))
    assert {p.dtype for p in tied.parameters()} == {torch.float32}
    assert tied.blocks[2].mlp.fc1.weight is tied.blocks[0].mlp.fc1.weight  # type: ignore[union-attr, index]


def test_a_block_at_two_depths_is_refused() -> None:
    model = network()
    model.blocks = nn.Sequential(model.blocks[0], model.blocks[0], model.blocks[2])  # type: ignore[index]
    with pytest.raises(vf.InputError, match="uses one block at two depths"):
        maps(model, "attention_rollout")
    maps(model, "saliency")


@pytest.mark.parametrize("explainer", ["transformer_mm", "legrad", "lrp", "diffmask_per_image", "saliency"])
def test_checkpointed_gradients_change_nothing(explainer: str) -> None:
    plain, checkpointed = network(), network()
    checkpointed.set_grad_checkpointing()  # type: ignore[operator]
    torch.testing.assert_close(maps(checkpointed, explainer), maps(plain, explainer), rtol=0, atol=0)
    assert checkpointed.grad_checkpointing


def test_a_model_compiled_in_place_or_around_is_the_model() -> None:
    plain, compiled = network(), network()
    compiled.compile(backend="eager")
    for explainer in ("saliency", "legrad"):
        torch.testing.assert_close(maps(compiled, explainer), maps(plain, explainer), rtol=0, atol=0)
    assert compiled._compiled_call_impl is not None
    for around in (torch.compile(plain, backend="eager"), nn.DataParallel(plain)):
        torch.testing.assert_close(maps(around, "legrad"), maps(plain, "legrad"), rtol=0, atol=0)


def test_doubles_by_default_change_nothing() -> None:
    model, explainers = (
        network(),
        ["attention_rollout", "tokentm", "beyond_intuition_head", "occlusion", ("rise", {"masks": 6})],
    )
    expected = vf.explain(model, IMAGES, explainers, target=[1, 2])
    torch.set_default_dtype(torch.float64)
    try:
        found = vf.explain(model, IMAGES, explainers, target=[1, 2])
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    for method, values in expected.items():
        torch.testing.assert_close(found[method], values, rtol=0, atol=0)


class NoGradient(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = self.network(images)
        return logits


def test_a_model_without_gradients_says_so() -> None:
    model = vf.wrap(NoGradient(), mean=[0.5] * 3, std=[0.5] * 3, input_size=(16, 24), patch_size=4)
    with pytest.raises(vf.InputError, match=r"passes no gradient to its input.*such as occlusion or rise"):
        vf.explain(model, IMAGES, "saliency")
    vf.explain(model, IMAGES, "occlusion")


def test_weights_of_inference_mode_are_refused() -> None:
    with torch.inference_mode():
        model = network()
    with pytest.raises(vf.InputError, match=r"made in torch\.inference_mode"):
        vf.wrap(model)


@pytest.mark.parametrize("classes", [1])
def test_one_class_is_no_classification(classes: int) -> None:
    with pytest.raises(vf.InputError, match=r"num_classes 1.*always 1; build the model with two logits or more"):
        vf.wrap(network(num_classes=classes))


def test_models_say_what_they_lack() -> None:
    statistics = {"mean": [0.5] * 3, "std": [0.5] * 3}
    with pytest.raises(vf.InputError, match="does not say the size of its images; give input_size="):
        vf.wrap(
            timm.models.hiera.Hiera(img_size=(64, 96), embed_dim=8, stages=(1, 1, 1, 1), num_classes=5), **statistics
        )
    for name in ("vit_tiny_patch16_224", "resnet10t"):
        arguments = SIZES if name.startswith("vit") else {"num_classes": 5}
        with pytest.raises(vf.InputError, match="global_pool ''"):
            vf.wrap(timm.create_model(name, global_pool="", **arguments), patch_size=4)
    with pytest.raises(vf.InputError, match="takes another size, give input_size="):
        vf.wrap(timm.create_model("hiera_tiny_224", img_size=(64, 96), embed_dim=8, stages=(1, 1, 1, 1), num_classes=5))


def test_a_head_of_several_layers_is_named() -> None:
    model = network()
    model.head = nn.Sequential(nn.Dropout(), nn.Linear(24, 5))
    with pytest.raises(vf.InputError, match="logits of one linear layer, and this model's head is Sequential"):
        maps(model, "cp_lrp")
    maps(model, "transformer_mm")


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        (
            "hiera_tiny_224",
            {"img_size": (32, 48), "embed_dim": 8, "num_heads": 1, "stages": (2,), "q_pool": 0},
            "no sequence of transformer blocks over one patch grid",
        ),
        ("twins_svt_small", {"img_size": 32}, "no sequence of transformer blocks over one patch grid"),
        ("tnt_s_patch16_224", {"img_size": 32, "depth": 2}, "no sequence of transformer blocks over one patch grid"),
        ("crossvit_9_240", {}, "no sequence of transformer blocks over one patch grid"),
    ],
)
def test_tokens_that_are_no_grid_are_refused(name: str, arguments: dict[str, Any], text: str) -> None:
    size = arguments.get("img_size", 240)
    model = timm.create_model(name, num_classes=5, **arguments).eval()
    classifier = vf.wrap(model, input_size=size, patch_size=None if name.startswith("hiera") else 16)
    images = torch.rand(1, *classifier.input_shape)
    for explainer in ("token_gradcam", "vit_cx"):
        with pytest.raises(vf.InputError, match=text):
            vf.explain(classifier, images, explainer)
    assert vf.explain(classifier, images, "saliency")["saliency"].shape[1:] == classifier.grid


@pytest.mark.parametrize("explainer", ["tis", "vit_cx", "token_gradcam", "token_eigencam"])
def test_blocks_of_two_sequences_are_refused(explainer: str) -> None:
    backbone = build_backbone("tnt_s_patch16_224", {"img_size": 32, "depth": 2, "num_classes": 5})
    classifier = freeze(Classifier(backbone, [0.5] * 3, [0.5] * 3, patch_size=(16, 16)))
    with pytest.raises(vf.InputError, match="takes or gives a tuple, not one sequence of tokens"):
        vf.explain(classifier, torch.rand(1, 3, 32, 32), explainer)


def test_cells_are_those_of_the_stride() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = timm.create_model("pvt_v2_b0", num_classes=5)
    assert vf.wrap(model).grid == (56, 56)

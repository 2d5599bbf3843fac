"""Gates, states and masking on ViTs with every kind of tokens."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from tests.conftest import tiny_vit
from tests.explainers.zoo import batch, model, resnet, swin
from vitfaith.errors import InputError
from vitfaith.explainers.diffmask.gates import Gates
from vitfaith.explainers.diffmask.hard_concrete import HardConcrete
from vitfaith.explainers.diffmask.network import new_diffmask, start_beta
from vitfaith.explainers.diffmask.passes import clean_pass, divergence, masked_pass
from vitfaith.explainers.diffmask.states import hidden_states, masked_embedding
from vitfaith.models.classifier import Classifier, frozen
from vitfaith.models.passes import PassCounter

KINDS = [
    "class_token", "registers", "average_pool", "class_token_unread", "distilled", "dinov2", "oblong", "rotary",
    "position_bias", "attention_pool",
]  # fmt: skip
every_vit = pytest.mark.parametrize("name", KINDS)


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
@pytest.mark.parametrize("classes", [0, 4])
def test_gates_against_a_loop(classes: int) -> None:
    gates = Gates(5, 6, 3, beta=2.0, classes=classes, generator=source())
    with torch.no_grad():
        gates.beta.add_(torch.arange(5.0))
        gates.lengths.mul_(1.5)
        gates.out_lengths.mul_(0.7)
        if gates.classes is not None:
            gates.classes.normal_(generator=source(1))
    states = [torch.randn(2, 7, 6, generator=source(i)) for i in range(5)]
    targets = torch.tensor([1, 3]) if classes else None
    found = gates(states, targets)
    for b in range(2):
        for gate in range(5):
            for patch in range(7):
                x = torch.cat([states[0][b, patch], states[gate][b, patch]])
                inner = torch.zeros(3)
                for unit in range(3):
                    v = gates.directions[gate, unit]
                    inner[unit] = gates.lengths[gate, unit] * (v @ x) / v.norm() + gates.offsets[gate, unit]
                    if targets is not None:
                        inner[unit] += gates.classes[targets[b], gate, unit]
                w = gates.out_directions[gate]
                vote = gates.out_lengths[gate] * (w @ inner.tanh()) / w.norm() + gates.out_offsets[gate]
                expected = 15 * vote.tanh() + gates.beta[gate]
                assert float(found[b, gate, patch]) == pytest.approx(float(expected), abs=2e-5)


def test_locations_stay_in_the_stretch() -> None:
    gates = Gates(3, 8, 4, stretch=5.0, beta=1.0, generator=source())
    u = gates([100 * torch.randn(2, 9, 8, generator=source(i)) for i in range(3)])
    assert -4 <= float(u.min()) <= float(u.max()) <= 6


@every_vit
def test_states_are_the_patches_of_embedding_block_inputs_and_last_output(name: str) -> None:
    """Against the model's own parts, called one after the other."""
    classifier = model(name)
    images, _, _ = batch(classifier)
    patches = classifier.grid[0] * classifier.grid[1]
    seen: list[Tensor] = []
    handles = [b.register_forward_hook(lambda _m, _i, o: seen.append(o)) for b in classifier.backbone.blocks]
    with torch.no_grad(), hidden_states(classifier) as states:
        classifier(images)
    for handle in handles:
        handle.remove()
    assert len(states) == len(classifier.backbone.blocks) + 2
    assert all(state.shape == (4, patches, classifier.backbone.embed_dim) for state in states)
    embedded = classifier.backbone.patch_embed((images - classifier.mean) / classifier.std)
    assert torch.equal(states[0], embedded.reshape(4, patches, -1))
    for state, output in zip(states[2:], seen, strict=True):
        assert torch.equal(state, output[:, -patches:])


@every_vit
def test_masking_replaces_patches_alone(name: str) -> None:
    """Keeping all changes nothing; keeping nothing makes all images equal; prefix tokens enter the first block as always."""
    classifier = model(name)
    images, _, _ = batch(classifier)
    patches, width = classifier.grid[0] * classifier.grid[1], classifier.backbone.embed_dim
    placeholder = torch.randn(width, generator=source())
    clean, _ = clean_pass(classifier, images)
    ones, zeros = torch.ones(4, patches), torch.zeros(4, patches)
    with torch.no_grad():
        assert torch.allclose(masked_pass(classifier, images, ones, placeholder), clean, atol=1e-5)
        nothing = masked_pass(classifier, images, zeros, placeholder)
    assert torch.allclose(nothing, nothing[:1].expand_as(nothing), atol=1e-6)
    entered: list[Tensor] = []
    handle = classifier.backbone.blocks[0].register_forward_pre_hook(
        lambda _m, args, kwargs: entered.append(args[0] if args else kwargs["x"]), with_kwargs=True
    )
    with torch.no_grad():
        classifier(images)
        with masked_embedding(classifier, zeros, placeholder):
            classifier(images)
    handle.remove()
    prefix = entered[0].shape[1] - patches
    assert prefix == classifier.prefix_tokens
    assert torch.equal(entered[0][:, :prefix], entered[1][:, :prefix])
    assert not torch.allclose(entered[0][:, prefix:], entered[1][:, prefix:])


def test_masked_embeddings_against_a_loop(vit: Classifier, images: Tensor) -> None:
    keep = torch.rand(5, 16, generator=source())
    placeholder = torch.randn(24, generator=source(1))
    own = vit.backbone.patch_embed((images - vit.mean) / vit.std)
    found: list[Tensor] = []
    with torch.no_grad(), masked_embedding(vit, keep, placeholder):
        handle = vit.backbone.patch_embed.register_forward_hook(lambda _m, _i, output: found.append(output))
        vit(images)
        handle.remove()
    for i in range(5):
        for p in range(16):
            expected = keep[i, p] * own[i, p] + (1 - keep[i, p]) * placeholder
            assert torch.allclose(found[0][i, p], expected, atol=1e-6)


def test_the_map_is_the_product_over_gates_and_costs_one_forward(vit: Classifier, images: Tensor) -> None:
    network = new_diffmask(vit, distribution=HardConcrete(), beta=1.0, generator=source())
    with PassCounter(vit.backbone) as passes:
        maps = network.explain(vit, images)
    assert (passes.forwards, passes.backwards) == (5, 0)
    _, states = clean_pass(vit, images)
    u = network.locations(states).detach()
    expected, official = torch.ones(5, 16), torch.ones(5, 16)
    for gate in range(u.shape[1]):
        expected = expected * network.distribution.expected(u[:, gate])
        official = official * torch.sigmoid(u[:, gate] - 0.2 * torch.log(torch.tensor(0.2)))
    assert torch.allclose(maps.flatten(1), expected, rtol=1e-4, atol=1e-7)
    assert torch.allclose(network.explain(vit, images, kind="official").flatten(1), official, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_beta_gives_the_kept_share_that_was_asked_for(share: float) -> None:
    centred, shape = torch.rand(3, 5, 16, generator=source()) * 2 - 1, HardConcrete()
    beta = start_beta(centred, shape, 15.0, share)
    kept = shape.expected((15 * centred + beta).double()).prod(1).mean()
    assert float(kept) == pytest.approx(share, abs=1e-4)


def test_divergences_against_a_loop() -> None:
    clean, masked = (torch.randn(6, 5, generator=source(i)).log_softmax(1) for i in range(2))
    targets = torch.tensor([0, 1, 2, 3, 4, 0])
    whole, own = divergence(clean, masked), divergence(clean, masked, targets)
    for i in range(6):
        p, q = clean[i].exp().tolist(), masked[i].exp().tolist()
        expected = sum(a * torch.log(torch.tensor(a / b)) for a, b in zip(p, q, strict=True))
        assert float(whole[i]) == pytest.approx(float(expected), abs=1e-6)
        a, b = p[targets[i]], q[targets[i]]
        two = a * torch.log(torch.tensor(a / b)) + (1 - a) * torch.log(torch.tensor((1 - a) / (1 - b)))
        assert float(own[i]) == pytest.approx(float(two), abs=1e-6)
        assert float(own[i]) <= float(whole[i]) + 1e-7


def test_frozen_gives_everything_back() -> None:
    classifier = tiny_vit().requires_grad_(True)
    classifier.train()
    classifier.backbone.blocks[1].eval()
    before = [m.training for m in classifier.modules()], [p.requires_grad for p in classifier.parameters()]
    with frozen(classifier):
        assert not any(m.training for m in classifier.modules())
        assert not any(p.requires_grad for p in classifier.parameters())
    assert before == ([m.training for m in classifier.modules()], [p.requires_grad for p in classifier.parameters()])


@pytest.mark.parametrize("build", [swin, resnet])
def test_models_without_one_patch_grid_are_refused(build: object) -> None:
    with pytest.raises(InputError):
        new_diffmask(build(), distribution=HardConcrete())


def test_gates_of_another_model_are_refused(vit: Classifier, images: Tensor) -> None:
    network = new_diffmask(tiny_vit(depth=2), distribution=HardConcrete())
    with pytest.raises(InputError, match="4 gates, a model of 3 blocks needs 5"):
        network.explain(vit, images)
    network = new_diffmask(tiny_vit(embed_dim=12), distribution=HardConcrete())
    with pytest.raises(InputError, match="width 12, the model's have 24"):
        network.explain(copy.deepcopy(vit), images)

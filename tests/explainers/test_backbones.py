"""Explainers × backbones: right by every law that applies, or refused by name; a third of the matrix, all of it by one command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.explainers.backbones import BACKBONES, double
from tests.explainers.judge import ENTRIES, TABLE, judge, methods_of, shuffled_pairs
from vitfaith.errors import InputError
from vitfaith.explainers.explain import explain
from vitfaith.explainers.passes.shared_pass import run_capture
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.models.classifier import Classifier

REFUSED: dict[str, list[str]] = json.loads(TABLE.read_text(encoding="utf-8"))
"""Backbone → explainers that refuse it; ``python -m benchmarks.backbones`` writes it."""


@pytest.mark.parametrize("name", BACKBONES)
def test_explainers_are_right_or_refuse_by_name(name: str) -> None:
    for explainer in shuffled_pairs(name):
        verdict = judge(explainer, name)
        expected = "refused" if explainer in REFUSED[name] else "works"
        assert verdict.state == expected, f"{explainer} on {name}: {verdict.state} {verdict.why}"


def test_the_part_that_runs_here_holds_every_explainer_and_every_backbone() -> None:
    chosen = {name: set(shuffled_pairs(name)) for name in BACKBONES}
    assert set().union(*chosen.values()) == {entry.name for entry in ENTRIES}
    assert all(chosen.values())
    assert set(REFUSED) == set(BACKBONES)


@pytest.mark.parametrize("name", [name for name, refused in REFUSED.items() if "raw_attention" not in refused])
def test_maps_start_at_the_tokens_that_the_head_reads(name: str) -> None:
    """A row of the last state is read where the logit has a gradient there."""
    classifier = double(name)
    images = torch.rand(1, *classifier.input_shape, dtype=torch.float64)
    capture = run_capture(classifier, images, torch.tensor([1]), frozenset({"hidden", "hidden_gradient"}))
    read = capture.hidden_gradient(capture.depth)[0].abs().sum(-1).nonzero()[:, 0].tolist()
    assert read == list(range(capture.tokens))[capture.readout]


EASY = [entry for entry in ENTRIES if entry.traits["hierarchical"]]


@pytest.mark.parametrize("name", ["xcit", "hiera", "volo", "mvitv2", "naflexvit", "mixer", "resnet", "pit"])
def test_what_needs_no_vit_runs_on_any_classifier(name: str) -> None:
    assert not {entry.name for entry in EASY} & set(REFUSED[name])
    verdict = judge("input_x_gradient", name)
    assert verdict.state == "works", verdict.why
    assert "planted" in verdict.laws


GRIDS = {
    "xcit": (2, 3), "hiera": (16, 24), "volo": (4, 6), "mvitv2": (16, 16), "naflexvit": (4, 6), "mixer": (2, 3), "pit": (4, 6),
    "resnet": (4, 6), "nest": (8, 8), "swin": (16, 24),
}  # fmt: skip


@pytest.mark.parametrize("name", GRIDS)
def test_the_grid_is_that_of_the_patch_embedding(name: str) -> None:
    assert double(name).grid == GRIDS[name]


@pytest.mark.parametrize(
    ("explainer", "name", "text"),
    [
        (
            "tis",
            "beit",
            "tis needs a ViT whose tokens can be dropped.*Beit keeps their positions inside its blocks.*use rise",
        ),
        ("tis", "relpos", "use rise"),
        ("tis", "convit", "use rise"),
        ("tis", "rope", "use rise"),
        ("tokentm", "post_norm", r"normalises its attention's output; use transformer_mm"),
        ("beyond_intuition_token", "eva_post_norm", r"normalises its attention's output; use transformer_mm"),
        ("token_gradcam", "parallel_18x2", "no single first norm"),
        (
            "raw_attention",
            "sam",
            "attends over 4 positions .windows or channels., not over 0 prefix tokens and 4×6 patches.*such as rise",
        ),
        ("raw_attention", "cait", "made 0 self-attention calls"),
        ("rise", "vit_unpooled_head", "global_pool ''.*build it with the global_pool of its training"),
        ("diffmask_per_image", "xcit", "DiffMask needs"),
        ("saliency", "resnet_without_patch", "set patch, the side in pixels"),
    ],
)
def test_refusals_say_why_and_what_to_use(explainer: str, name: str, text: str) -> None:
    classifier = double(name)
    images = torch.rand(1, *classifier.input_shape)
    methods = {explainer: methods_of(EXPLAINERS[explainer], name)[explainer]}
    with pytest.raises(InputError, match=text):
        explain(classifier, images, torch.tensor([0]), ["a"], methods, seed=0, batch_size=4)


def test_a_patch_that_is_given_must_divide_the_image_and_not_contradict_the_model() -> None:
    resnet = double("resnet").backbone
    with pytest.raises(InputError, match="patch 5×8 does not divide images of 32×48 pixels"):
        Classifier(resnet, [0.5] * 3, [0.5] * 3, patch_size=(5, 8), input_size=(32, 48)).grid  # noqa: B018
    with pytest.raises(InputError, match="has patches of 4×4 pixels; remove patch"):
        Classifier(double("vit").backbone, [0.5] * 3, [0.5] * 3, patch_size=(8, 8)).grid  # noqa: B018


def test_the_page_names_every_backbone() -> None:
    page = (Path(__file__).parents[2] / "docs" / "backbones.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in BACKBONES)

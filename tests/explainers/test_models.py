"""Explainers on models of every kind: prefix tokens, pooling, grids, patch sizes, hierarchies; and what they refuse."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from tests.conftest import tiny_vit
from tests.explainers.cases import CASES, ENTRIES, ONE_PASS, Case, close, finite, methods_of
from tests.explainers.zoo import BUILDERS, UNSUPPORTED, batch, model, resnet, swin
from vitfaith.errors import InputError
from vitfaith.explainers.explain import explain
from vitfaith.map_values import map_flags
from vitfaith.models.classifier import Classifier

every_explainer = pytest.mark.parametrize("case", CASES, ids=str)

PREFIXES = ["registers", "average_pool", "class_token_unread", "registers_average_pool", "distilled", "oblong"]


@every_explainer
@pytest.mark.parametrize("name", PREFIXES)
def test_prefix_tokens_are_counted(case: Case, name: str) -> None:
    """Maps follow the patches: shuffling the patches with their position embeddings shuffles the map alike.

    Explainers with noise, or with masks that know neighbourhoods, only have to give a finite map.
    """
    classifier = model(name)
    try:
        maps = case.run(classifier)
    except InputError:
        if case.entry.traits["family"] == "one_pass":
            raise  # one-pass explainers work on every ViT; others may say that they do not
        return
    rows, columns = classifier.grid
    assert maps.shape == (4, rows, columns)
    assert finite(maps)
    if case.entry.traits["stochastic"] or case.entry.name in ("tis", "vit_cx"):
        return
    order = torch.randperm(rows * columns, generator=torch.Generator().manual_seed(2))
    images, targets, ids = batch(classifier)
    moved = _shuffled_images(images, order, classifier.grid)
    found = explain(
        _shuffled_model(classifier, order), moved, targets, ids, case.methods_for(classifier), seed=0, batch_size=4
    )
    expected = maps.flatten(1)[:, order].unflatten(1, classifier.grid)
    # Sums run in another order and maps that nearly cancel show it; a wrong count would be wrong by their whole size.
    close(found[case.entry.name], expected, max(case.tolerance, 2e-4))


def _shuffled_images(images: Tensor, order: Tensor, grid: tuple[int, int]) -> Tensor:
    patches = images.unflatten(3, (grid[1], 4)).unflatten(2, (grid[0], 4)).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    moved = patches[:, order].unflatten(1, grid).permute(0, 3, 1, 4, 2, 5)
    return moved.flatten(4, 5).flatten(2, 3)


def _shuffled_model(classifier: Classifier, order: Tensor) -> Classifier:
    moved = copy.deepcopy(classifier)
    embedding = moved.backbone.pos_embed
    extra = embedding.shape[1] - len(order)
    index = torch.cat([torch.arange(extra), extra + order])
    embedding.data = embedding.data[:, index]
    return moved


@pytest.mark.parametrize("name", BUILDERS)
def test_one_pass_explainers_work_on_every_vit(name: str) -> None:
    classifier = model(name)
    images, targets, ids = batch(classifier)
    # a trained explainer is of one model's shape
    asked = [entry for entry in ONE_PASS if name != "rotary" or "weights" not in entry.parameters.model_fields]
    able = [entry for entry in asked if name not in UNSUPPORTED.get(entry.name, ())]
    for method, maps in explain(classifier, images, targets, ids, methods_of(*able), seed=0, batch_size=4).items():
        assert maps.shape == (4, *classifier.grid)
        assert finite(maps)
        assert "" in map_flags(maps), f"every map of {method} is constant"
    for entry in asked:
        if entry not in able:
            with pytest.raises(InputError, match=entry.name):
                Case(entry).run(classifier)


@pytest.mark.parametrize(("patch", "size"), [(2, 8), (8, 32), (14, 28), (16, 48), (32, 64)])
def test_any_patch_size(patch: int, size: int) -> None:
    classifier = tiny_vit(patch_size=patch, img_size=size)
    images, targets, ids = batch(classifier, 2)
    grid = (size // patch, size // patch)
    methods = methods_of(*ENTRIES, classifier=classifier)
    found = explain(classifier, images, targets, ids, methods, seed=0, batch_size=8)
    for method, maps in found.items():
        assert maps.shape == (2, *grid), method
        assert finite(maps), method


def test_every_explainer_works_on_dinov2_with_registers() -> None:
    """Layer scale, registers, and positions that the prefix tokens do not have."""
    classifier = model("dinov2")
    images, targets, ids = batch(classifier)
    assert classifier.prefix_tokens == 5
    found = explain(classifier, images, targets, ids, methods_of(*ENTRIES), seed=0, batch_size=8)
    for method, maps in found.items():
        assert finite(maps), method
        assert "" in map_flags(maps), f"every map of {method} is constant"


@every_explainer
def test_hierarchical_models_work_exactly_where_it_is_declared(case: Case) -> None:
    if case.entry.traits["hierarchical"]:
        maps = case.run(swin())
        assert maps.shape == (4, 16, 16)
        assert finite(maps)
        return
    with pytest.raises(InputError, match=f"SwinTransformer.*{case.entry.name}"):
        case.run(swin())


def test_the_error_names_all_explainers_that_are_not_defined_and_those_that_are() -> None:
    classifier = swin()
    images, targets, ids = batch(classifier)
    methods = methods_of(*ENTRIES)
    with pytest.raises(InputError) as caught:
        explain(classifier, images, targets, ids, methods, seed=0, batch_size=4)
    undefined, _, defined = str(caught.value).partition("choose from: ")
    for entry in ENTRIES:
        assert (f" {entry.name}," in undefined.replace(";", ",")) != entry.traits["hierarchical"], entry.name
        assert (entry.name in defined) == entry.traits["hierarchical"], entry.name


@every_explainer
def test_a_model_without_a_patch_grid_is_refused(case: Case) -> None:
    with pytest.raises(InputError, match="ResNet has no patch grid"):
        case.run(resnet())


@every_explainer
def test_a_class_that_the_model_lacks_is_refused(case: Case) -> None:
    for target in (5, -1):
        with pytest.raises(InputError, match=r"classes 0 to 4"):
            case.run(model("class_token"), targets=torch.tensor([0, 1, target, 2]))


@every_explainer
def test_a_broken_image_is_refused(case: Case) -> None:
    images, targets, ids = batch(model("class_token"))
    for value in (float("nan"), float("inf")):
        broken = images.clone()
        broken[2, 1, 3, 3] = value
        with pytest.raises(InputError, match="NaN"):
            explain(model("class_token"), broken, targets, ids, case.methods, seed=0, batch_size=4)


@every_explainer
def test_a_zero_gradient_gives_a_flagged_map(case: Case) -> None:
    """A head of zeros answers nothing: a map of a class-specific explainer then has to be flagged, never left blank."""
    classifier = copy.deepcopy(model("class_token"))
    classifier.backbone.head.weight.data.zero_()
    if case.entry.name == "rise":  # divided by the expected visibility, equal answers show the masks' own unevenness
        case = Case(case.entry, {"normalisation": "coverage"})
    flags = map_flags(case.run(classifier))
    asks = case.entry.traits["class_specific"] or case.entry.name.startswith("diffmask_per_image")
    if case.entry.name in ("diffmask_class", "vit_shapley"):  # read hidden states and never the head
        asks = False
    if asks:
        assert all(flags), flags
    else:
        assert not any(flags), flags

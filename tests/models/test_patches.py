"""Where patches lie on the image: the rectangles of the model's own convolution, whatever the size of the image."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import tiny_vit
from tests.explainers.cases import ENTRIES, Case
from tests.explainers.zoo import tiny
from vitfaith.errors import InputError
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.fills.placeholder import mark, marked_patches
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier
from vitfaith.models.patches import Patches

BUILDERS: dict[str, Any] = {
    "exact": {"img_size": 28, "patch_size": 7},
    "pixels behind the last patch": {"img_size": 32, "patch_size": 7},
    "oblong": {"img_size": (33, 23), "patch_size": (7, 5)},
    "padded": {"img_size": 32, "patch_size": 7, "dynamic_img_size": True, "dynamic_img_pad": True},
    "padded oblong": {"img_size": (30, 25), "patch_size": (8, 6), "dynamic_img_size": True, "dynamic_img_pad": True},
}
GRIDS = {
    "exact": (4, 4),
    "pixels behind the last patch": (4, 4),
    "oblong": (4, 4),
    "padded": (5, 5),
    "padded oblong": (4, 5),
}
every_model = pytest.mark.parametrize("name", BUILDERS)


@cache
def model(name: str) -> Classifier:
    return tiny_vit(**BUILDERS[name])


def pictures(classifier: Classifier, count: int = 2) -> Tensor:
    shape = (count, *classifier.input_shape)
    return 0.05 + 0.9 * torch.rand(shape, generator=torch.Generator().manual_seed(3))


def tokens(classifier: Classifier, images: Tensor) -> Tensor:
    """What the patch embedding makes of ``images``, (B, rows, columns, D)."""
    with torch.no_grad():
        found = classifier.backbone.patch_embed(classifier.normalise(images))  # type: ignore[operator]
    return found.reshape(len(images), *classifier.grid, -1)


@every_model
def test_removing_a_patch_changes_its_token_and_no_other(name: str) -> None:
    classifier = model(name)
    images, patches = pictures(classifier), classifier.patches
    assert patches.grid == GRIDS[name]
    clean, count = tokens(classifier, images[:1]), patches.grid[0] * patches.grid[1]
    each = patches.to_pixels(torch.eye(count, dtype=torch.bool).view(count, *patches.grid))
    changed = tokens(classifier, torch.where(each[:, None], 0.0, images[:1])) != clean
    assert torch.equal(changed.any(3).flatten(1), torch.eye(count, dtype=torch.bool))
    all_but = tokens(classifier, torch.where(each[:, None], images[:1], 0.0))
    black = tokens(classifier, torch.zeros_like(images[:1]))
    kept = torch.eye(count, dtype=torch.bool).view(count, *patches.grid, 1)
    assert torch.allclose(all_but, torch.where(kept, clean, black), atol=1e-5)  # nothing of it stays behind


@every_model
def test_pixels_in_no_patch_do_not_reach_the_model(name: str) -> None:
    classifier = model(name)
    images, patches = pictures(classifier), classifier.patches
    seen = patches.to_pixels(torch.ones(1, *patches.grid, dtype=torch.bool))[0]
    assert bool(seen.all()) == (name in ("exact", "padded", "padded oblong"))
    other = torch.where(seen, images, 1 - images)
    with torch.no_grad():
        assert torch.equal(classifier(other), classifier(images))


@every_model
def test_sums_means_and_touched_patches_are_those_of_the_rectangles(name: str) -> None:
    classifier = model(name)
    patches = classifier.patches
    field = pictures(classifier)[:, 0]
    member = patches.to_pixels(torch.eye(patches.grid[0] * patches.grid[1]).view(-1, *patches.grid)).flatten(1)
    sums, area = (field.flatten(1) @ member.T).view(-1, *patches.grid), member.sum(1).view(patches.grid)
    assert torch.equal(patches.area.float(), area)
    torch.testing.assert_close(patches.sum(field), sums)
    torch.testing.assert_close(patches.mean(field), sums / area)
    down = patches.mean_along(1, patches.mean_along(0, field.mT).mT)
    torch.testing.assert_close(down, sums / area)
    some = field > 0.9
    assert torch.equal(patches.touched(some), (some.float().flatten(1) @ member.T > 0).view(-1, *patches.grid))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_pixels_give_cut_and_whole_patches_the_same_mean(dtype: torch.dtype) -> None:
    patches = Patches((24, 22), (4, 4), (7, 7))
    values = torch.rand(50, 1, 1, generator=torch.Generator().manual_seed(0)).to(dtype)
    means = patches.mean(values.expand(50, 24, 22))
    assert means.dtype == dtype
    torch.testing.assert_close(means, values.expand(50, 4, 4))
    if dtype == torch.float32:
        assert torch.equal(means, values.expand(50, 4, 4))


@every_model
def test_maps_are_enlarged_from_the_centres_of_the_patches(name: str) -> None:
    """A map that is linear in the pixel's place stays so between the centres of the first and the last whole patch."""
    patches = model(name).patches
    height, width = (int(side) for side in patches.side)
    rows, columns = patches.grid
    centre_y = torch.arange(rows)[:, None] * height + (height - 1) / 2
    centre_x = torch.arange(columns)[None] * width + (width - 1) / 2
    place = 0.5 * centre_y - 0.2 * centre_x
    pixel = 0.5 * torch.arange(patches.size[0])[:, None] - 0.2 * torch.arange(patches.size[1])[None]
    inner = (slice(height // 2 + 1, (rows - 1) * height), slice(width // 2 + 1, (columns - 1) * width))
    for enlarged in (patches.upsample(place[None]), patches.enlarge(place[None])):
        assert enlarged.shape == (1, *patches.size)
        assert torch.allclose(enlarged[0][inner], pixel[inner], atol=1e-4)
    assert torch.equal(patches.upsample(pixel[None]), pixel[None])
    with pytest.raises(InputError, match=f"maps are 3×9; give them on the grid of {rows}×{columns} patches"):
        patches.upsample(torch.zeros(1, 3, 9))


def seen_tokens(classifier: Classifier) -> tuple[list[Tensor], Any]:
    """A list that fills with the patch embedding's outputs, and the handle of its hook."""
    found: list[Tensor] = []
    embedding: Any = classifier.backbone.patch_embed
    return found, embedding.register_forward_hook(
        lambda _m, _a, output: found.append(output.detach().reshape(len(output), -1, output.shape[-1]))
    )


def assert_whole_tokens(found: list[Tensor], clean: Tensor, hidden: Tensor) -> None:
    """Every token is one of the clean image's, or one of the image with everything hidden; and both occur."""
    all_tokens = torch.cat(found)
    same, gone = ((all_tokens - one.flatten(1, 2)).abs().amax(2) < 1e-5 for one in (clean, hidden))
    assert bool((same | gone).all())
    assert bool(same.any())
    assert bool(gone.any())


PATCHWISE = [
    entry.name
    for entry in METRICS
    if "fill" in entry.parameters.model_fields
    and entry.name not in ("average_drop", "average_increase", "average_gain")  # masks of pixels
    and not ("level" not in entry.parameters.model_fields and "region" in entry.name)
    and entry.name != "irof"
]


@pytest.mark.parametrize("metric", PATCHWISE)
@pytest.mark.parametrize("name", ["pixels behind the last patch", "padded"])
def test_metrics_remove_whole_patches(name: str, metric: str) -> None:
    classifier, fields = model(name), METRICS[metric].parameters.model_fields
    images = pictures(classifier, 1)
    settings = {"fill": "black"} | ({"level": "patch"} if "level" in fields else {})
    settings |= {"steps": 7} if metric.startswith("diffmask") else {}
    clean, hidden = tokens(classifier, images), tokens(classifier, torch.zeros_like(images))
    maps = torch.randn(1, *classifier.grid, generator=torch.Generator().manual_seed(0))
    found, handle = seen_tokens(classifier)
    try:
        evaluate(
            classifier, images, torch.tensor([1]), ["a"], {"m": maps},
            {metric: METRICS.item(metric, **settings)}, labels=torch.tensor([1]),
        )  # fmt: skip
    finally:
        handle.remove()
    assert_whole_tokens(found, clean, hidden)


@pytest.mark.parametrize("explainer", ["occlusion", "kernel_shap"])
@pytest.mark.parametrize("name", ["pixels behind the last patch", "padded"])
def test_explainers_hide_whole_patches(name: str, explainer: str) -> None:
    classifier = model(name)
    images = pictures(classifier, 1)
    methods = next(Case(entry, {"fill": "black"}) for entry in ENTRIES if entry.name == explainer).methods
    clean, hidden = tokens(classifier, images), tokens(classifier, torch.zeros_like(images))
    found, handle = seen_tokens(classifier)
    try:
        maps = explain(classifier, images, torch.tensor([1]), ["a"], methods, seed=0, batch_size=8)[explainer]
    finally:
        handle.remove()
    assert maps.shape == (1, *classifier.grid)
    assert_whole_tokens(found, clean, hidden)


SIZED = {"random", "rise", "vit_cx", "smoothgrad", "expected_gradients", "diffmask", "diffmask_classes"}
"""Explainers that draw, or enlarge, fields of the image's size; and those that are trained for one model."""


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.name not in SIZED and "weights" not in e.parameters.model_fields],
                         ids=lambda e: e.name)  # fmt: skip
def test_pixels_that_the_model_does_not_see_change_no_map(entry: Any) -> None:
    """A model of 32 pixels with patches of 7 is one of 28 pixels on the upper left part of the image."""
    large, small = model("pixels behind the last patch"), model("exact")
    small.backbone.load_state_dict(large.backbone.state_dict())
    images, targets, ids = pictures(large), torch.tensor([1, 3]), ["a", "b"]
    methods = Case(entry).methods
    if "fill" in entry.parameters.model_fields:
        methods = Case(entry, {"fill": "black"}).methods
    ours, theirs = (
        explain(one, part, targets, ids, methods, seed=0, batch_size=8)[entry.name]
        for one, part in ((large, images), (small, images[..., :28, :28]))
    )
    assert ours.shape == (2, 4, 4)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize(
    "entry", [e for e in ENTRIES if "weights" not in e.parameters.model_fields], ids=lambda e: e.name
)
def test_explainers_give_maps_of_all_patches_of_a_padded_model(entry: Any) -> None:
    classifier = model("padded")
    maps = explain(
        classifier, pictures(classifier), torch.tensor([1, 3]), ["a", "b"], Case(entry).methods, seed=0, batch_size=8
    )
    assert maps[entry.name].shape == (2, 5, 5)
    assert bool(maps[entry.name].isfinite().all())
    assert all(float(one.std()) > 0 for one in maps[entry.name])


def test_vit_cx_averages_its_pixel_map_over_the_patches() -> None:
    classifier = model("pixels behind the last patch")
    images = pictures(classifier, 1)
    cx = {"vit_cx": EXPLAINERS.item("vit_cx", noise=0, fill="black")}
    other = torch.where(classifier.patches.to_pixels(torch.ones(1, 4, 4)) > 0, images, 1 - images)
    ours, theirs = (explain(classifier, x, torch.tensor([1]), ["a"], cx, seed=0, batch_size=8) for x in (images, other))
    torch.testing.assert_close(ours["vit_cx"], theirs["vit_cx"])


@pytest.mark.parametrize("name", ["pixels behind the last patch", "padded"])
def test_a_placeholder_replaces_whole_patches(name: str) -> None:
    classifier = model(name)
    images, patches = pictures(classifier, 1), classifier.patches
    count = patches.grid[0] * patches.grid[1]
    chosen = torch.rand(1, count, generator=torch.Generator().manual_seed(1)) < 0.5
    removed = patches.to_pixels(chosen.view(1, *patches.grid))
    placeholder = torch.randn(24, generator=torch.Generator().manual_seed(2))
    with torch.no_grad(), marked_patches(classifier, placeholder):
        found, handle = seen_tokens(classifier)
        try:
            classifier(mark(images, removed, torch.tensor([0])))
            everything = torch.ones_like(removed)
            classifier(mark(images, everything, torch.tensor([0])))
        finally:
            handle.remove()
    clean = tokens(classifier, images).flatten(1, 2)
    torch.testing.assert_close(found[0], torch.where(chosen[..., None], placeholder, clean))
    torch.testing.assert_close(found[1], placeholder.expand_as(clean))
    removed[0, 0, 0] = not bool(removed[0, 0, 0])
    with pytest.raises(InputError, match="only in part"), marked_patches(classifier, placeholder):
        classifier(mark(images, removed, torch.tensor([0])))


def refusals() -> dict[str, tuple[Classifier, str]]:
    overlap = tiny("pit_ti_224", num_classes=5, img_size=228)
    return {
        "no positions for padded patches": (
            tiny_vit(img_size=32, patch_size=7, dynamic_img_pad=True), "patches of 7×7 pixels, which do not fit its images of 32×32 pixels",
        ),
        "sizes that timm refuses": (
            tiny_vit(img_size=32, patch_size=7, dynamic_img_size=True), "patches of 7×7 pixels, which do not fit its images of 32×32 pixels",
        ),
        "overlapping patches": (overlap, "patches of 8×8 pixels, which do not fit its images of 228×228 pixels"),
    }  # fmt: skip


@pytest.mark.parametrize("which", ["no positions for padded patches", "sizes that timm refuses", "overlapping patches"])
def test_patches_that_do_not_fit_are_refused_with_both_sizes(which: str) -> None:
    classifier, message = refusals()[which]
    images = pictures(classifier, 1)
    with pytest.raises(InputError, match=message):
        classifier.grid  # noqa: B018
    with pytest.raises(InputError, match=message):
        explain(classifier, images, torch.tensor([1]), ["a"], Case(ENTRIES[0]).methods, seed=0, batch_size=1)
    saco = {"saco": METRICS.item("saco", groups=(4,))}
    with pytest.raises(InputError, match=message):
        evaluate(classifier, images, torch.tensor([1]), ["a"], {"m": torch.rand(1, 4, 4)}, saco)


def test_other_grids_share_the_image() -> None:
    """Maps that are not of the model's patches, as a convolutional network has them."""
    cells = Patches.even((3, 4), (7, 8))
    assert cells.place(0).tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert cells.area.tolist() == [[6] * 4, [4] * 4, [4] * 4]
    with pytest.raises(InputError, match="3×4 cells do not divide an image of 7×8 pixels"):
        cells.sum(torch.zeros(1, 7, 8))

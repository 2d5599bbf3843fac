"""Maps and scores of images in memory: what they hold, what they do not depend on, and what is left as it was."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import vitfaith as vf
from tests.api.test_wrap import Network, assert_same, state_of
from tests.conftest import tiny_vit
from vitfaith.explainers.explain import explain as explain_batch
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.metrics.evaluate import evaluate as evaluate_maps
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier

METHODS = ["attention_rollout", ("rise", {"masks": 20}), "random"]


@pytest.fixture(scope="module")
def trained() -> Classifier:
    """A model as it is found in training: its mode, flags and gradients are its own."""
    classifier = tiny_vit()
    classifier.backbone.train().requires_grad_(True)
    classifier.backbone.blocks[0].eval()
    return vf.wrap(classifier.backbone, mean=[0.5] * 3, std=[0.25] * 3)


def test_maps_are_those_of_the_library_and_the_model_is_left_alone(
    trained: Classifier, vit: Classifier, images: Tensor, image_ids: list[str]
) -> None:
    before = state_of(trained.backbone)
    maps = vf.explain(trained, images, METHODS, image_ids=image_ids, seed=3)
    assert_same(state_of(trained.backbone), before)
    with torch.no_grad():
        target = vit(images).argmax(1)
    items = {"attention_rollout": {}, "rise": {"masks": 20}, "random": {}}
    for name, settings in items.items():
        item = {name: EXPLAINERS.item(name, **settings)}
        expected = explain_batch(vit, images, target, image_ids, item, seed=3, batch_size=256)
        assert torch.equal(maps[name], expected[name])
    assert list(maps) == list(items)
    assert torch.equal(maps.target, target)
    assert (maps.image_ids, maps.seed, maps.raw) == (image_ids, 3, None)
    assert maps.flags == {name: [""] * 5 for name in items}


def test_another_network_scores_the_maps_for_the_classes_that_they_explain(vit: Classifier, images: Tensor) -> None:
    other = tiny_vit(seed=5)
    maps = vf.explain(vit, images, ["attention_rollout"])
    with torch.no_grad():
        assert not torch.equal(other(images).argmax(1), maps.target)
    found = vf.evaluate(other, images, maps, "deletion_auc")
    item = {"deletion_auc": METRICS.item("deletion_auc")}
    expected = evaluate_maps(other, images, maps.target, maps.image_ids, dict(maps), item)
    assert found.scores["value"].tolist() == expected.scores["value"].to_pylist()


def test_splitting_a_set_changes_nothing(vit: Classifier, images: Tensor) -> None:
    whole = vf.explain(vit, images, ["random", "kernel_shap"])
    parts = [vf.explain(vit, part, ["random", "kernel_shap"]) for part in (images[:2], images[2:])]
    assert whole.image_ids == parts[0].image_ids + parts[1].image_ids
    assert torch.equal(whole["random"], torch.cat([part["random"] for part in parts]))
    assert torch.allclose(whole["kernel_shap"], torch.cat([part["kernel_shap"] for part in parts]), atol=1e-6)


def test_ids_are_digests_of_pixels(vit: Classifier) -> None:
    stored = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    repeated = torch.cat([stored, stored[:1], stored[:1]])
    ids = vf.explain(vit, repeated, "random").image_ids
    assert ids[2:] == [f"{ids[0]}-2", f"{ids[0]}-3"]
    assert vf.explain(vit, repeated.float() / 255, "random").image_ids == ids
    assert vf.explain(vit, repeated.numpy(), "random").image_ids == ids
    assert len(set(ids)) == 4
    numbered = (
        vf.explain(vit, stored, "random", image_ids=names).image_ids for names in (torch.arange(2), np.arange(2))
    )
    assert list(numbered) == [["0", "1"]] * 2


def test_targets(vit: Classifier, images: Tensor, targets: Tensor) -> None:
    with torch.no_grad():
        order = vit(images).argsort(1, descending=True)

    def of(**arguments: Any) -> list[int]:
        return vf.explain(vit, explainers="saliency", **{"images": images, **arguments}).target.tolist()

    assert of() == order[:, 0].tolist()
    assert of(target="runner_up") == order[:, 1].tolist()
    assert of(target="label", labels=targets) == targets.tolist()
    assert of(target=targets) == of(target=targets.tolist()) == of(target=targets.numpy()) == targets.tolist()
    assert of(target=2) == of(target=np.int64(2)) == of(target=torch.tensor(2)) == [2] * 5
    assert of(images=list(images)) == of()
    first, second = (vf.explain(vit, images, "saliency", target=t)["saliency"] for t in (1, 2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"target": "label"}, vf.InputError, "target 'label' needs labels="),
        ({"target": "predicted"}, vf.InputError, "target is 'predicted'; give prediction, label, runner_up"),
        ({"target": 5}, vf.InputError, r"targets lie in \[5, 5\], but the model has classes 0 to 4"),
        ({"target": torch.zeros(4, dtype=torch.int64)}, vf.InputError, "give one class number for each of 5 images"),
        ({"image_ids": ["a"] * 5}, vf.InputError, "image_ids hold 1 different names; give one for each of 5 images"),
        ({"target": None}, vf.InputError, "target is None; give prediction, label"),
        ({"target": 10**30}, vf.InputError, "target is a int that is not an array of numbers"),
        ({"target": 1.0}, vf.InputError, "target is torch.float64"),
        ({"target": True}, vf.InputError, "target is torch.bool"),
        ({"target": "label", "labels": [None] * 5}, vf.InputError, "labels is a list that is not an array of numbers"),
        ({"image_ids": "abcde"}, vf.InputError, "image_ids is 'abcde'; give a list with one name for each"),
        ({"image_ids": torch.rand(5, 2)}, vf.InputError, "image_ids hold lists; give one name for each of 5 images"),
        ({"image_ids": 5}, vf.InputError, "image_ids is 5; give a list"),
        ({"batch_size": 0}, vf.InputError, "batch_size is 0"),
        ({"batch_size": 2.5}, vf.InputError, r"batch_size is 2\.5; give a whole number"),
        ({"explainers": None}, vf.InputError, "explainers: None is neither a name nor"),
        ({"explainers": 5}, vf.InputError, "explainers: 5 is neither a name nor"),
        ({"explainers": (5, {})}, vf.InputError, r"explainers: \(5, \{\}\) is neither a name nor"),
        ({"explainers": {3: "random"}}, vf.InputError, "explainers: id 3 is no text"),
        ({"images": None}, vf.InputError, "images is None; give a tensor or array"),
        ({"images": ["a.png", "b.png"]}, vf.InputError, "images is a list that is not an array of numbers; give a tensor"),
        ({"images": [torch.rand(3, 16, 16), torch.rand(3, 8, 8)]}, vf.InputError, "images are tensors of different shapes"),
        ({"explainers": "rollout"}, vf.ConfigError, r"unknown explainer 'rollout' \(did you mean"),
        ({"explainers": ["random", "random"]}, vf.InputError, "explainers: 'random' is there twice; give ids"),
        ({"explainers": [("rise", {"mask": 3})]}, vf.ConfigError, r"explainers.rise.mask: unknown key \(did you mean 'masks'"),
        ({"explainers": {"mine": ("rise", {"masks": 0})}}, vf.ConfigError, r"explainers\.mine\.masks: .*greater than"),
        ({"explainers": [3]}, vf.InputError, "explainers: 3 is neither a name nor"),
        ({"images": torch.rand(3, 16, 16)}, vf.InputError, r"images have shape \(3, 16, 16\); give \(images, channels"),
        ({"images": torch.rand(5, 3, 8, 8)}, vf.InputError, "do not fit the model"),
        ({"images": torch.rand(5, 3, 16, 16) * 3}, vf.InputError, r"not in \[0, 1\]; normalisation belongs"),
        ({"images": torch.zeros(5, 3, 16, 16, dtype=torch.int64)}, vf.InputError, r"images are torch.int64; give uint8"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    vit: Classifier, images: Tensor, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        vf.explain(vit, **{"images": images, "explainers": "random", **arguments})


def test_any_module_is_explained_by_gradients_and_perturbations_and_the_others_are_named(images: Tensor) -> None:
    network = Network()
    network.layers[1].eval()
    before = copy.deepcopy(state_of(network))
    model = vf.wrap(network, mean=[0.5] * 3, std=[0.25] * 3, input_size=16, patch_size=4)
    names = [name for name in vf.available("explainers") if EXPLAINERS[name].traits["hierarchical"]]
    names = [name for name in names if name != "external"]
    cheap = {"rise": {"masks": 20}, "kernel_shap": {"samples": 64}, "smoothgrad": {"samples": 2}}
    maps = vf.explain(model, images, [(name, cheap.get(name, {})) for name in names])
    assert {"saliency", "integrated_gradients", "occlusion", "rise", "kernel_shap"} <= set(maps)
    assert {tuple(one.shape) for one in maps.values()} == {(5, 4, 4)}
    assert vf.score(model, images, maps, [("saco", {"groups": [4]}), "deletion_auc"])["value"].notna().mean() > 0.9
    assert_same(state_of(network), before)
    with pytest.raises(
        vf.InputError, match=r"Network has no sequence of transformer blocks.*: lrp, legrad; .*saliency"
    ):
        vf.explain(model, images, ["lrp", "legrad", "saliency"])


def test_scores_are_those_of_the_library(
    vit: Classifier, images: Tensor, image_ids: list[str], targets: Tensor
) -> None:
    maps = vf.explain(vit, images, METHODS, target=targets, image_ids=image_ids, seed=3)
    metrics = {"saco": METRICS.item("saco", groups=(4,)), "deletion_auc": METRICS.item("deletion_auc")}
    expected = evaluate_maps(vit, images, targets, image_ids, maps, metrics, seed=3)
    found = vf.evaluate(vit, images, maps, [("saco", {"groups": [4]}), "deletion_auc"])
    assert found.scores.drop(columns="target").equals(expected.scores.to_pandas())
    assert found.curves.equals(expected.curves.to_pandas())
    assert (found.forwards, found.batch_size) == (expected.forwards, 256)
    assert vf.score(vit, images, maps, [("saco", {"groups": [4]}), "deletion_auc"]).equals(found.scores)
    told = vf.score(
        vit, images, dict(maps), {"saco": ("saco", {"groups": [4]})}, target=targets, image_ids=image_ids, seed=3
    )
    assert told.equals(found.scores[found.scores.metric == "saco"].reset_index(drop=True))


def test_maps_of_ones_own_stand_beside(vit: Classifier, images: Tensor) -> None:
    maps = vf.explain(vit, images, "attention_rollout", target=1, seed=4)
    both = maps | {"mine": torch.rand(5, 4, 4), "flat": torch.ones(5, 4, 4)}
    assert isinstance(both, vf.Maps)
    assert (both.seed, both.image_ids, both.target.tolist()) == (4, maps.image_ids, [1] * 5)
    assert both.flags["flat"] == ["constant"] * 5
    scores = vf.score(vit, images, both, ("saco", {"groups": [4]}))
    assert list(scores.groupby("method", sort=False)["value"].count()) == [5, 5, 0]
    assert set(scores[scores.method == "flat"]["flag"]) == {"constant"}
    other = vf.explain(vit, images, "random", target=2, seed=4)
    with pytest.raises(vf.InputError, match="of other images, classes or another seed"):
        maps | other


def smoothed_maps() -> vf.Maps:
    """Maps as they are behind a smoothing: scaled, beside the raw ones of two samples."""
    samples = {m: torch.rand(5, 2, 4, 4, generator=torch.Generator().manual_seed(i)) - 0.5 for i, m in enumerate("ab")}
    facts: dict[str, Any] = {"target": torch.tensor([1] * 5), "image_ids": list("vwxyz"), "seed": 4}
    scaled = {method: one.mean(1).abs() for method, one in samples.items()}
    return vf.Maps(scaled, **facts, explainers={"a": "saliency", "b": "random"}, sample_maps=samples)


@pytest.mark.parametrize("turned", [False, True])
def test_maps_stay_maps_in_a_copy_and_beside_a_dict(vit: Classifier, images: Tensor, turned: bool) -> None:
    maps, mine = smoothed_maps(), {"mine": torch.rand(5, 4, 4)}
    both = mine | maps if turned else maps | mine
    assert list(both) == (["mine", "a", "b"] if turned else ["a", "b", "mine"])
    for found in (both, maps.copy(), copy.copy(maps), copy.deepcopy(maps), pickle.loads(pickle.dumps(maps))):
        assert isinstance(found, vf.Maps)
        assert (found.seed, found.image_ids, found.target.tolist()) == (4, list("vwxyz"), [1] * 5)
        assert found.explainers == {"a": "saliency", "b": "random"}
        assert all(torch.equal(found.sample_maps[m], one) for m, one in maps.sample_maps.items())
    told = vf.score(vit, images, dict(mine), "deletion_auc", target=1, image_ids=list("vwxyz"), seed=4)
    own = vf.score(vit, images, both, "deletion_auc").query("method == 'mine'").reset_index(drop=True)
    assert own["value"].tolist() == pytest.approx(told["value"].tolist(), abs=1e-6)
    wins = {"a": mine["mine"]} | maps
    assert torch.equal(wins["a"], maps["a"])
    assert set(wins.sample_maps) == {"a", "b"}


CHANGES: dict[str, Callable[[vf.Maps, Tensor], Any]] = {
    "assign": lambda maps, mine: maps.__setitem__("a", mine),
    "|=": lambda maps, mine: maps.__ior__({"a": mine}),
    "update": lambda maps, mine: maps.update({"a": mine}),
    "pairs": lambda maps, mine: maps.update([("a", mine)]),
    "keyword": lambda maps, mine: maps.update(smoothed_maps(), a=mine),
    "pop": lambda maps, mine: (maps.pop("a"), maps.setdefault("a", mine)),
    "del": lambda maps, mine: (maps.__delitem__("a"), maps.__setitem__("a", mine)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_map_put_in_place_is_read_by_every_metric(
    vit: Classifier, images: Tensor, change: Callable[[vf.Maps, Tensor], Any]
) -> None:
    maps, mine = smoothed_maps(), torch.rand(5, 4, 4) - 0.5
    change(maps, mine)
    assert (set(maps.sample_maps), maps.explainers) == ({"b"}, {"b": "random"})
    assert torch.equal(maps.raw["a"], mine)  # type: ignore[index]
    arguments: dict[str, Any] = {"target": 1, "image_ids": list("vwxyz"), "seed": 4}
    scored = ["infidelity", "entropy"]  # of scale, and not
    expected = vf.score(vit, images, {"a": mine}, scored, **arguments)
    found = vf.score(vit, images, maps, scored)
    values = found[found.method == "a"].set_index(["metric", "variant", "image_id"])["value"]
    assert values.to_dict() == pytest.approx(
        expected.set_index(["metric", "variant", "image_id"])["value"].to_dict(), rel=1e-5, abs=1e-6
    )


def test_other_maps_in_place_bring_their_facts() -> None:
    maps, other = smoothed_maps(), smoothed_maps()
    other.seed = 5
    with pytest.raises(vf.InputError, match="of other images, classes or another seed"):
        maps |= other
    other.seed = 4
    other.pop("b")
    other["c"] = torch.ones(5, 4, 4)
    maps |= other
    assert (set(maps), set(maps.sample_maps)) == ({"a", "b", "c"}, {"a", "b"})
    maps.popitem()
    maps.clear()
    assert (maps, maps.raw, maps.explainers) == ({}, None, {})


def test_maps_of_numpy_and_with_gradients_are_taken(vit: Classifier, images: Tensor) -> None:
    values = torch.rand(5, 4, 4)
    kinds = {
        "numpy": values.flip(2).numpy()[:, :, ::-1],
        "gradients": values.clone().requires_grad_(),
        "half": values.bfloat16().float().bfloat16(),
        "list": list(values),
    }
    maps = vf.explain(vit, images, "random") | kinds
    assert maps.flags == {name: [""] * 5 for name in ("random", *kinds)}
    for some in (maps, kinds):
        value = vf.score(vit, images, some, "deletion_auc").groupby("method")["value"].apply(list)
        assert value["numpy"] == value["gradients"] == value["list"]


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (torch.rand(5, 4, 4), r"maps is a Tensor; give \{'name': maps \(B, rows, columns\)\}"),
        ({7: torch.rand(5, 4, 4)}, "maps: the name 7 is a int; name each method with text"),
        ({"a": None}, r"maps\['a'\] is None; give a tensor"),
        ({"a": ["map.npy"]}, r"maps\['a'\] is a list that is not an array of numbers"),
        ({"a": np.full((5, 4, 4), 1j)}, r"maps\['a'\] is torch.complex128; give real numbers"),
        ({"a": torch.rand(5, 5, 5)}, "maps of 'a' are 5×5, the model's patch grid is 4×4 and its images are 16×16; give"),
        ({"a": torch.rand(5, 2, 8)}, "maps of 'a' are 2×8, the model's patch grid"),
        ({"a": torch.rand(4, 4, 4)}, r"maps\['a'\] has shape \(4, 4, 4\), expected \(5, rows, columns\)"),
    ],
)  # fmt: skip
def test_what_is_no_map_is_refused(vit: Classifier, images: Tensor, maps: Any, message: str) -> None:
    with pytest.raises(vf.InputError, match=message):
        vf.score(vit, images, maps, "entropy")


def test_what_is_no_map_is_not_put_beside_maps() -> None:
    maps = smoothed_maps()
    for wrong in ({"a": None}, {7: torch.rand(5, 4, 4)}):
        with pytest.raises(vf.InputError, match=r"no array of numbers|is None|name each method with text"):
            maps |= wrong
    assert set(maps.sample_maps) == {"a", "b"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": [0, 1, 2, 3, -1]}, r"labels lie in \[-1, 3\], but the model has classes 0 to 4"),
        ({"labels": [0, 1, 2, 3, 99]}, r"labels lie in \[0, 99\], but the model has classes 0 to 4"),
        ({"precision": "fp16"}, "precision is 'fp16'; give one of float32, tf32, bfloat16"),
        ({"truth": torch.full((5, 16, 16), 255, dtype=torch.uint8)}, r"truth is torch.uint8 with the value 255; give bool"),
        ({"truth": torch.full((5, 16, 16), 0.5)}, r"truth is torch.float32 with the value 0.5; give bool .*int8"),
        ({"truth": [None]}, "truth is a list that is not an array of numbers"),
    ],
)  # fmt: skip
def test_arguments_of_scores_are_checked(
    vit: Classifier, images: Tensor, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(vf.InputError, match=message):
        vf.score(vit, images, {"a": torch.rand(5, 4, 4)}, "entropy", **arguments)


def test_maps_of_more_images_say_so(vit: Classifier, images: Tensor) -> None:
    with pytest.raises(vf.InputError, match="the maps are of 5 images, but images hold 2; give the images that were"):
        vf.score(vit, images[:2], vf.explain(vit, images, "random"), "entropy")


@pytest.mark.parametrize("arguments", [{"seed": 5}, {"target": 2}, {"image_ids": list("abcde")}])
def test_what_contradicts_the_maps_is_refused(vit: Classifier, images: Tensor, arguments: dict[str, Any]) -> None:
    maps = vf.explain(vit, images, "random", target=1)
    with pytest.raises(vf.InputError, match=f"{next(iter(arguments))} differs from the .* of the maps"):
        vf.score(vit, images, maps, "entropy", **arguments)


def test_a_metric_without_its_input_says_so(vit: Classifier, images: Tensor) -> None:
    maps = {"mine": torch.rand(5, 4, 4)}
    with pytest.raises(vf.ConfigError, match="metric 'pointing_game' needs truth"):
        vf.score(vit, images, maps, "pointing_game")
    truth = torch.zeros(5, 16, 16, dtype=torch.bool)
    truth[:, 4:12, 4:12] = True
    assert set(vf.score(vit, images, maps, "pointing_game", truth=truth)["value"]) <= {0.0, 1.0}

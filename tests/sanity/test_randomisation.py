"""Random weights and random classes on models whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.conftest import tiny_vit
from tests.sanity.subjects import Counted, subject_of
from vitfaith.errors import InputError
from vitfaith.models.classifier import Classifier
from vitfaith.sanity.checks import RandomisationParameters, model_randomisation, random_logit
from vitfaith.sanity.measures import MeasureParameters
from vitfaith.sanity.randomisation import other_classes, parts_of, randomise

PARTS = ["head", "norm", "blocks.2", "blocks.1", "blocks.0", "patch_embed", "pos_embed", "cls_token"]


def test_parts_run_from_the_head_to_the_input(vit: Classifier) -> None:
    parts = parts_of(vit.backbone)
    assert [name for name, _ in parts] == PARTS
    assert sorted(n for _, names in parts for n in names) == sorted(n for n, _ in vit.backbone.named_parameters())


def test_random_weights_keep_their_moments_and_follow_the_key(vit: Classifier) -> None:
    first, second, third = (tiny_vit().backbone for _ in range(3))
    name = "blocks.1.mlp.fc1.weight"
    before = first.get_parameter(name).clone()
    randomise(first, [name], 0)
    randomise(second, ["head.weight", name], 0)
    randomise(third, [name], 1)
    after = first.get_parameter(name)
    assert abs(float(np.corrcoef(before.flatten(), after.detach().flatten())[0, 1])) < 0.1
    assert float(after.std()) == pytest.approx(float(before.std()), rel=0.1)
    assert torch.equal(after, second.get_parameter(name))
    assert not torch.equal(after, third.get_parameter(name))
    assert torch.equal(first.head.weight, vit.backbone.head.weight)  # type: ignore[union-attr,arg-type]


@pytest.mark.parametrize("cascading", [True, False])
def test_randomisation_leaves_the_model_alone_and_names_each_part(
    cascading: bool, vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]
) -> None:
    state = {k: v.clone() for k, v in vit.state_dict().items()}
    explain = Counted()
    subject = subject_of(vit, explain, images, targets, image_ids, seed=4)
    parameters = RandomisationParameters(measures=("pearson",), cascading=cascading)
    with torch.no_grad():
        frame = model_randomisation(subject, parameters).to_pandas()
    assert len(explain.classes) == 1 + 8
    assert all(torch.equal(v, state[k]) for k, v in vit.state_dict().items())
    assert frame.drop_duplicates("step").sort_values("step").reference.tolist() == [f"random {p}" for p in PARTS]
    values = frame.set_index(["reference", "method", "image_id"]).value.sort_index()
    np.testing.assert_allclose(values.xs("brightness", level="method"), 1)
    assert abs(values["random blocks.0", "gradient"].mean()) < 0.9


def test_a_stride_costs_fewer_explanations_and_ends_at_the_last_part(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]
) -> None:
    explain = Counted()
    subject = subject_of(vit, explain, images, targets, image_ids)
    every = model_randomisation(subject, RandomisationParameters(measures=("pearson",))).to_pandas()
    explain.classes.clear()
    some = model_randomisation(subject, RandomisationParameters(measures=("pearson",), stride=3)).to_pandas()
    assert len(explain.classes) == 3
    assert sorted(set(some.step)) == [2, 5, 7]
    merged = some.merge(every, on=["image_id", "method", "reference", "step", "metric"])
    assert len(merged) == len(some)
    np.testing.assert_array_equal(merged.value_x, merged.value_y)


def test_random_logit_tells_class_specific_maps(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]
) -> None:
    explain, parameters = Counted(), MeasureParameters(measures=("l1", {"measure": "top_k_overlap", "k": [0.25]}))
    frame = random_logit(subject_of(vit, explain, images, targets, image_ids), parameters).to_pandas()
    assert (explain.classes[0] == targets).all()
    assert (explain.classes[1] != targets).all()
    assert set(frame.reference) == {"other class"}
    overlaps = {("top_k_overlap", f"k=0.25{end}") for end in ("", " ceiling", " chance")}
    assert set(zip(frame.metric, frame.variant, strict=True)) == {("l1", ""), *overlaps}
    values = frame[frame.metric == "l1"].groupby("method").value
    np.testing.assert_allclose(values.get_group("brightness"), 0)
    assert (values.get_group("gradient") > 0.01).all()
    subject = subject_of(vit, explain, images[3:4], targets[3:4], image_ids[3:4])
    merged = random_logit(subject, parameters).to_pandas().merge(frame, on=["image_id", "method", "metric", "variant"])
    np.testing.assert_allclose(merged.value_x, merged.value_y, rtol=1e-4, atol=1e-6)


def test_other_classes_are_drawn_evenly() -> None:
    drawn = other_classes(torch.full((2000,), 2), [str(i) for i in range(2000)], 5, 0)
    assert (drawn.bincount(minlength=5) / 2000 - torch.tensor([1, 1, 0, 1, 1]) / 4).abs().max() < 0.05


def test_one_class_is_refused() -> None:
    with pytest.raises(InputError, match="two classes"):
        other_classes(torch.zeros(5).long(), list("abcde"), 1, 0)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (("spearmann",), r"did you mean 'spearman'"),
        ((), "at least 1"),
        (("l1", {"measure": "l1"}), "contain a name twice"),
        (({"k": [1]},), "no key 'measure'"),
        (({"measure": "ssim", "window": 4},), "window must be odd"),
    ],
)
def test_wrong_measures_are_refused(choices: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MeasureParameters(measures=choices)  # type: ignore[arg-type]

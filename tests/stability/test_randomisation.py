"""Sanity checks on models whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.conftest import tiny_vit
from vitfaith.artifacts.schemas import STABILITY
from vitfaith.errors import InputError
from vitfaith.models.classifier import Classifier
from vitfaith.registry import Parameters
from vitfaith.stability.randomisation import (
    model_parameter_randomisation,
    parts_of,
    random_logit,
    randomise,
)

MEASURES = {"pearson": ("pearson", Parameters()), "l1": ("l1", Parameters())}


class Counted:
    """Gradient maps of the class, and a map of the image alone; counts the calls."""

    calls = 0

    def __call__(self, classifier: Classifier, images: Tensor, targets: Tensor, ids: object) -> dict[str, Tensor]:
        self.calls += 1
        with torch.enable_grad():
            leaf = images.detach().clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(classifier(leaf).gather(1, targets[:, None]).sum(), leaf)
        pool = nn.functional.avg_pool2d
        return {"gradient": pool(gradient.sum(1), 4), "brightness": pool(images.mean(1), 4)}


def test_parts_run_from_the_head_to_the_input(vit: Classifier) -> None:
    parts = parts_of(vit.backbone)
    assert [name for name, _ in parts] == [
        "head",
        "norm",
        "blocks.2",
        "blocks.1",
        "blocks.0",
        "patch_embed",
        "pos_embed",
        "cls_token",
    ]
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
def test_randomisation_equals_doing_it_by_hand(
    cascading: bool, vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]
) -> None:
    state = {k: v.clone() for k, v in vit.state_dict().items()}
    explain = Counted()
    with torch.no_grad():
        table = model_parameter_randomisation(
            vit, explain, images, targets, image_ids, MEASURES, cascading=cascading, seed=4
        )
    assert table.schema == STABILITY
    assert explain.calls == 1 + 8
    assert all(torch.equal(v, state[k]) for k, v in vit.state_dict().items())
    frame = table.to_pandas().set_index(["reference", "method", "metric", "image_id"]).value.sort_index()
    original = explain(vit, images, targets, image_ids)["gradient"].flatten(1)
    copy = tiny_vit()
    for part, names in parts_of(vit.backbone):
        copy = copy if cascading else tiny_vit()
        randomise(copy.backbone, names, 4)
        changed = explain(copy, images, targets, image_ids)["gradient"].flatten(1)
        expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(original, changed, strict=True)]
        np.testing.assert_allclose(frame[f"random {part}", "gradient", "pearson"][image_ids], expected, atol=1e-5)
        np.testing.assert_allclose(frame[f"random {part}", "brightness", "pearson"], 1)
    assert abs(frame["random blocks.0", "gradient", "pearson"].mean()) < 0.9


def test_random_logit_tells_class_specific_maps(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]
) -> None:
    seen: list[Tensor] = []
    explain = Counted()

    def spy(classifier: Classifier, x: Tensor, y: Tensor, ids: object) -> dict[str, Tensor]:
        seen.append(y)
        return explain(classifier, x, y, ids)

    frame = random_logit(vit, spy, images, targets, image_ids, MEASURES).to_pandas()
    assert (seen[0] == targets).all()
    assert (seen[1] != targets).all()
    assert int(seen[1].min()) >= 0
    assert int(seen[1].max()) < 5
    values = frame[frame.metric == "l1"].groupby("method").value
    np.testing.assert_allclose(values.get_group("brightness"), 0)
    assert (values.get_group("gradient") > 0.01).all()
    alone = random_logit(vit, explain, images[3:4], targets[3:4], image_ids[3:4], MEASURES).to_pandas()
    merged = alone.merge(frame, on=["image_id", "method", "metric"])
    np.testing.assert_allclose(merged.value_x, merged.value_y, rtol=1e-4, atol=1e-6)


def test_random_classes_are_drawn_evenly(vit: Classifier) -> None:
    seen: list[Tensor] = []

    def spy(classifier: Classifier, x: Tensor, y: Tensor, ids: object) -> dict[str, Tensor]:
        seen.append(y)
        return {"m": x[:, 0]}

    ids = [str(i) for i in range(2000)]
    random_logit(vit, spy, torch.rand(2000, 1, 2, 2), torch.full((2000,), 2), ids, {})
    assert (seen[1].bincount(minlength=5) / 2000 - torch.tensor([1, 1, 0, 1, 1]) / 4).abs().max() < 0.05


def test_one_class_is_refused(images: Tensor, image_ids: list[str]) -> None:
    with pytest.raises(InputError, match="two classes"):
        random_logit(tiny_vit(num_classes=1), Counted(), images, torch.zeros(5).long(), image_ids, MEASURES)

"""Relative stability by hand, its flags, its passes, and a model that does not show its representation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import tiny_vit
from tests.sanity.oracles.base import subject
from tests.sanity.subjects import Counted, subject_of
from vitfaith import rng
from vitfaith.errors import InputError
from vitfaith.models.passes import PassCounter
from vitfaith.sanity.answers import Answers, answers_of
from vitfaith.sanity.registry import Subject
from vitfaith.sanity.relative_stability import RelativeStabilityParameters, ratios_of, relative_stability


def given(images: Tensor, explain: Any, answer: Any) -> Subject:
    """Images (B, 1, rows, columns), an explainer and a network that look at the images alone."""

    def maps(_classifier: object, x: Tensor, _targets: object, _ids: object, margin: float = 0.0) -> dict[str, Tensor]:
        return {"m": explain(x)}

    ids = [f"image-{i}" for i in range(len(images))]
    targets = torch.zeros(len(images), dtype=torch.int64)
    return Subject(None, maps, images, targets, ids, {"m": explain(images)}, 3, answer)  # type: ignore[arg-type]


def linear(x: Tensor) -> Answers:
    """Logits (s, 0) of the sum s of the pixels; the representation is the pixels, doubled and shifted."""
    flat = x.flatten(1).double()
    return Answers(torch.stack([flat.sum(1), torch.zeros(len(x)).double()], 1), 2 * flat + 1)


def copies(images: Tensor, radius: float, samples: int) -> list[Tensor]:
    ids = [f"image-{i}" for i in range(len(images))]
    shape = tuple(images.shape[1:])
    return [images + (2 * rng.uniform(3, ids, "sensitivity", shape, s) - 1) * radius for s in range(samples)]


def test_a_linear_network_by_hand() -> None:
    images = torch.tensor([[[[0.5, 0.25]]], [[[0.4, 0.0]]]])
    parameters = RelativeStabilityParameters(radius=0.1, samples=3, clip=False)
    found = ratios_of(given(images, lambda x: 3 * x[:, 0], linear), parameters)["m"]
    assert found.flags == ["", ""]
    for i, before in enumerate(images.flatten(1).tolist()):
        ratios = []
        for copy in copies(images, 0.1, 3):
            after = copy[i].flatten().tolist()
            step = sum(((b - a) / (b or 1e-6)) ** 2 for b, a in zip(before, after, strict=True)) ** 0.5
            tripled = sum(((3 * b - 3 * a) / (3 * b or 1e-6)) ** 2 for b, a in zip(before, after, strict=True)) ** 0.5
            hidden = sum(((2 * b - 2 * a) / (2 * b + 1)) ** 2 for b, a in zip(before, after, strict=True)) ** 0.5
            ratios.append((tripled / step, tripled / abs(sum(before) - sum(after)), tripled / hidden))
        expected = [max(column) for column in zip(*ratios, strict=True)]
        ours = [float(found.ratios[of][i]) for of in ("input", "output", "representation")]
        assert ours == pytest.approx(expected, rel=1e-5)
    assert float(found.ratios["input"][0]) == pytest.approx(1, rel=1e-5)


def test_copies_that_change_the_prediction_do_not_count() -> None:
    images = torch.tensor([[[[0.5, 0.6]]]])

    def change(copy: Tensor) -> float:
        before, after = images.flatten().tolist(), copy.flatten().tolist()
        below = sum(((b - a) / b) ** 2 for b, a in zip(before, after, strict=True)) ** 0.5
        return sum(((b * b - a * a) / b**2) ** 2 for b, a in zip(before, after, strict=True)) ** 0.5 / below

    changes = [change(copy) for copy in copies(images, 0.2, 4)]
    worst = changes.index(max(changes))
    calls = iter([0, *(int(copy == worst) for copy in range(4))])

    def answer(x: Tensor) -> Answers:
        return Answers(torch.eye(2).double()[[next(calls)]], None)

    parameters = RelativeStabilityParameters(radius=0.2, samples=4, clip=False, of=("input",))
    found = ratios_of(given(images, lambda x: x[:, 0] ** 2, answer), parameters)["m"]
    assert float(found.ratios["input"]) == pytest.approx(sorted(changes)[-2], rel=1e-4)


def test_an_image_without_such_a_copy_is_flagged() -> None:
    calls = iter(range(9))

    def answer(x: Tensor) -> Answers:
        return Answers(torch.eye(2).double()[[min(next(calls), 1)] * len(x)], None)

    images = torch.rand(2, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    found = ratios_of(
        given(images, lambda x: x[:, 0], answer), RelativeStabilityParameters(samples=2, of=("input", "output"))
    )["m"]
    assert found.flags == ["moved", "moved"]
    assert all(bool(values.isnan().all()) for values in found.ratios.values())


def test_maps_without_a_number_are_flagged() -> None:
    images = torch.full((4, 1, 1, 2), 0.5)
    images[:, 0, 0, 1] = 0.25

    def explain(x: Tensor) -> Tensor:
        found = x[:, 0].clone()
        found[0], found[1] = 0.0, 1.0
        found[2, 0, 0] = torch.where(x[2, 0, 0, 0] == 0.5, 0.5, torch.nan)
        return found

    found = ratios_of(given(images, explain, linear), RelativeStabilityParameters(samples=2))["m"]
    assert found.flags == ["zero", "constant", "nan", ""]
    assert found.ratios["output"].isnan().tolist() == [True, True, True, False]


def test_noise_that_clipping_took_is_flagged() -> None:
    images = torch.zeros(1, 1, 1, 1)
    images[0] = 1.0
    answers = given(images, lambda x: torch.cat([x[:, 0], 2 * x[:, 0]], 1), linear)
    seen = [bool((c.clamp(0, 1) != images).any()) for c in copies(images, 0.02, 6)]
    assert not all(seen)
    assert ratios_of(answers, RelativeStabilityParameters(samples=6))["m"].flags == ["still"]


def test_noise_and_values_do_not_depend_on_the_batch() -> None:
    whole, parameters = subject(), RelativeStabilityParameters(samples=3)
    together = ratios_of(whole, parameters)["gradient"]
    for i in (0, 3):
        part = slice(i, i + 1)
        single = subject_of(
            whole.classifier,
            Counted(),
            whole.images[part],
            whole.targets[part],
            list(whole.image_ids)[part],
            whole.seed,
        )
        alone = ratios_of(single, parameters)["gradient"]
        for of, values in alone.ratios.items():
            torch.testing.assert_close(values[0], together.ratios[of][i], rtol=1e-3, atol=0)


def test_a_table_has_a_row_for_each_ratio_and_the_network_is_asked_once_a_copy() -> None:
    whole = subject()
    with PassCounter(whole.classifier.backbone) as passes:
        frame = relative_stability(whole, RelativeStabilityParameters(samples=3)).to_pandas()
    assert passes.forwards == 5 * (1 + 3) + 5 * 3  # answers, and the explainer's own
    assert set(frame.metric) == {f"relative_{of}_stability" for of in ("input", "output", "representation")}
    assert (frame.reference == "noise").all()
    assert len(frame) == 5 * 2 * 3


def test_the_representation_is_what_the_last_layer_reads() -> None:
    vit = tiny_vit()
    images = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    answers = answers_of(vit, images, 2)
    head: Any = vit.backbone.head
    assert answers.representation is not None
    torch.testing.assert_close(head(answers.representation.float()).double(), answers.logits, rtol=1e-5, atol=1e-6)
    assert "forward_head" not in vars(vit.backbone)


def test_a_network_without_a_head_of_timm_is_refused_for_the_representation_alone() -> None:
    class Plain(nn.Module):
        num_classes = 2

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x.mean((1, 2, 3)), x[:, 0].mean((1, 2))], 1)

    from vitfaith.models.classifier import Classifier, freeze

    classifier = freeze(Classifier(Plain(), [0.0] * 3, [1.0] * 3))
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    plain = subject_of(classifier, Counted(), images, torch.tensor([0, 1]), ["a", "b"])
    assert answers_of(classifier, images, 2).representation is None
    found = ratios_of(plain, RelativeStabilityParameters(samples=2, of=("input", "output")))
    assert found["brightness"].flags == ["", ""]
    with pytest.raises(InputError, match=r"set of: \[input, output\]"):
        ratios_of(plain, RelativeStabilityParameters(samples=2))

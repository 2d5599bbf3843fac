"""Features of equal value: removed in the random order of the image, whatever the position, batch and other methods."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from tests.metrics import textbook
from tests.metrics.engine_tools import NAMES, close, default, table
from vitfaith.metrics.evaluate import evaluate
from vitfaith.models.classifier import Classifier


def test_ties_are_removed_in_the_random_order_of_the_image(
    vit: Classifier, images: torch.Tensor, targets: torch.Tensor, image_ids: list[str]
) -> None:
    """Equal to a map without ties that says the same order, which the definition gives without the engine."""
    flat_but_one = torch.zeros(5, 4, 4)
    flat_but_one[:, 3, 3] = 1
    distinct = torch.zeros(5, 16)
    for index, image_id in enumerate(image_ids):
        order = textbook.order_of(flat_but_one[index].numpy(), image_id, seed=7)
        distinct[index, order] = torch.arange(16.0, 0, -1)
    metrics = {name: default(name) for name in ("pixel_flipping", "deletion_auc", "insertion_auc")}
    maps = {"ties": flat_but_one, "none": distinct.reshape(5, 4, 4)}
    scores = table(evaluate(vit, images, targets, image_ids, maps, metrics, seed=7))
    for image_id, metric in itertools.product(image_ids, metrics):
        assert scores[image_id, "ties", metric, ""] == scores[image_id, "none", metric, ""]


def test_a_map_of_ties_scores_as_a_random_one(vit: Classifier, images: torch.Tensor, targets: torch.Tensor) -> None:
    """A map of one value but for its last cell is a random order: averaged over images it scores as random maps do.

    By position it would take the upper left corner first, which this model, asked about an image that is dark but
    there, notices.
    """
    count = 300
    corner = torch.zeros(count, 3, 16, 16)
    corner[:, :, :4, :4] = images[0, :, :4, :4]
    ids = [f"copy-{i}" for i in range(count)]
    tied = torch.zeros(count, 4, 4)
    tied[:, 3, 3] = -1e-9
    generator = torch.Generator().manual_seed(0)
    random = torch.stack([torch.randperm(15, generator=generator) for _ in range(count)]).float() + 1
    free = torch.nn.functional.pad(random, (0, 1)).reshape(count, 4, 4)
    position = torch.arange(16.0, 0, -1).reshape(1, 4, 4).repeat(count, 1, 1)
    maps = {"tied": tied, "random": free, "position": position}
    metrics = {"deletion": default("deletion_auc")}
    frame = evaluate(vit, corner, targets[:1].repeat(count), ids, maps, metrics, seed=1).scores.to_pandas()
    values = {method: part.value.to_numpy() for method, part in frame.groupby("method")}
    error = np.hypot(values["tied"].std() / count**0.5, values["random"].std() / count**0.5)
    gap = {method: abs(values[method].mean() - values["random"].mean()) for method in ("tied", "position")}
    assert gap["tied"] < 3 * error
    assert gap["position"] > 6 * error, "the order by position is another one, so the test can fail"


def test_scores_of_ties_depend_on_the_seed_and_the_image_alone(
    vit: Classifier, images: torch.Tensor, targets: torch.Tensor, image_ids: list[str]
) -> None:
    generator = torch.Generator().manual_seed(6)
    maps = {name: torch.randint(0, 3, (5, 4, 4), generator=generator).float() for name in ("a", "b")}
    metrics = {name: default(name) for name in NAMES}
    one = table(evaluate(vit, images, targets, image_ids, maps, metrics, labels=targets, seed=7, batch_size=200))
    for change in ({"batch_size": 3}, {"maps": {"b": maps["b"]}}, {"maps": {"b": maps["b"], "c": maps["a"]}}):
        settings = {"maps": maps, "batch_size": 64} | change
        again = table(evaluate(vit, images, targets, image_ids, metrics=metrics, labels=targets, seed=7, **settings))
        same = {key: value for key, value in again.items() if key[1] in ("a", "b")}
        close(same, {key: one[key] for key in same})
        if "c" in settings["maps"]:
            renamed = {(i, "a", *rest): value for (i, method, *rest), value in again.items() if method == "c"}
            close(renamed, {key: one[key] for key in renamed})
    other = table(evaluate(vit, images, targets, image_ids, maps, metrics, labels=targets, seed=8))
    assert any(other[key] != value for key, value in one.items() if key[2] == "deletion_auc")

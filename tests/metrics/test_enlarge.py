"""Maps at pixels: cells repeated or bilinear, and for each method as the released code of Vision DiffMask has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.metrics import textbook
from tests.metrics.oracles.base import batch
from tests.workflow.conftest import ROOT
from vitfaith import rng
from vitfaith.errors import InputError
from vitfaith.metrics.engine.enlarge import REPEATED, enlarged
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.models.patches import Patches
from vitfaith.registries import REGISTRIES
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan
from vitfaith.study.specs import score_spec

SEED = 5
EXPLAINERS = {"rolled": "attention_rollout", "learned": "diffmask", "cam": "token_gradcam", "mm": "transformer_mm"}


def repeat(cells: np.ndarray, height: int, width: int) -> np.ndarray:
    result = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            result[y, x] = cells[y * cells.shape[0] // height, x * cells.shape[1] // width]
    return result


def scores(name: str, explainers: dict[str, str] | None = None, **settings: Any) -> dict[str, list[float]]:
    """Method → scores of the images, all methods with the same maps."""
    b = batch()
    maps = dict.fromkeys(EXPLAINERS, b.maps)
    chosen = {"m": METRICS.item(name, **settings)}
    extras = {} if explainers is None else {"explainers": explainers}
    frame = evaluate(
        b.classifier, b.images, b.targets, b.ids, maps, chosen, seed=SEED, labels=b.labels, extras=extras
    ).scores.to_pandas()
    return {method: part.set_index("image_id").value[b.ids].tolist() for method, part in frame.groupby("method")}


def test_repeated_cells_against_a_loop() -> None:
    maps = torch.rand(3, 4, 3, generator=torch.Generator().manual_seed(0))
    patches = Patches.even((4, 3), (10, 7))
    found = enlarged(maps, patches, torch.tensor([True, False, True]))
    for index, loop in enumerate((repeat, textbook.bilinear, repeat)):
        np.testing.assert_allclose(found[index].numpy(), loop(maps[index].numpy(), 10, 7), rtol=1e-5)
    assert torch.equal(enlarged(found, patches, torch.tensor([True, False, True])), found)


@pytest.mark.parametrize("order", ["positive", "negative"])
@pytest.mark.parametrize("upsampling", ["bilinear", "nearest", "official"])
def test_table_1_by_its_definition_for_each_method(order: str, upsampling: Any) -> None:
    """Sixteen steps of sixteen pixels: with repeated cells a whole patch each, so that equal values do not matter."""
    b = batch()
    found = scores(f"diffmask_{order}_nll", EXPLAINERS, steps=16, upsampling=upsampling)
    counts = [16 * i for i in range(17)]
    for method, explainer in EXPLAINERS.items():
        blocky = upsampling == "nearest" or (
            upsampling == "official" and explainer in ("attention_rollout", "diffmask")
        )
        for index in range(2):
            noise = rng.uniform(SEED, [b.ids[index]], "fill-noise", b.images[index].shape)[0]
            pixels = (repeat if blocky else textbook.bilinear)(b.maps[index].numpy(), 16, 16)
            ranked = textbook.order_of(pixels, b.ids[index], SEED)
            ranked = ranked if order == "positive" else ranked[::-1]
            curve = textbook.curve(b.classifier, b.images[index], ranked, counts, noise, None)
            nll = [-step[int(b.targets[index])] for step in curve]
            expected = textbook.trapezoid(nll, list(range(17)))
            assert found[method][index] == pytest.approx(expected, rel=5e-6)


def test_the_choice_moves_what_it_should() -> None:
    plain, official = (
        scores("kl_auc_morf", EXPLAINERS, level="pixel", fill="noise", steps=28, upsampling=choice)
        for choice in ("bilinear", "official")
    )
    for method, explainer in EXPLAINERS.items():
        assert (plain[method] == official[method]) == (explainer not in REPEATED)


def test_an_explainer_that_is_not_told_is_an_error() -> None:
    with pytest.raises(
        InputError, match=r"explainer of a map, and the explainer of 'rolled' is unknown; pass evaluate\(extras="
    ):
        scores("diffmask_positive_nll", upsampling="official")
    with pytest.raises(ValueError, match="upsampling 'nearest' needs pixels; set level: pixel too"):
        METRICS["kl_auc_morf"].parameters(upsampling="nearest")


def test_the_repeated_ones_are_explainers() -> None:
    assert {entry.name for entry in REGISTRIES["explainers"]} >= REPEATED


def test_a_score_job_is_told_the_explainers_of_its_maps_where_a_metric_asks() -> None:
    raw = read_yaml(ROOT / "config" / "diffmask.yaml")
    job = ("fashion_mnist", "vit_patch4", "clean", "none", "clean_prediction", "one_pass", "0")
    spec = score_spec(Plan(load_study(raw)), *job)
    assert spec["explainers"]["rollout_discard"] == "attention_rollout"
    assert spec["explainers"]["diffmask_official"] == "diffmask"
    for metric in raw["metrics"].values():
        metric.pop("upsampling", None)
    assert "explainers" not in score_spec(Plan(load_study(raw)), *job)

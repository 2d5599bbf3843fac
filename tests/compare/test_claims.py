"""The claims of docs/robustness.md on made-up tables whose answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import robustness
import robustness_run
from robustness_claims import (
    OLDER,
    certificates_cover,
    dds_keeps,
    diffmask_faithful,
    localisation_follows,
    older_fail,
    raise_saco,
    random_is_zero,
)
from robustness_reading import NotComparedError

IMAGES = [f"image-{number:02}" for number in range(40)]


def scores(metric: str, means: dict[str, float], spread: float = 0.05) -> pd.DataFrame:
    """Scores of each method around its mean; the noise of a method is its own, and has mean 0."""
    generator = np.random.default_rng(len(metric))
    noise = {method: generator.normal(0, spread, len(IMAGES)) for method in means}
    rows = [
        (image, method, metric, mean + noise[method][place] - noise[method].mean())
        for method, mean in means.items()
        for place, image in enumerate(IMAGES)
    ]
    return pd.DataFrame(rows, columns=["image_id", "method", "metric", "value"])


@pytest.mark.parametrize(
    ("mean", "spread", "state"),
    [(0.0, 0.05, "survives"), (0.05, 0.05, "survives"), (0.2, 0.05, "contradicted"), (-0.2, 0.05, "contradicted"), (0.0, 0.9, "open")],
)  # fmt: skip
def test_random_is_near_zero(mean: float, spread: float, state: str) -> None:
    """A wide interval around 0 leaves the claim open: it does not say that the mean is near 0."""
    found = random_is_zero(scores("saco", {"random": mean, "other": 0.9}, spread))
    assert (found.state, found.n) == (state, len(IMAGES))
    assert found.number == pytest.approx(mean, abs=1e-12)


@pytest.mark.parametrize(
    ("gain", "share", "state"), [(0.0, 1.0, "survives"), (0.5, 0.0, "contradicted"), (-0.5, 1.0, "survives")]
)
def test_older_metrics_fail(gain: float, share: float, state: str) -> None:
    """Where SaCo separates both methods, the share counts the tests of older metrics without a gain, in their own direction."""
    parts = [scores("saco", {"random": 0.0, "a": 0.5, "b": 0.4})]
    for metric, sign in OLDER.items():
        parts.append(scores(metric, {"random": 0.5, "a": 0.5 + sign * gain, "b": 0.5 + sign * gain}))
    found = older_fail(pd.concat(parts))
    assert found.number == pytest.approx(share)
    assert found.state == state
    assert found.remark.startswith("separated of 2: saco 2, deletion_auc ")


def test_a_metric_separates_by_ranks_and_not_by_rounding() -> None:
    """A mean that few images raise is no gain where most lose; nor is a gain below the precision of scores."""
    few = scores("aopc", {"random": 0.0, "a": 0.0}, 0.0)
    few.loc[few["method"] == "a", "value"] = [4.0] * 5 + [-0.1] * 35
    tiny = [
        scores(metric, {"random": 0.5, "a": 0.5 + sign * 1e-9}, 0.0)
        for metric, sign in OLDER.items()
        if metric != "aopc"
    ]
    found = older_fail(pd.concat([scores("saco", {"random": 0.0, "a": 0.5}), few, *tiny]))
    assert found.number == 1.0
    assert found.remark == "separated of 1: saco 1, deletion_auc 0, insertion_auc 0, aopc 0, log_odds 0"


def test_older_metrics_cannot_fail_where_saco_separates_nothing() -> None:
    names = {"random": 0.5, "a": 0.5}
    found = older_fail(pd.concat([scores(metric, names) for metric in ("saco", *OLDER)]))
    assert np.isnan(found.number)
    assert found.state == "undefined"


@pytest.mark.parametrize(
    ("gradients", "layers", "decides"), [(0.3, 0.1, "layers"), (0.1, 0.3, "gradients"), (-0.2, 0.3, "gradients")]
)
def test_gradients_and_layers(gradients: float, layers: float, decides: str) -> None:
    """The smaller of the two main effects decides."""
    means = {"raw_attention": 0.1, "attention_gradcam": 0.1 + gradients, "rollout": 0.1 + layers}
    found = raise_saco(scores("saco", {**means, "transformer_mm": 0.1 + gradients + layers}))
    assert found.remark == decides
    assert found.number == pytest.approx(min(gradients, layers), abs=1e-12)
    assert found.state == ("survives" if min(gradients, layers) > 0 else "contradicted")


def test_a_claim_needs_values_of_its_own_methods_alone() -> None:
    """A method that is not compared in the tables of a run decides no claim, and costs other claims no images."""
    table = scores(
        "saco",
        {
            "random": 0.0,
            "diffmask": 0.01,
            "rare": 0.5,
            **dict.fromkeys(("raw_attention", "rollout", "transformer_mm"), 0.1),
        },
    )
    table = pd.concat([table, scores("saco", {"attention_gradcam": 0.4})])
    for method, known in (("rare", 5), ("attention_gradcam", 8)):
        table.loc[(table["method"] == method) & table["image_id"].isin(IMAGES[known:]), "value"] = np.nan
    found = diffmask_faithful(table, {"mean": "saco"})
    assert (found.n, found.number) == (len(IMAGES), pytest.approx(0.01))
    with pytest.raises(NotComparedError, match="attention_gradcam has values on 20 % of the images"):
        raise_saco(table)
    told = dict(robustness_run._run({"seed": lambda: raise_saco(table)}))["seed"]
    assert told.state == "undefined"
    assert robustness.cell("raise", "seed", {"seed": told}) == "not compared"


def attacked(changed: dict[str, int], overlap: dict[str, float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The attack changes the prediction of the first ``changed`` images behind each smoothing."""
    predictions = [
        (image, attack, smoothing, int(attack == "pgd" and place < changed[smoothing]))
        for place, image in enumerate(IMAGES)
        for attack in ("clean", "pgd")
        for smoothing in ("dds", "none")
    ]
    top = [
        (image, method, smoothing, 1.0 if method == "random" else overlap[smoothing] + 0.01 * (place % 3))
        for place, image in enumerate(IMAGES)
        for method in ("random", "rollout")
        for smoothing in ("dds", "none")
    ]
    return (
        pd.DataFrame(predictions, columns=["image_id", "attack", "smoothing", "prediction"]),
        pd.DataFrame(top, columns=["image_id", "method", "smoothing", "value"]),
    )


def test_dds_keeps_predictions_and_top_patches() -> None:
    kept = dds_keeps(*attacked({"dds": 4, "none": 30}, {"dds": 0.9, "none": 0.5}))
    assert kept.state == "survives"
    assert (kept.remark, kept.number) == ("top patches", pytest.approx(0.4))
    lost = dds_keeps(*attacked({"dds": 4, "none": 4}, {"dds": 0.9, "none": 0.5}))
    assert lost.state == "open"
    assert (lost.remark, lost.number) == ("predictions", 0)
    assert dds_keeps(*attacked({"dds": 4, "none": 30}, {"dds": 0.5, "none": 0.5})).state == "open"
    assert dds_keeps(*attacked({"dds": 30, "none": 4}, {"dds": 0.9, "none": 0.5})).state == "contradicted"


def test_the_gain_of_top_patches_is_paired_by_method() -> None:
    """Two methods with the same overlap in both conditions gain nothing, whichever of their values are missing."""
    predictions, _ = attacked({"dds": 4, "none": 30}, {"dds": 0.9, "none": 0.5})
    rows = [
        (image, method, smoothing, value)
        for place, image in enumerate(IMAGES)
        for method, value in (("a", 0.9), ("b", 0.1))
        for smoothing in ("dds", "none")
        if not (method == "b" and smoothing == "dds" and place < 20)
    ]
    found = dds_keeps(predictions, pd.DataFrame(rows, columns=["image_id", "method", "smoothing", "value"]))
    assert (found.remark, found.number) == ("top patches", 0.0)


def test_an_image_without_a_prediction_is_not_changed() -> None:
    predictions, top = attacked({"dds": 0, "none": 0}, {"dds": 0.9, "none": 0.5})
    found = dds_keeps(predictions[(predictions["image_id"] > IMAGES[19]) | (predictions["attack"] == "clean")], top)
    assert (found.remark, found.number, found.n) == ("predictions", 0, 20)


def test_certificates_count_sound_radii_of_maps() -> None:
    rows = [(image, "rollout", True, 0.1 + 0.02 * place) for place, image in enumerate(IMAGES)]
    rows += [(image, "rollout", False, 9.0) for image in IMAGES] + [(image, "", True, 9.0) for image in IMAGES]
    table = pd.DataFrame(rows, columns=["image_id", "method", "sound", "radius"])
    found = certificates_cover(table, 0.5)
    assert found.number == pytest.approx(19 / 40)  # radii above .5: places 21 to 39, as the 20th's is .5
    assert found.state == "open"
    assert found.remark == "l2 0.50, largest radius 0.88"
    assert certificates_cover(table, 0.15).state == "survives"


def test_maps_without_a_sound_radius_are_not_covered() -> None:
    rows = [(image, "rollout", place < 10, 0.9) for place, image in enumerate(IMAGES)]
    table = pd.DataFrame(rows, columns=["image_id", "method", "sound", "radius"])
    assert (certificates_cover(table, 0.5).number, certificates_cover(table, 0.5).n) == (0.25, len(IMAGES))


def test_a_share_without_exception_has_an_interval() -> None:
    """Two maps of two are no proof that more than half of all are covered (Wilson's interval of 2 of 2 begins at .34)."""
    table = pd.DataFrame(
        [(image, "rollout", True, 0.9) for image in "ab"], columns=["image_id", "method", "sound", "radius"]
    )
    found = certificates_cover(table, 0.5)
    assert (found.number, found.high, found.state) == (1, 1, "open")
    assert found.low == pytest.approx(0.342, abs=1e-3)


def test_diffmask_needs_every_fill() -> None:
    good = scores("saco_noise", {"random": 0.0, "diffmask": 0.3})
    bad = scores("saco_placeholder", {"random": 0.0, "diffmask": 0.0})
    metrics = {"noise": "saco_noise", "placeholder": "saco_placeholder"}
    found = diffmask_faithful(pd.concat([good, bad]), metrics)
    assert (found.remark, found.state) == ("placeholder", "open")
    assert diffmask_faithful(good, {"noise": "saco_noise"}).number == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("order", "tau", "state"), [((1, 2, 3, 4), 1.0, "survives"), ((4, 3, 2, 1), -1.0, "contradicted")]
)
def test_localisation_follows(order: tuple[int, ...], tau: float, state: str) -> None:
    """Random maps are in neither order."""
    methods = ("a", "b", "c", "d")
    means = {method: place / 5 for method, place in zip(methods, order, strict=True)}
    truth = scores("auroc", {**dict(zip(methods, (0.2, 0.4, 0.6, 0.8), strict=True)), "random": 0.9})
    found = localisation_follows(pd.concat([scores("saco", {**means, "random": 0.0}), truth]), "auroc")
    assert (found.number, found.state, found.n) == (tau, state, len(IMAGES))
    assert found.remark == "4 methods"


def test_a_method_with_few_values_does_not_cost_the_others_their_images() -> None:
    names = {"a": 0.1, "b": 0.2, "c": 0.3, "rare": 0.9}
    saco, truth = (scores(metric, names) for metric in ("saco", "auroc"))
    saco.loc[(saco["method"] == "rare") & saco["image_id"].isin(IMAGES[:20]), "value"] = np.nan
    found = localisation_follows(pd.concat([saco, truth]), "auroc")
    assert (found.n, found.number, found.remark) == (len(IMAGES), 1.0, "3 methods")


def test_images_of_a_cluster_are_resampled_together_and_weigh_as_images() -> None:
    """As in the tables of a run: the mean is over images, the interval over clusters."""
    sizes = [1, 3] * 6
    rows = [
        (f"{place}#{copy}", "random", "saco", float(size == 3), str(place))
        for place, size in enumerate(sizes)
        for copy in range(size)
    ]
    table = pd.DataFrame(rows, columns=["image_id", "method", "metric", "value", "cluster"])
    found = random_is_zero(table)
    assert (found.n, found.number) == (12, pytest.approx(18 / 24))
    alone = random_is_zero(table.drop(columns="cluster"))
    assert (alone.n, alone.number) == (24, found.number)
    assert found.high - found.low > 1.2 * (alone.high - alone.low)

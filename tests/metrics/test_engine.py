"""The engine: that batches, neighbours and order change no result; flags, the curve table, wrong arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import tiny_vit
from tests.metrics.engine_tools import NAMES, Recorder, close, default, table
from vitfaith.errors import ConfigError, InputError
from vitfaith.metrics.common import CurveParameters
from vitfaith.metrics.context import ScoreContext
from vitfaith.metrics.engine.engine import Engine, Preparation, merge
from vitfaith.metrics.engine.requests import Clean, Curve, EqualSteps, Features, Full, Groups, Stride
from vitfaith.metrics.engine.segments import ImageSegment, MaskSegment
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.fills.registry import FILLS
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier
from vitfaith.registry import Item

MEAN = FILLS.item("image_mean")


@pytest.fixture(scope="module")
def everything(
    vit: Classifier, images: torch.Tensor, targets: torch.Tensor, image_ids: list[str]
) -> tuple[dict, dict, dict]:
    generator = torch.Generator().manual_seed(3)
    maps = {name: torch.randn(5, 4, 4, generator=generator) for name in ("a", "b")}
    maps["b"][1] = 0.5
    maps["b"][2, 0, 0] = torch.inf
    metrics = {name: default(name) for name in NAMES}
    whole = evaluate(vit, images, targets, image_ids, maps, metrics, labels=targets, seed=7, batch_size=100)
    return maps, metrics, table(whole)


def test_every_image_method_metric_and_variant_has_a_row_also_when_flagged(
    everything: Any, image_ids: list[str]
) -> None:
    maps, metrics, scores = everything
    assert {key[:3] for key in scores} == {(i, m, n) for i in image_ids for m in maps for n in metrics}
    assert len(scores) == len(image_ids) * len(maps) * len(metrics)


def test_a_batch_is_a_stack_of_singles(
    vit: Classifier, images: torch.Tensor, targets: torch.Tensor, image_ids: list[str], everything: Any
) -> None:
    maps, metrics, whole = everything
    singles: dict[Any, Any] = {}
    for index in range(5):
        part = slice(index, index + 1)
        one = {name: values[part] for name, values in maps.items()}
        result = evaluate(
            vit, images[part], targets[part], image_ids[part], one, metrics, labels=targets[part], seed=7, batch_size=9
        )
        singles |= table(result)
    close(singles, whole)


def test_order_of_images_and_methods_does_not_matter(
    vit: Classifier, images: torch.Tensor, targets: torch.Tensor, image_ids: list[str], everything: Any
) -> None:
    maps, metrics, whole = everything
    order = torch.tensor([3, 0, 4, 2, 1])
    turned = {name: maps[name][order] for name in reversed(maps)}
    ids = [image_ids[i] for i in order]
    result = evaluate(
        vit, images[order], targets[order], ids, turned, metrics, labels=targets[order], seed=7, batch_size=64
    )
    close(table(result), whole)


def test_metrics_do_not_change_each_other(
    vit: Classifier, images: torch.Tensor, targets: torch.Tensor, image_ids: list[str], everything: Any
) -> None:
    maps, metrics, whole = everything
    for name in ("saco", "sufficiency", "road_lerf"):
        alone = evaluate(
            vit, images, targets, image_ids, maps, {name: metrics[name]}, labels=targets, seed=7, batch_size=64
        )
        close(table(alone), {key: value for key, value in whole.items() if key[2] == name})


def test_only_the_order_of_the_map_matters_to_curves(
    vit: Classifier, images: torch.Tensor, targets: torch.Tensor, image_ids: list[str]
) -> None:
    """A positive affine change keeps all ranks, so every metric that looks at ranks alone, and SaCo, must not move."""
    generator = torch.Generator().manual_seed(4)
    maps = {"a": torch.randint(-512, 512, (5, 4, 4), generator=generator) / 64}
    metrics = {name: default(name) for name in NAMES}
    before = evaluate(vit, images, targets, image_ids, maps, metrics, labels=targets)
    after = evaluate(vit, images, targets, image_ids, {"a": 4 * maps["a"] + 16}, metrics, labels=targets)
    close(table(after), table(before))


def test_least_relevant_first_at_k_is_insertion_at_p_minus_k(context: ScoreContext) -> None:
    grid, features = Stride(1), Features("patch")
    lerf = Curve("lerf", features, MEAN, grid)
    reversed_context = ScoreContext(**{**context.__dict__, "maps": -context.maps})
    removed = Engine(context, 64).answer([lerf])[lerf].log_probability
    # Deleting what the negated map ranks first leaves the same features in place.
    morf = Curve("morf", features, MEAN, grid)
    deleted = Engine(reversed_context, 64).answer([morf])[morf].log_probability
    assert torch.allclose(removed, deleted, atol=1e-6)
    # Insertion by hand: start from the filled image and put the k best patches back.
    ranks = context.maps.flatten(2).argsort(dim=2, descending=True, stable=True).argsort(2)
    for k in (0, 3, 11, 16):
        keep = (ranks < k).reshape(5, 3, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
        grey = context.images.mean((1, 2, 3), keepdim=True)
        inserted = torch.where(keep[:, 1, None], context.images, grey)
        with torch.no_grad():
            expected = context.classifier(inserted).log_softmax(1).gather(1, context.targets[:, None])[:, 0]
        assert torch.allclose(removed[:, 1, 16 - k].float(), expected, atol=1e-5)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_works_inside_any_gradient_mode_and_leaves_the_model_alone(
    vit: Classifier,
    images: torch.Tensor,
    targets: torch.Tensor,
    image_ids: list[str],
    maps: dict[str, torch.Tensor],
    mode: str,
) -> None:
    before = {name: value.clone() for name, value in vit.state_dict().items()}
    with mode():
        result = evaluate(vit, images.clone(), targets.clone(), image_ids, maps, {"saco": default("saco")})
    assert np.isfinite(result.scores.column("value").to_numpy()).all()
    assert all(torch.equal(before[name], value) for name, value in vit.state_dict().items())
    assert not vit.training
    assert not any(p.requires_grad for p in vit.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in vit.modules())


def test_bfloat16_model(
    images: torch.Tensor, targets: torch.Tensor, image_ids: list[str], maps: dict[str, torch.Tensor]
) -> None:
    half = tiny_vit().to(torch.bfloat16)
    metrics = {"auc": default("deletion_auc"), "saco": default("saco")}
    low = table(evaluate(half, images, targets, image_ids, maps, metrics))
    high = table(evaluate(tiny_vit(), images, targets, image_ids, maps, metrics))
    for key, value in high.items():
        if key[2] == "auc":
            assert low[key] == pytest.approx(value, rel=0.05)
        assert np.isfinite(low[key])


# ---- flags ----------------------------------------------------------------------------------------------------------


def test_flags(
    vit: Classifier, images: torch.Tensor, targets: torch.Tensor, image_ids: list[str], maps: dict[str, torch.Tensor]
) -> None:
    maps["a"][0] = 0.25
    maps["a"][1, 2, 2] = torch.nan
    maps["a"][2, 2, 2] = -torch.inf
    result = evaluate(vit, images, targets, image_ids, maps, {"auc": default("deletion_auc")})
    rows = {(r["image_id"], r["method"]): r for r in result.scores.to_pylist()}
    assert [rows[i, "a"]["flag"] for i in image_ids] == ["constant", "nan", "nan", "", ""]
    assert [np.isnan(rows[i, "a"]["value"]) for i in image_ids] == [True, True, True, False, False]
    assert all(rows[i, "b"]["flag"] == "" for i in image_ids)
    curves = [r for r in result.curves.to_pylist() if (r["image_id"], r["method"]) == (image_ids[1], "a")]
    assert len(curves) == 11
    assert all(np.isnan(r["probability"]) and r["prediction"] == -1 for r in curves)


def test_a_model_that_answers_nan_is_flagged_undefined(
    images: torch.Tensor, targets: torch.Tensor, image_ids: list[str], maps: dict[str, torch.Tensor]
) -> None:
    class Broken(Recorder):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images) * torch.nan

    metrics = {name: default(name) for name in ("saco", "deletion_auc", "accuracy_auc")}
    result = evaluate(Broken(), images, targets, image_ids, maps, metrics, labels=targets)
    assert set(result.scores.column("flag").to_pylist()) == {"undefined"}
    assert np.isnan(result.scores.column("value").to_numpy()).all()


def test_infinite_logits_of_other_classes_do_not_spoil_the_divergence(
    images: torch.Tensor, targets: torch.Tensor, image_ids: list[str], maps: dict[str, torch.Tensor]
) -> None:
    class Certain(Recorder):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = super().forward(images)
            logits[:, 2] = -torch.inf
            return logits

    result = evaluate(Certain(), images, targets, image_ids, maps, {"kl": default("kl_auc_morf")})
    assert np.isfinite(result.scores.column("value").to_numpy()).all()


# ---- the curve table ------------------------------------------------------------------------------------------------


def test_curve_table(
    vit: Classifier, images: torch.Tensor, targets: torch.Tensor, image_ids: list[str], maps: dict[str, torch.Tensor]
) -> None:
    metrics = {"auc": default("abpc"), "saco": default("saco")}
    result = evaluate(vit, images, targets, image_ids, maps, metrics)
    frame = result.curves.to_pandas()
    assert set(frame.curve) == {"morf", "lerf", "groups"}
    assert set(frame.variant) == {"patch image_mean steps=10", "patch image_mean k=10"}
    assert len(frame) == 5 * 3 * (11 + 11 + 10)
    one = frame[(frame.image_id == "image-2") & (frame.method == "b") & (frame.curve == "morf")]
    assert one.step.tolist() == list(range(11))
    assert one.fraction.tolist() == pytest.approx([i * 16 // 10 / 16 for i in range(11)])
    with torch.no_grad():
        clean = vit(images).softmax(1)
    assert one.probability.iloc[0] == pytest.approx(float(clean[2, targets[2]]), abs=1e-6)
    assert one.prediction.iloc[0] == int(clean[2].argmax())
    assert one.kl.iloc[0] == 0
    assert np.allclose(np.log(frame.probability), frame.log_probability, atol=1e-4)
    assert (frame.kl >= 0).all()
    groups = frame[(frame.image_id == "image-2") & (frame.method == "b") & (frame.curve == "groups")]
    assert groups.fraction.sum() == pytest.approx(1)
    ends = frame[(frame.curve != "groups") & (frame.fraction == 1)]
    assert ends.groupby("image_id").probability.nunique().tolist() == [1] * 5, "the full end is one image for all"


def test_empty_batch_gives_empty_tables(vit: Classifier, image_ids: list[str]) -> None:
    nothing = torch.zeros(0, 3, 16, 16)
    result = evaluate(
        vit, nothing, torch.zeros(0, dtype=torch.int64), [], {"a": torch.zeros(0, 4, 4)}, {"s": default("saco")}
    )
    assert (result.scores.num_rows, result.curves.num_rows, result.forwards) == (0, 0, 0)


# ---- requests of other shapes ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SinglePatches:
    """Each patch removed alone, for every image."""

    def segment(self, context: ScoreContext) -> MaskSegment:
        shared = Preparation(context)
        masks = torch.eye(16, dtype=torch.bool).repeat(len(context.images), 1)
        image = torch.arange(len(context.images)).repeat_interleave(16)
        return MaskSegment(context, shared.ranking(Features("patch")), shared.filling(MEAN), masks, image)


@dataclass(frozen=True)
class Brightened:
    """Images times a factor."""

    factor: float

    def segment(self, context: ScoreContext) -> ImageSegment:
        index = torch.arange(len(context.images))
        return ImageSegment(index, lambda start, stop: context.images[start:stop] * self.factor)


def test_requests_without_a_ranking_join_the_same_stream(context: ScoreContext) -> None:
    engine = Engine(context, 16)
    groups = Groups(16, Features("patch"), MEAN)
    answers = engine.answer([SinglePatches(), Brightened(0.5), Clean(), Full(MEAN), groups, SinglePatches()])
    assert engine.forwards == 5 * (16 + 1 + 1 + 1 + 3 * 16)
    single = answers[SinglePatches()].probability.reshape(5, 16)
    order = context.maps[:, 0].flatten(1).argsort(1, descending=True)
    assert torch.allclose(single.gather(1, order), answers[groups].probability[:, 0], atol=1e-6)
    with torch.no_grad():
        dark = context.classifier(context.images * 0.5).double().softmax(1)
    assert torch.allclose(
        answers[Brightened(0.5)].probability, dark.gather(1, context.targets[:, None])[:, 0], atol=1e-6
    )
    assert answers[Clean()].kl.abs().max() == 0


def test_merge_recognises_equal_intervals() -> None:
    features = Features("patch")
    morf, lerf = (Curve(order, features, MEAN, EqualSteps(4)) for order in ("morf", "lerf"))
    merged = merge([morf, lerf, Groups(4, features, MEAN), Groups(4, features, MEAN, "sum")], [16, 16], ["a", "b"], 0)
    pairs = set(zip(merged.image.tolist(), merged.low.tolist(), merged.high.tolist(), strict=True))
    expected = {(0, 0), (0, 4), (0, 8), (0, 12), (0, 16), (4, 16), (8, 16), (12, 16), (4, 8), (8, 12)}
    assert pairs == {(image, *pair) for image in (0, 1) for pair in expected}
    assert merged.is_clean.sum() == 2
    assert merged.is_full.sum() == 2


def test_images_with_different_numbers_of_features_are_padded() -> None:
    merged = merge([Curve("lerf", Features("superpixel", 9), MEAN, Stride(1))], [2, 4], ["a", "b"], 0)
    (rows,) = merged.row.values()
    assert (rows < 0).tolist() == [[False] * 3 + [True] * 2, [False] * 5]


# ---- wrong arguments ------------------------------------------------------------------------------------------------


def test_errors_name_the_argument(
    vit: Classifier, images: torch.Tensor, targets: torch.Tensor, image_ids: list[str], maps: dict[str, torch.Tensor]
) -> None:
    saco = {"s": default("saco")}
    with pytest.raises(InputError, match=r"maps\['a'\].*\(5, rows, columns\)"):
        evaluate(vit, images, targets, image_ids, {"a": torch.rand(4, 4, 4)}, saco)
    with pytest.raises(
        InputError, match="maps of 'z' are 2×2, the model's patch grid is 4×4 and its images are 16×16; give maps of"
    ):
        evaluate(vit, images, targets, image_ids, maps | {"z": torch.rand(5, 2, 2)}, saco)
    with pytest.raises(InputError, match="targets lie in"):
        evaluate(vit, images, targets + 3, image_ids, maps, saco)
    with pytest.raises(InputError, match="targets must be integers"):
        evaluate(vit, images, targets.float(), image_ids, maps, saco)
    with pytest.raises(InputError, match="different names"):
        evaluate(vit, images, targets, ["x"] * 5, maps, saco)
    with pytest.raises(InputError, match="not in \\[0, 1\\]"):
        evaluate(vit, images * 2, targets, image_ids, maps, saco)
    with pytest.raises(InputError, match="truth has shape"):
        evaluate(vit, images, targets, image_ids, maps, saco, truth=torch.zeros(5, 4, 4))
    with pytest.raises(InputError, match="batch_size is 0"):
        evaluate(vit, images, targets, image_ids, maps, saco, batch_size=0)
    with pytest.raises(InputError, match=r"steps=17.*at most 16"):
        evaluate(vit, images, targets, image_ids, maps, {"a": METRICS.item("aopc", steps=17)})
    with pytest.raises(ConfigError, match=r"unknown metric 'sacco'.*did you mean 'saco'"):
        evaluate(vit, images, targets, image_ids, maps, {"s": METRICS.item("sacco")})
    with pytest.raises(ConfigError, match="'s': parameters are CurveParameters, but 'saco' takes SacoParameters"):
        evaluate(vit, images, targets, image_ids, maps, {"s": Item(METRICS["saco"], CurveParameters(), "s")})
    with pytest.raises(ConfigError, match="needs labels"):
        evaluate(vit, images, targets, image_ids, maps, {"c": default("chefer_positive")})


def test_a_model_in_training_mode_is_refused(
    images: torch.Tensor, targets: torch.Tensor, image_ids: list[str], maps: dict[str, torch.Tensor]
) -> None:
    training = tiny_vit()
    training.train()
    with pytest.raises(InputError, match="training mode"):
        evaluate(training, images, targets, image_ids, maps, {"s": default("saco")})


def test_curve_table_leaves_padding_out(
    vit: Classifier, images: torch.Tensor, targets: torch.Tensor, image_ids: list[str], maps: dict[str, torch.Tensor]
) -> None:
    plain = images.clone()
    plain[0] = 0.5
    plain[0, :, :, 8:] = 0.1  # fewer superpixels than noise has
    result = evaluate(vit, plain, targets, image_ids, {"a": maps["a"]}, {"irof": default("irof")})
    frame = result.curves.to_pandas().drop(columns="salience")  # of groups alone
    steps = frame.groupby("image_id").step.max()
    assert steps.nunique() > 1
    assert (frame.groupby("image_id").size() == steps + 1).all()
    assert frame.notna().all().all()
    assert (frame.groupby("image_id").fraction.max() == 1).all()
    assert np.isfinite(result.scores.column("value").to_numpy()).all()

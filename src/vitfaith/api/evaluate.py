"""Scores of maps in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vitfaith.api.inputs import Target, batch_size_of, classes_of, ids_of, images_of, ready, seed_of, targets_of
from vitfaith.api.items import Choices, items_of
from vitfaith.api.maps import Maps, named_maps, tensor_of
from vitfaith.errors import InputError
from vitfaith.metrics.engine.enlarge import EXPLAINERS_EXTRA
from vitfaith.metrics.evaluate import evaluate as evaluate_maps
from vitfaith.models.precision import Precision

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Evaluation:
    """The result of :func:`evaluate`.

    Attributes:
        scores: image_id, method, metric, variant, value, flag, target (the explained class); one row for each image, method,
            metric and variant.
        curves: the model's answers along each ranking: image_id, method, curve, variant, step, fraction, probability,
            log_probability, kl, prediction, salience.
        forwards: number of images that went through the model.
        batch_size: the batch size at the end; smaller than at the start if memory ran out.
    """

    scores: DataFrame
    curves: DataFrame
    forwards: int
    batch_size: int


def evaluate(
    model: nn.Module,
    images: Tensor,
    maps: Mapping[str, Tensor],
    metrics: Choices,
    *,
    target: Target | None = None,
    labels: Tensor | Sequence[int] | None = None,
    truth: Tensor | None = None,
    extras: Mapping[str, Any] | None = None,
    precision: Precision = "float32",
    image_ids: Sequence[str] | None = None,
    seed: int | None = None,
    batch_size: int | None = None,
) -> Evaluation:
    """Scores and curves of every map by every metric, from one set of the model's answers, as the workflow computes them.

    Args:
        model, images, image_ids, batch_size: see :func:`vitfaith.explain`.
        maps: method → (B, rows, columns) on the model's grid, or (B, H, W); from :func:`vitfaith.explain`, or yours.
            Larger values mean more important.
        metrics: names from the section metrics, in the form of ``explainers`` of :func:`vitfaith.explain`.
        target: the explained classes; default: the classes of ``maps``, else the predicted classes.
        labels: (B,) true classes in 0 … K − 1, for metrics that need them.
        truth: (B, H, W) segmentation, for metrics that need one: bool, or int8 with 1 object, 0 background, −1 ignored.
        extras: further inputs by name: ``denoiser`` for the fill ``diffusion``, ``infill`` for the fill ``given``.
        precision: float32, tf32 or bfloat16, for the forward passes.
        seed: key of all random numbers; default: the seed of ``maps``, else 0.

    Raises:
        ConfigError: unknown metric, wrong settings, or a missing input of a metric.
        InputError: arguments do not fit each other or the model; ``target``, ``image_ids`` or ``seed`` contradict ``maps``.

    Source: each metric's own (:func:`vitfaith.describe`).

    Example:
        >>> import timm, torch, vitfaith as vf
        >>> model = vf.wrap(timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2, num_classes=10))
        >>> images = torch.rand(2, 3, 64, 64)
        >>> maps = vf.explain(model, images, ["attention_rollout", "random"])
        >>> found = vf.evaluate(model, images, maps | {"mine": torch.rand(2, 4, 4)}, ("saco", {"groups": [4]}))
        >>> list(found.scores["method"].unique())
        ['attention_rollout', 'random', 'mine']
    """
    asked = items_of("metrics", metrics)
    named = named_maps(maps)
    pixels = images_of(images)
    with ready(model, pixels) as classifier:
        size = batch_size_of(classifier, batch_size, backward=False)
        told = maps if isinstance(maps, Maps) else None
        if told is not None and len(told.image_ids) != len(pixels):
            raise InputError(
                f"the maps are of {len(told.image_ids)} images, but images hold {len(pixels)}; give the images that were "
                "explained, or explain these"
            )
        ids = ids_of(pixels, image_ids) if told is None or image_ids is not None else told.image_ids
        number = (told.seed if told is not None else 0) if seed is None else seed_of(seed)
        if told is None or target is not None:
            targets = targets_of("prediction" if target is None else target, classifier, pixels, labels, size)
        else:
            targets = told.target
        if told is not None:
            _check_agreement(told, ids, targets, number)
        known = {EXPLAINERS_EXTRA: told.explainers} if told is not None and told.explainers else {}
        result = evaluate_maps(
            classifier,
            pixels,
            targets,
            ids,
            named,
            asked,
            seed=number,
            batch_size=size,
            labels=None if labels is None else classes_of("labels", labels, len(pixels)),
            truth=None if truth is None else tensor_of("truth", truth),
            extras={**known, **(extras or {})},
            precision=precision,
            raw_maps=None if told is None else told.raw,
        )
    scores = result.scores.to_pandas()
    scores["target"] = scores["image_id"].map(dict(zip(ids, targets.tolist(), strict=True))).astype("int64")
    return Evaluation(scores, result.curves.to_pandas(), result.forwards, result.batch_size)


def score(
    model: nn.Module,
    images: Tensor,
    maps: Mapping[str, Tensor],
    metrics: Choices,
    *,
    target: Target | None = None,
    labels: Tensor | Sequence[int] | None = None,
    truth: Tensor | None = None,
    extras: Mapping[str, Any] | None = None,
    precision: Precision = "float32",
    image_ids: Sequence[str] | None = None,
    seed: int | None = None,
    batch_size: int | None = None,
) -> DataFrame:
    """Only the scores; arguments and errors as in :func:`evaluate`.

    Returns:
        Columns image_id, method, metric, variant ("" where a metric has one read-out), value (NaN where flagged), flag
        ("" or why there is no value: "nan", "constant", "undefined" …) and target (the explained class).

    Example:
        >>> import timm, torch, vitfaith as vf
        >>> model = vf.wrap(timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2, num_classes=10))
        >>> images = torch.rand(2, 3, 64, 64)
        >>> scores = vf.score(model, images, vf.explain(model, images, "saliency"), ["single_deletion_score", "entropy"])
        >>> bool(scores["value"].notna().all())
        True
    """
    return evaluate(
        model,
        images,
        maps,
        metrics,
        target=target,
        labels=labels,
        truth=truth,
        extras=extras,
        precision=precision,
        image_ids=image_ids,
        seed=seed,
        batch_size=batch_size,
    ).scores


def _check_agreement(maps: Maps, image_ids: Sequence[str], target: Tensor, seed: int) -> None:
    """Raise :class:`InputError` where what the caller says differs from what the maps were made with."""
    same = {
        "image_ids": list(image_ids) == maps.image_ids,
        "target": torch.equal(target, maps.target),
        "seed": seed == maps.seed,
    }
    for name, agrees in same.items():
        if not agrees:
            raise InputError(
                f"{name} differs from the {name} of the maps; leave it out, or explain the images again with it"
            )

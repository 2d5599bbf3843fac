"""Scores of a batch of images: all metrics for all methods in one pass of the engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vitfaith.errors import ConfigError, InputError
from vitfaith.lazy import np, pa, torch
from vitfaith.map_values import map_flags
from vitfaith.metrics.arguments import check_maps, check_truth, checked_classes
from vitfaith.metrics.context import ScoreContext
from vitfaith.metrics.engine.requests import Curve, Groups
from vitfaith.metrics.engine.salience import map_salience
from vitfaith.models.precision import check_precision

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from vitfaith.metrics.context import Response
    from vitfaith.metrics.registry import Metric
    from vitfaith.models.classifier import Classifier
    from vitfaith.models.precision import Precision
    from vitfaith.registry import Item


@dataclass(frozen=True)
class Evaluation:
    """Result of :func:`evaluate`.

    Attributes:
        scores: schema ``SCORES``, one row for every (image, method, metric, variant).
        curves: schema ``CURVES``, one row for every (image, method, curve, variant, step).
        forwards: images that went through the classifier.
        batch_size: final batch size; smaller than requested if memory ran out.
    """

    scores: pa.Table
    curves: pa.Table
    forwards: int
    batch_size: int


def evaluate(
    classifier: Classifier,
    images: Tensor,
    targets: Tensor,
    image_ids: Sequence[str],
    maps: Mapping[str, Tensor],
    metrics: Mapping[str, Item],
    *,
    seed: int = 0,
    batch_size: int = 256,
    labels: Tensor | None = None,
    truth: Tensor | None = None,
    extras: Mapping[str, Any] | None = None,
    precision: Precision = "float32",
    raw_maps: Mapping[str, Tensor] | None = None,
) -> Evaluation:
    """Score every map with every metric.

    A map with NaN or infinite values is flagged "nan". A map whose values differ only by rounding is flagged "constant" (see
    :func:`vitfaith.map_values.map_flags`). Scores of flagged maps are NaN and cost no forward pass. Any other NaN score is
    flagged "undefined". Results do not depend on the other images and methods of the call, nor on ``batch_size``.

    Args:
        classifier: frozen model in evaluation mode.
        images: (B, C, H, W) float in [0, 1].
        targets: (B,) integer classes that the maps explain.
        image_ids: B different names; with ``seed`` they key every random number.
        maps: method id → (B, rows, columns) on the classifier's grid; or (B, H, W) per pixel, which metrics of patches sum
            over each patch. If both kinds are given, the clean images go through the classifier twice.
        metrics: id → metric; the id becomes the column ``metric``.
        batch_size: maximum number of images in a forward pass.
        labels: (B,) ground-truth classes in 0 … K − 1, for metrics that need "labels".
        truth: (B, H, W) ground-truth segmentation, for metrics that need "truth": True or 1 object, False or 0 background,
            −1 ignored.
        extras: further inputs by name, see :class:`~vitfaith.metrics.context.ScoreContext`.
        precision: of the forward passes.
        raw_maps: the same methods' unscaled maps, if ``maps`` were scaled (behind a smoothing: means of maps scaled to
            [0, 1]). Metrics that depend on scale or sign read them (``Metric.scale_dependent``); the clean images then
            go through the classifier twice.

    Raises:
        InputError: an argument has a wrong shape or range, or the parameters of a metric do not fit the maps.
        ConfigError: a metric needs an input that is missing.
    """
    from vitfaith.artifacts.schemas import CURVES, SCORES
    from vitfaith.metrics.engine.engine import Engine

    check_precision(precision)
    parts: list[tuple[Mapping[str, Tensor], Mapping[str, Item]]] = []
    pixelwise = {method for method, one in maps.items() if one.shape[1:] == images.shape[2:]}
    if raw_maps is not None:
        if set(raw_maps) != set(maps):
            raise InputError(
                f"raw_maps has the methods {sorted(raw_maps)}, maps has {sorted(maps)}; give both for each method"
            )
        raw = {id_: item for id_, item in metrics.items() if _create(item).scale_dependent}
        scaled = {id_: item for id_, item in metrics.items() if id_ not in raw}
        parts = [(maps, scaled), ({method: raw_maps[method] for method in maps}, raw)]
    elif pixelwise and len(pixelwise) < len(maps):
        parts = [({m: one for m, one in maps.items() if (m in pixelwise) == fine}, metrics) for fine in (False, True)]
    if parts:
        options = {"seed": seed, "labels": labels, "truth": truth, "extras": extras, "precision": precision}
        return _joined(
            evaluate(classifier, images, targets, image_ids, some, asked, batch_size=batch_size, **options)  # type: ignore[arg-type]
            for some, asked in parts
        )
    chosen = {id_: _create(item) for id_, item in metrics.items()}
    available = {"labels": labels is not None, "truth": truth is not None}
    for name, metric in chosen.items():
        for need in sorted(metric.needs):
            if not available[need]:
                raise ConfigError(f"metric '{name}' needs {need}; pass evaluate({need}=…) or leave the metric out")
    context, flags = _context(classifier, images, targets, image_ids, maps, seed, labels, truth, extras)
    if not len(images) or not maps:
        return Evaluation(SCORES.empty_table(), CURVES.empty_table(), 0, batch_size)

    engine = Engine(context, batch_size, precision)
    with torch.no_grad():
        responses = engine.answer(request for metric in chosen.values() for request in metric.requests(context))
        scores = [
            _score_rows(context, flags, name, variant, result)
            for name, metric in chosen.items()
            for variant, result in metric.read(context, responses).items()
        ]
    curves = [
        _curve_rows(context, request, response)
        for request, response in responses.items()
        if isinstance(request, Curve | Groups)
    ]
    return Evaluation(
        pa.concat_tables([SCORES.empty_table(), *scores]),
        pa.concat_tables([CURVES.empty_table(), *curves]),
        engine.forwards,
        engine.limit.size,
    )


def _joined(parts: Iterable[Evaluation]) -> Evaluation:
    found = list(parts)
    return Evaluation(
        pa.concat_tables([part.scores for part in found]),
        pa.concat_tables([part.curves for part in found]),
        sum(part.forwards for part in found),
        min(part.batch_size for part in found),
    )


def _create(item: Item) -> Metric[Any]:
    metric: Metric[Any] = item.implementation(item.parameters)
    return metric


def _context(
    classifier: Classifier,
    images: Tensor,
    targets: Tensor,
    image_ids: Sequence[str],
    maps: Mapping[str, Tensor],
    seed: int,
    labels: Tensor | None,
    truth: Tensor | None,
    extras: Mapping[str, Any] | None,
) -> tuple[ScoreContext, NDArray[np.str_]]:
    """The context on the classifier's device, and the flag of every map (B, M)."""
    count, device = len(images), classifier.mean.device
    images = images.to(device, torch.float32)
    if count:
        classifier.check_images(images)
    targets = checked_classes("targets", targets, count, classifier.num_classes).to(device)
    if labels is not None:
        labels = checked_classes("labels", labels, count, classifier.num_classes).to(device)
    if truth is not None:
        check_truth(truth, (count, *images.shape[2:]))
    if len(image_ids) != count or len(set(image_ids)) != count:
        raise InputError(f"image_ids must be {count} different names, one per image")
    check_maps(maps, count, classifier)
    if not maps:
        stacked = images.new_zeros(count, 0, 1, 1)
    else:
        stacked = torch.stack([one.to(device, torch.float32) for one in maps.values()], 1)
    flags = np.array(map_flags(stacked.flatten(0, 1).cpu().numpy()), dtype=str).reshape(stacked.shape[:2])
    usable = torch.from_numpy(flags == "").to(device)
    stacked = torch.where(usable[..., None, None], stacked, 0.0)
    fine = None
    if maps and tuple(stacked.shape[2:]) == tuple(images.shape[2:]) != classifier.grid:
        fine, stacked = (
            stacked,
            classifier.patches.sum(stacked.flatten(0, 1)).unflatten(0, stacked.shape[:2]),
        )
    context = ScoreContext(
        classifier,
        images,
        targets,
        tuple(image_ids),
        tuple(maps),
        stacked,
        usable,
        seed,
        labels,
        None if truth is None else truth.to(device),
        dict(extras or {}),
        fine,
    )
    return context, flags


def _score_rows(
    context: ScoreContext, flags: NDArray[np.str_], name: str, variant: str, result: Tensor | tuple[Tensor, Any]
) -> pa.Table:
    """Rows of one metric and variant, image by image."""
    from vitfaith.artifacts.schemas import SCORES

    values, own = result if isinstance(result, tuple) else (result, np.full(flags.shape, ""))
    if tuple(values.shape) != flags.shape:
        raise InputError(f"metric '{name}' returned shape {tuple(values.shape)}, expected {flags.shape}")
    numbers = values.double().cpu().numpy().copy()
    reason = np.where(flags != "", flags, np.asarray(own, dtype=str))
    numbers[reason != ""] = np.nan
    reason = np.where((reason == "") & ~np.isfinite(numbers), "undefined", reason)
    numbers[reason != ""] = np.nan
    size, methods = flags.shape
    return pa.table(
        [
            np.repeat(np.asarray(context.image_ids, dtype=object), methods),
            np.tile(np.asarray(context.methods, dtype=object), size),
            pa.repeat(name, size * methods),
            pa.repeat(variant, size * methods),
            numbers.ravel(),
            reason.ravel().astype(object),
        ],
        schema=SCORES,
    )


def _curve_rows(context: ScoreContext, request: Curve | Groups, response: Response) -> pa.Table:
    """Rows of one request, image by image, method by method, step by step; padding is left out."""
    from vitfaith.artifacts.schemas import CURVES

    assert response.fraction is not None
    images, methods, steps = response.probability.shape
    fraction = response.fraction.cpu().numpy()
    image, method, step = (index.ravel() for index in np.indices((images, methods, steps)))
    kept = ~np.isnan(fraction[image, step])
    image, method, step = image[kept], method[kept], step[kept]

    def column(values: Tensor, kind: type) -> NDArray[Any]:
        return values.cpu().numpy()[image, method, step].astype(kind)

    return pa.table(
        [
            np.asarray(context.image_ids, dtype=object)[image],
            np.asarray(context.methods, dtype=object)[method],
            pa.repeat(request.name, len(image)),
            pa.repeat(request.variant, len(image)),
            step.astype(np.int16),
            fraction[image, step].astype(np.float32),
            column(response.probability, np.float32),
            column(response.log_probability, np.float32),
            column(response.kl, np.float32),
            column(response.prediction, np.int32),
            column(map_salience(context, request), np.float32)
            if isinstance(request, Groups)
            else pa.nulls(len(image), pa.float32()),
        ],
        schema=CURVES,
    )

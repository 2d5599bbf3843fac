"""Maps of several explainers on a set of images: batches, shared passes, checks and flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vitfaith.errors import InputError
from vitfaith.explainers.passes.context import Context
from vitfaith.explainers.registry import EXPLAINERS, FULL_PRECISION, Family
from vitfaith.lazy import torch
from vitfaith.models.memory import BatchSize, in_batches
from vitfaith.models.precision import check_precision, passes_in
from vitfaith.registry import Item
from vitfaith.transfer import Download, upload

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.models.classifier import Classifier
    from vitfaith.models.precision import Precision

Methods = Mapping[str, Item]
"""Id → explainer; an explainer may appear several times with different parameters."""


def explain(
    classifier: Classifier,
    images: Tensor,
    targets: Tensor,
    image_ids: Sequence[str],
    methods: Methods,
    *,
    seed: int,
    batch_size: int,
    sample: int = 0,
    margin: float = 0.0,
    precision: Precision = "float32",
) -> dict[str, Tensor]:
    """Maps of all ``methods``; the images of a batch share one forward and one backward pass between them.

    Args:
        classifier: frozen, in evaluation mode, on the device to use.
        images: (B, C, H, W) float in [0, 1], on any device.
        targets: (B,) int64, the class to explain for each image.
        image_ids: B names; with ``seed`` and ``sample`` they key every random number.
        methods: what to compute.
        seed: the study's seed.
        batch_size: most images that go through the classifier at once, halved when memory runs out; no result depends on it.
        sample: index of the noise sample that ``images`` shows (0 without smoothing).
        margin: how far ``images`` may leave [0, 1], where noise is added and not clipped.
        precision: of the passes, forwards and backwards, except in the families ``FULL_PRECISION`` of the registry.
            What is computed of them keeps float32.

    Returns:
        id → (B, rows, columns) float32 on the CPU, in the order of ``methods``; (B, H, W) with ``resolution: pixel``.

    Raises:
        InputError: images, targets and ids do not fit each other or the model; an explainer cannot work on this
            model; an explainer returned something else than maps of the size it was asked for.
    """
    if not len(images) == len(targets) == len(image_ids):
        raise InputError(f"{len(images)} images, {len(targets)} targets and {len(image_ids)} image_ids; give one each")
    check_precision(precision)
    limit = BatchSize(batch_size)
    check_defined(classifier, methods)
    classifier.check_targets(targets, len(images))
    if len(images):
        classifier.check_images(images, margin=margin)
    needs = frozenset(need for method in methods.values() for need in method.traits["needs"])
    device = classifier.mean.device
    maps: dict[str, list[Download]] = {id_: [] for id_ in methods}
    reading = {id_: method for id_, method in methods.items() if _only_reads(method)}
    others = {id_: method for id_, method in methods.items() if id_ not in reading}

    def explain_rows(start: int, stop: int) -> dict[str, list[Download]]:
        rows = slice(start, stop)
        found: dict[str, list[Download]] = {id_: [] for id_ in methods}
        # A tensor made in inference mode cannot take part in a backward pass, so the loop leaves that mode.
        with torch.inference_mode(False), torch.no_grad():
            context = Context(
                classifier=classifier,
                images=_own(images[rows], device).float(),
                targets=_own(targets[rows], device),
                image_ids=list(image_ids[rows]),
                seed=seed,
                needs=needs,
                batch_size=limit.size,
                sample=sample,
            )
            with passes_in(classifier, precision):
                parts = list(context.parts()) if reading else []  # runs the shared pass
            for some in parts:
                _explain_batch(some, reading, found, "float32")
            _explain_batch(context, others, found, precision)
        return found

    for _, found in in_batches(len(images), limit, explain_rows, copies=True):
        for id_, parts in found.items():
            maps[id_] += parts
    with torch.inference_mode(False):
        return {
            id_: torch.cat([part.get() for part in parts])
            if parts
            else torch.zeros(0, *_shape(classifier, methods[id_]))
            for id_, parts in maps.items()
        }


def _shape(classifier: Classifier, method: Item) -> tuple[int, int]:
    """Size of a map: the patch grid, or the image where the parameters ask for pixels."""
    return classifier.input_shape[1:] if getattr(method.parameters, "resolution", "") == "pixel" else classifier.grid


def _only_reads(method: Item) -> bool:
    """Whether an explainer costs nothing beside the shared pass, which it then may read a few images at a time."""
    return method.traits["family"] == "one_pass" and bool(method.traits["needs"])


def _explain_batch(
    context: Context, methods: Methods, maps: Mapping[str, list[Download]], precision: Precision
) -> None:
    """Append the maps of ``context`` to ``maps``."""
    for id_, method in methods.items():
        with passes_in(context.classifier, "float32" if method.traits["family"] in FULL_PRECISION else precision):
            found = method.implementation(context, method.parameters)
        expected = (len(context.images), *_shape(context.classifier, method))
        if tuple(found.shape) != expected:
            raise InputError(f"explainer '{method.name}' returned shape {tuple(found.shape)} instead of {expected}")
        maps[id_].append(Download(found.detach().float()))  # without waiting, so a GPU starts the next explainer


def check_files(classifier: Classifier, methods: Mapping[str, Item]) -> None:
    """Raise where a trained network that an explainer reads does not fit the classifier (its trait ``check``)."""
    for method in methods.values():
        if check := method.traits.get("check"):
            check(classifier, method.parameters)


def check_defined(classifier: Classifier, methods: Methods) -> None:
    """Raise :class:`InputError` with the names of all explainers that the model's architecture has no meaning for."""
    # here and not above: it imports torch
    from vitfaith.explainers.passes.readout import blocks_of

    classifier.check_head()
    classifier.grid  # noqa: B018  (models without patches say so)
    if blocks_of(classifier.backbone) is not None:
        return
    undefined = [id_ for id_, method in methods.items() if not method.traits["hierarchical"]]
    if undefined:
        # a map from elsewhere explains any model, but it must have been made first
        defined = [e.name for e in EXPLAINERS if e.traits["hierarchical"] and e.traits["family"] != "external"]
        raise InputError(
            f"model {getattr(classifier.backbone, 'name', type(classifier.backbone).__name__)} has no sequence of transformer blocks over one patch grid, so "
            f"these explainers are not defined for it: {', '.join(undefined)}; choose from: "
            f"{', '.join(defined)}"
        )


def families(methods: Methods) -> dict[Family, list[str]]:
    """Family → ids of ``methods`` in it, both in order of appearance; a family is one job of the workflow."""
    found: dict[Family, list[str]] = {}
    for id_, method in methods.items():
        found.setdefault(method.traits["family"], []).append(id_)
    return found


def _own(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on ``device``, fit for autograd."""
    moved = upload(tensor, device)
    return moved.clone() if moved.is_inference() else moved

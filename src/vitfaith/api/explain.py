"""Maps of images in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from vitfaith.api.inputs import Target, batch_size_of, ids_of, images_of, ready, seed_of, targets_of
from vitfaith.api.items import Choices, items_of
from vitfaith.api.maps import Maps
from vitfaith.explainers.explain import check_defined, check_files, families
from vitfaith.explainers.explain import explain as explain_batch
from vitfaith.models.classifier import Classifier
from vitfaith.models.precision import Precision
from vitfaith.registry import Item


def explain(
    model: nn.Module,
    images: Tensor,
    explainers: Choices,
    *,
    target: Target = "prediction",
    labels: Tensor | Sequence[int] | None = None,
    image_ids: Sequence[str] | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    precision: Precision = "float32",
) -> Maps:
    """Maps of ``images`` by each explainer, as the workflow computes them; each depends on its own image alone.

    Args:
        model: from :func:`vitfaith.wrap`; any other module is wrapped without settings.
        images: (B, C, H, W) of the model's size, float in [0, 1] or uint8, on any device.
        explainers: a name, a list whose entries are a name or (name, settings), or ``{id: name or (name, settings)}``;
            settings as in the configuration (:func:`vitfaith.describe`). An explainer that reads a trained DiffMask takes
            its file in ``weights``.
        target: the class to explain: ``"prediction"`` (for the given images), ``"label"``, ``"runner_up"`` (the second
            largest logit), one class for all images, or (B,) classes.
        labels: (B,) classes for ``target="label"``.
        image_ids: B different names, which key random numbers. Default: digests of the pixels, so splitting a set of
            distinct images changes no map.
        seed: seed of all random numbers.
        batch_size: largest number of images per pass. Default: measured on a GPU, 256 on a CPU; halved when memory runs out.
        precision: float32, tf32 or bfloat16, for the passes. Explainers of the family relevance stay in float32 or float64,
            and so does the forward pass that finds the class.

    Returns:
        id → (B, rows, columns) float32 on the CPU, or (B, H, W) with ``resolution: pixel``. The attributes ``target``,
        ``image_ids``, ``seed`` and ``flags`` describe the maps.

    Raises:
        ConfigError: unknown explainer or wrong settings.
        InputError: images, targets or ids do not fit; an explainer is not defined for the model's architecture (the message
            lists explainers that are).

    Source: each explainer's own (:func:`vitfaith.describe`).

    Example:
        >>> import timm, torch, vitfaith as vf
        >>> model = vf.wrap(timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2, num_classes=10))
        >>> maps = vf.explain(model, torch.rand(2, 3, 64, 64), ["attention_rollout", ("rise", {"masks": 50})])
        >>> maps["rise"].shape
        torch.Size([2, 4, 4])
    """
    seed, methods = seed_of(seed), items_of("explainers", explainers)
    pixels = images_of(images)
    ids = ids_of(pixels, image_ids)
    with ready(model, pixels) as classifier:
        size = batch_size_of(classifier, batch_size, backward=True)
        targets = targets_of(target, classifier, pixels, labels, size)
        found = maps_of(classifier, pixels, targets, ids, methods, seed=seed, batch_size=size, precision=precision)
    return Maps(found, target=targets, image_ids=ids, seed=seed, explainers={i: m.name for i, m in methods.items()})


def maps_of(
    classifier: Classifier,
    images: Tensor,
    targets: Tensor,
    image_ids: Sequence[str],
    methods: Mapping[str, Item],
    *,
    seed: int,
    batch_size: int,
    sample: int = 0,
    precision: Precision = "float32",
) -> dict[str, Tensor]:
    """The maps of all families, one family at a time as the workflow does."""
    check_defined(classifier, methods)  # of all families, so that the error names all
    check_files(classifier, methods)
    found: dict[str, Tensor] = {}
    for ids in families(methods).values():
        family = {id_: methods[id_] for id_ in ids}
        found |= explain_batch(
            classifier,
            images,
            targets,
            image_ids,
            family,
            seed=seed,
            batch_size=batch_size,
            sample=sample,
            precision=precision,
        )
    return {id_: found[id_] for id_ in methods}

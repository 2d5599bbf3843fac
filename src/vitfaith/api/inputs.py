"""Arguments that the public functions share: images, their ids, explained classes, and the size of a batch."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from vitfaith.api.maps import tensor_of
from vitfaith.api.wrap import wrap
from vitfaith.artifacts.tensors import unit_pixels
from vitfaith.errors import InputError
from vitfaith.explained import LABEL, PREDICTION, RUNNER_UP, classes
from vitfaith.models.auto_batch import measured
from vitfaith.models.batch_size import ON_CPU
from vitfaith.models.classifier import Classifier, frozen
from vitfaith.models.forward import forward_in_batches
from vitfaith.models.precision import forward_precision

Target: TypeAlias = Literal["prediction", "label", "runner_up"] | int | Tensor | Sequence[int]
"""Which class is explained: the one predicted for the images given, their label, the class with the second largest logit,
one class for all, or a class for each image."""

_MEASURED: WeakKeyDictionary[nn.Module, dict[tuple[str, bool], int]] = WeakKeyDictionary()


@contextmanager
def ready(model: nn.Module, images: Tensor | None = None) -> Iterator[Classifier]:
    """``model`` as a frozen classifier for the block, its normalisation on the device where its weights are now.

    Inside, networks compute in full float32.

    Raises:
        InputError: ``images`` do not fit the model.
    """
    classifier = wrap(model)
    anchor = next(classifier.backbone.parameters(), None)
    if anchor is not None and anchor.device != classifier.mean.device:
        classifier.mean, classifier.std = classifier.mean.to(anchor.device), classifier.std.to(anchor.device)
    kind = classifier.mean.device.type
    with (
        frozen(classifier), torch.inference_mode(False), torch.no_grad(), forward_precision("float32", kind), _float32()
    ):  # fmt: skip
        if images is not None and len(images):
            classifier.check_images(images)
        yield classifier


@contextmanager
def _float32() -> Iterator[None]:
    """New tensors are float32, as in a process where nobody changed torch's default."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def images_of(images: Any) -> Tensor:
    """Images (B, C, H, W) float32 in [0, 1] where they are, from uint8 or float; further checks are the model's.

    Raises:
        InputError: another shape or type.
    """
    if isinstance(images, list | tuple) and images and all(isinstance(one, Tensor) for one in images):
        if len({(one.shape, one.dtype, one.device) for one in images}) > 1:
            raise InputError("images are tensors of different shapes or types; resize them to one and stack them")
        images = torch.stack(list(images))
    found = tensor_of("images", images, "a tensor or array (images, channels, height, width)")
    if found.ndim != 4:
        raise InputError(f"images have shape {tuple(found.shape)}; give (images, channels, height, width)")
    if found.dtype == torch.uint8:
        return unit_pixels(found)
    if not found.is_floating_point():
        raise InputError(f"images are {found.dtype}; give uint8, or float in [0, 1]")
    return found.float()


def ids_of(images: Tensor, given: Sequence[str] | None) -> list[str]:
    """The names of ``images``: those given, or a digest of each image's pixels; a repeated image gets "-2", "-3" ….

    Raises:
        InputError: another number of names than images, or a name twice.
    """
    if given is None:
        pixels = images.cpu().contiguous().numpy()
        digests = [
            hashlib.blake2b(f"{image.shape}".encode() + image.tobytes(), digest_size=8).hexdigest() for image in pixels
        ]
        seen: Counter[str] = Counter()
        names = []
        for digest in digests:
            seen[digest] += 1
            names.append(digest if seen[digest] == 1 else f"{digest}-{seen[digest]}")
        return names
    return names_of(given, len(images))


def names_of(given: Any, count: int) -> list[str]:
    """``given`` as ``count`` names of images; raises :class:`InputError` for another number, or a name twice."""
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise InputError(f"image_ids is {given!r}; give a list with one name for each of {count} images")
    listed = given.tolist() if isinstance(given, Tensor | np.ndarray) else list(given)
    if any(isinstance(name, list) or getattr(name, "ndim", 0) for name in listed):
        raise InputError(f"image_ids hold lists; give one name for each of {count} images")
    found = [str(name.item() if isinstance(name, Tensor) else name) for name in listed]
    if len(found) != count or len(set(found)) != len(found):
        raise InputError(f"image_ids hold {len(set(found))} different names; give one for each of {count} images")
    return found


def classes_of(name: str, values: Any, count: int) -> Tensor:
    """Class numbers (``count``,) int64 on the CPU; raises :class:`InputError` for another shape or type."""
    found = tensor_of(name, values, f"one class number for each of {count} images")
    if found.shape != (count,) or found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        raise InputError(
            f"{name} is {found.dtype} of shape {tuple(found.shape)}; give one class number for each of {count} images"
        )
    return found.long().cpu()


def seed_of(given: Any) -> int:
    """``given`` as a seed; raises :class:`InputError` unless it is a whole number."""
    if isinstance(given, bool) or not isinstance(given, Integral):
        raise InputError(f"seed is {given!r}; give a whole number")
    return int(given)


def targets_of(
    target: Target, classifier: Classifier, images: Tensor, labels: Any, batch_size: int, logits: Tensor | None = None
) -> Tensor:
    """The explained classes (B,) int64 on the CPU.

    Args:
        logits: (B, K) that say which class is predicted; without them one forward pass of ``images`` for each image.

    Raises:
        InputError: an unknown word, ``label`` without labels, or classes that the model does not have.
    """
    count = len(images)
    if isinstance(target, str):
        if target not in (PREDICTION, LABEL, RUNNER_UP):
            raise InputError(
                f"target is '{target}'; give prediction, label, runner_up, a class, or a class for each image"
            )
        if target == LABEL and labels is None:
            raise InputError("target 'label' needs labels=, the class of each image")
        if target != LABEL and logits is None:
            logits = forward_in_batches(classifier, images, batch_size)
        found = classes(
            target,
            count,
            predicted=None if logits is None else logits.argmax(1),
            scores=logits,
            labels=classes_of("labels", labels, count) if target == LABEL else None,
        ).cpu()
    else:
        given = tensor_of("target", target, "prediction, label, runner_up, a class, or a class for each image")
        found = classes_of("target", given.expand(count) if given.ndim == 0 else given, count)
    classifier.check_targets(found, count)
    return found


def batch_size_of(classifier: Classifier, given: int | None, *, backward: bool) -> int:
    """The size of a batch: as given, else measured once for each model on a GPU, and fixed on a CPU.

    Raises:
        InputError: ``given`` is no whole number, or below 1.
    """
    if given is not None:
        if isinstance(given, bool) or not isinstance(given, Integral) or given < 1:
            raise InputError(f"batch_size is {given!r}; give a whole number of at least 1")
        return int(given)
    device = classifier.mean.device
    if device.type == "cpu":
        return ON_CPU
    known = _MEASURED.setdefault(classifier.backbone, {})
    key = (str(device), backward)
    if key not in known:
        known[key] = measured(classifier, classifier.input_shape, backward=backward)
    return known[key]

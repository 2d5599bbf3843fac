"""Checked descriptions of a network from the caller."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence, Sized
from typing import Any

import torch
from torch import nn

from vitfaith.errors import InputError


def statistics_of(mean: Any, std: Any) -> tuple[list[float], list[float]] | None:
    """Mean and standard deviation of the channels; None where neither is given.

    Raises:
        InputError: one without the other, no numbers, or numbers that normalise nothing.
    """
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise InputError(
            f"{'std' if mean is None else 'mean'}= is given alone; give mean= and std=, they belong together"
        )
    means, stds = (_numbers(name, values) for name, values in (("mean", mean), ("std", std)))
    if not means or len(means) != len(stds) or not all(map(math.isfinite, (*means, *stds))) or min(stds) <= 0:
        raise InputError(
            f"mean {tuple(means)} and std {tuple(stds)} must be one finite number for each channel, std > 0"
        )
    return means, stds


def _numbers(name: str, values: Any) -> list[float]:
    listed = values.tolist() if hasattr(values, "tolist") else values  # a tensor or an array
    try:
        if isinstance(listed, str):
            raise TypeError
        return [float(value) for value in listed]
    except (TypeError, ValueError):
        raise InputError(f"{name} is {values!r}; give one number for each channel, such as {name}=[0.5]") from None


def names_fit(names: Sequence[str], classes: int) -> tuple[str, ...]:
    """``names`` where there are none, or one for each class; else :class:`InputError`."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise InputError(f"class_names is {names!r}; give a list with one name for each of {classes} classes")
    found = tuple(map(str, names))
    if found and len(found) != classes:
        raise InputError(f"class_names hold {len(found)} names; give one for each of {classes} classes, or none")
    return found


def check_none_given(**settings: Any) -> None:
    """Raise :class:`InputError` where a setting comes with a model that is wrapped already."""
    for name, value in settings.items():
        if not (value is None or (isinstance(value, Sized) and not len(value))):
            raise InputError(f"{name}= is given for a model that is wrapped already; wrap its module: model.backbone")


def check_classes(given: int | None, found: int) -> None:
    """Raise :class:`InputError` where the caller says another number of classes than there are logits."""
    if given is not None and given != found:
        raise InputError(f"num_classes is {given}, the model gives {found} logits; leave it out")


def check_device(device: str | torch.device | None) -> None:
    """Raise :class:`InputError` where torch has no such device here."""
    if device is None:
        return
    try:
        torch.empty(0, device=torch.device(device))
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"device is '{device}', which torch cannot use here ({reason}); give another, such as 'cpu'"
        ) from None


def check_head(module: Any) -> None:
    """Raise :class:`InputError` for a timm model that ends before its head."""
    if getattr(module, "num_classes", None) != 0 or not hasattr(module, "get_classifier"):
        return
    head: Any = module.get_classifier()
    if all(isinstance(part, nn.Identity) for part in (head if isinstance(head, tuple) else (head,))):
        raise InputError(
            f"model {type(module).__name__} has no classification head (num_classes=0); build it with num_classes= of its classes"
        )

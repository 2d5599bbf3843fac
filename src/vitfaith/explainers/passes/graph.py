"""A forward pass with a graph, whatever mode the caller is in and whatever precision the model has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.func import functional_call

from vitfaith.errors import InputError
from vitfaith.models.classifier import Classifier


@contextmanager
def with_graph() -> Iterator[None]:
    """Autograd works inside, also when the caller is in ``torch.no_grad`` or ``torch.inference_mode``."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def ordinary(tensor: Tensor) -> Tensor:
    """A detached copy that may take part in a graph, also of a tensor made in inference mode."""
    return tensor.detach().clone()


def target_logits(logits: Tensor, targets: Tensor) -> Tensor:
    """The explained logit of each image, (B,), from (B, K); raises :class:`InputError` for a class out of range."""
    if targets.shape != logits.shape[:1] or bool(((targets < 0) | (targets >= logits.shape[1])).any()):
        raise InputError(f"targets must be {len(logits)} class numbers in [0, {logits.shape[1] - 1}], one per image")
    return logits.gather(1, targets[:, None])[:, 0]


def logits_in(dtype: torch.dtype, classifier: Classifier, images: Tensor) -> Tensor:
    """Logits (B, K) of the classifier with copies of its weights and of ``images`` in ``dtype``.

    The modules see the copies during the call only, then their own parameters are back.
    """
    made: dict[Tensor, Tensor] = {}
    copies = {}
    for place, module in classifier.named_modules():  # each module once, tied tensors at every module that has them
        own = (*module.named_parameters(recurse=False, remove_duplicate=False), *module.named_buffers(recurse=False))
        for name, tensor in own:
            if tensor not in made:
                made[tensor] = tensor.detach().to(dtype) if tensor.is_floating_point() else tensor
            copies[f"{place}.{name}" if place else name] = made[tensor]
    logits = functional_call(classifier, copies, (images.to(dtype),), tie_weights=False)
    assert isinstance(logits, Tensor)
    return logits

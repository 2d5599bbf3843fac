"""Copies of a model with random weights, and random other classes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from vitfaith.errors import InputError
from vitfaith.lazy import torch
from vitfaith.rng import derive_seed, generator

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vitfaith.models.classifier import Classifier


def randomised_models(
    classifier: Classifier, *, cascading: bool = True, stride: int = 1, seed: int = 0, bottom_up: bool = False
) -> Iterator[tuple[int, str, Classifier]]:
    """(step, part, model) for a copy of ``classifier`` whose weights become random, part by part from the head down.

    Model Parameter Randomisation Test (Adebayo et al. 2018). The model itself is not changed. The same copy
    is yielded each time, so use it before the next step.

    Args:
        classifier: frozen model in evaluation mode.
        cascading: keep earlier parts random too, as in the paper; otherwise randomise one part at a time.
        stride: yield every stride-th part, and the last.
        seed: key of the random weights, which depend only on the seed and the parameter's name.
        bottom_up: begin at the input instead of the head.
    """
    replaced = copy.deepcopy(classifier)
    parts = parts_of(classifier.backbone)[:: -1 if bottom_up else 1]
    for step, (part, names) in enumerate(parts):
        if not cascading:
            replaced.backbone.load_state_dict(classifier.backbone.state_dict())
        randomise(replaced.backbone, names, seed)
        if (step + 1) % stride == 0 or step + 1 == len(parts):
            yield step, part, replaced


def other_classes(targets: Tensor, image_ids: Sequence[str], classes: int, seed: int) -> Tensor:
    """For each image a class that is not its target (B,), drawn uniformly, keyed by (seed, image_id).

    Raises:
        InputError: the model has a single class.
    """
    if classes < 2:
        raise InputError("random_logit needs a model with at least two classes; leave the check out")
    step = [1 + derive_seed(seed, image, "random-logit") % (classes - 1) for image in image_ids]
    return (targets + torch.tensor(step, device=targets.device)) % classes


def parts_of(backbone: nn.Module) -> list[tuple[str, list[str]]]:
    """Parts of a network from the output down, each with the names of its parameters.

    A part is a direct child, or one element of a direct child that is a sequence: "head", "norm", "blocks.11" …
    "blocks.0", "patch_embed", "pos_embed", "cls_token".
    """
    parts: dict[str, list[str]] = {}
    for name, _ in backbone.named_parameters():
        pieces = name.split(".")
        numbered = len(pieces) > 1 and pieces[1].isdigit()
        parts.setdefault(".".join(pieces[: 2 if numbered else 1]), []).append(name)
    return list(reversed(parts.items()))


def randomise(network: nn.Module, names: Sequence[str], seed: int) -> None:
    """Replace the parameters ``names`` by normal draws with their own mean and standard deviation, in place.

    Parameters whose values are all equal (LayerNorm weights of an untrained network) stay as they are.
    """
    with torch.no_grad():
        for name in names:
            parameter = network.get_parameter(name)
            values = parameter.double()
            draw = torch.randn(parameter.shape, generator=generator(seed, name, "randomise"), dtype=torch.float64)
            parameter.copy_(values.mean() + values.std(correction=0) * draw.to(parameter.device))

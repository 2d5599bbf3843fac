"""Sanity checks: does the map change when the model's weights, or the class asked for, are replaced by random ones?

Both explain again, so they need the model; a map that stays alike does not depend on what it claims to explain.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa

from vitfaith.artifacts.schemas import STABILITY
from vitfaith.errors import InputError
from vitfaith.lazy import torch
from vitfaith.registry import Parameters
from vitfaith.rng import derive_seed, generator
from vitfaith.stability.compare import stability_table

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vitfaith.models.classifier import Classifier

    Explain: TypeAlias = Callable[[Classifier, Tensor, Tensor, Sequence[str]], Mapping[str, Tensor]]
    """(classifier, images (B,C,H,W), targets (B,), image_ids) → method → maps (B, rows, columns)."""

Measures: TypeAlias = Mapping[str, tuple[str, Parameters]]


def model_parameter_randomisation(
    classifier: Classifier,
    explain: Explain,
    images: Tensor,
    targets: Tensor,
    image_ids: Sequence[str],
    measures: Measures,
    *,
    cascading: bool = True,
    seed: int = 0,
) -> pa.Table:
    """Compare each map with that of a copy of the model whose weights are random, part by part from the head down.

    Model Parameter Randomisation Test (Adebayo et al. 2018): a faithful explainer's maps lose their likeness. Costs one
    explanation of the model and one for each part; methods of one call of ``explain`` share its passes. The model
    itself is not changed.

    Args:
        classifier: frozen model in evaluation mode.
        explain: makes the maps of all methods.
        images, targets, image_ids: one batch; the class explained stays the same.
        measures: identifier → (stability measure, parameters).
        cascading: keep the parts above random too, as the paper does; otherwise one part at a time is.
        seed: key of the random weights, which depend on it and the parameter's name alone.

    Returns:
        Rows of the schema STABILITY; ``reference`` is "random PART" with parts as in :func:`parts_of`.
    """
    original = _maps(explain(classifier, images, targets, image_ids))
    replaced = copy.deepcopy(classifier)
    tables = []
    for part, names in parts_of(classifier.backbone):
        if not cascading:
            replaced.backbone.load_state_dict(classifier.backbone.state_dict())
        randomise(replaced.backbone, names, seed)
        for method, maps in _maps(explain(replaced, images, targets, image_ids)).items():
            tables.append(stability_table(image_ids, method, f"random {part}", maps, original[method], measures))
    return pa.concat_tables([STABILITY.empty_table(), *tables])


def random_logit(
    classifier: Classifier,
    explain: Explain,
    images: Tensor,
    targets: Tensor,
    image_ids: Sequence[str],
    measures: Measures,
    *,
    seed: int = 0,
) -> pa.Table:
    """Compare each map with the map of another class of the same image, drawn at random for each image.

    Random Logit Test (Sixt et al. 2020): explainers that do not depend on the class get the same map. Costs two
    explanations. Returns rows of the schema STABILITY with ``reference`` "other class".

    Raises:
        InputError: the model has a single class.
    """
    if classifier.num_classes < 2:
        raise InputError("random_logit needs a model with at least two classes")
    step = [1 + derive_seed(seed, image, "random-logit") % (classifier.num_classes - 1) for image in image_ids]
    others = (targets + torch.tensor(step, device=targets.device)) % classifier.num_classes
    original = _maps(explain(classifier, images, targets, image_ids))
    swapped = _maps(explain(classifier, images, others, image_ids))
    tables = [
        stability_table(image_ids, method, "other class", maps, original[method], measures)
        for method, maps in swapped.items()
    ]
    return pa.concat_tables([STABILITY.empty_table(), *tables])


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


def _maps(explained: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {method: maps.detach().float().cpu().numpy() for method, maps in explained.items()}

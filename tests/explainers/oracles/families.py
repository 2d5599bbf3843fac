"""Relevance rules on EVA, BEiT, DINOv3 and their kin against forwards and propagations written out."""

from __future__ import annotations

from functools import cache, partial

import torch
from torch import Tensor

from tests.explainers.oracles.base import Oracle, Pair
from tests.explainers.ruled import batch, ruled
from tests.explainers.textbook.families import full_gradient
from tests.explainers.textbook.relprop_families import family_maps
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS

MODELS = (
    "EVA02, SwiGLU with sub-LN",
    "DINOv3, SwiGLU",
    "Perception Encoder",
    "grouped queries",
    "BEiT",
    "SigLIP with registers",
)
"""One for each kind of module; ``test_rules_of_families`` and ``test_relprop_of_families`` take all."""
PROPAGATED = ("lrp", "partial_lrp", "transformer_attribution", "lrp_rollout")
RULES = {
    "cp_lrp": ("constant", "constant"),
    "attnlrp": ("uniform", "uniform"),
    "libragrad_input_x_gradient": ("constant", "uniform"),
    "libragrad_fullgrad_plus": ("constant", "uniform"),
}


def of_all(name: str) -> Pair:
    """Maps of one image and several models, each divided by the largest magnitude of the textbook's."""
    pairs = [_pair(name, model) for model in MODELS]
    found, expected = ([pair[i].flatten() / pair[1].abs().max() for pair in pairs] for i in (0, 1))
    return torch.cat(found), torch.cat(expected)


@cache
def _propagated(model: str) -> dict[str, Tensor]:
    classifier = ruled(model)
    images, targets = batch(classifier, 1)
    return family_maps(classifier, images[0], int(targets[0]))


def _pair(name: str, model: str) -> tuple[Tensor, Tensor]:
    classifier = ruled(model)
    images, targets = batch(classifier, 1)
    parameters = {"at": "tokens"} if name in ("cp_lrp", "attnlrp") else {}
    methods = {"it": EXPLAINERS.item(name, **parameters)}
    found = explain(classifier, images, targets, ["image"], methods, seed=0, batch_size=1)["it"][0].double()
    if name in PROPAGATED:
        return found, _propagated(model)[name]
    _, tokens, biases, _ = full_gradient(classifier, images[0], int(targets[0]), *RULES[name])
    expected = tokens.sum(0) + biases if name == "libragrad_fullgrad_plus" else tokens[0]
    return found, expected[classifier.prefix_tokens :].unflatten(0, classifier.grid)


KINDS = "EVA02, DINOv3, Perception Encoder, grouped queries, BEiT and SigLIP"
ORACLES = [
    *[
        Oracle(name, "explicit forward", f"{KINDS}, head by head with detached factors, float64", 1e-6, partial(of_all, name))
        for name in RULES
    ],
    *[
        Oracle(name, "textbook relprop", f"{KINDS}, neuron by neuron, float64", 1e-5, partial(of_all, name))
        for name in PROPAGATED
    ],
]  # fmt: skip

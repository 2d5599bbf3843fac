"""ViT-Shapley explainers as safetensors files: the head, its surrogate, and which model they belong to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitfaith.artifacts.weights import write_weights
from vitfaith.errors import ArtifactError
from vitfaith.explainers.diffmask.files import digest_of
from vitfaith.explainers.diffmask.states import width_of
from vitfaith.explainers.passes.masking import Fill
from vitfaith.explainers.shapley.network import Game, ShapleyHead, new_head
from vitfaith.models.checkpoint import fit_weights, read_checkpoint
from vitfaith.models.classifier import Classifier, build_backbone, freeze

KIND = "vit_shapley"
_HINT = "train it again with `snakemake train`, or give the right file"
_KEYS = {"width", "classes", "hidden", "fill", "surrogate", "model"}


def save_shapley(
    head: ShapleyHead,
    surrogate: Classifier,
    path: Path,
    classifier: Classifier,
    *,
    timm: str,
    arguments: Mapping[str, Any],
    fill: Fill,
    facts: Mapping[str, Any],
) -> None:
    """Write ``head`` with the ``surrogate`` that it was trained for, which ``timm`` builds with ``arguments``.

    The surrogate's weights are kept in float16: it is what makes a file large. A head trained for :func:`rounded` weights
    gets the very same surrogate back.

    ``facts`` (JSON) go into the metadata beside the shapes and the digest of the explained model's weights.
    """
    description = {
        **facts,
        "kind": KIND,
        "width": head.width,
        "classes": head.classes,
        "hidden": head.hidden,
        "fill": fill,
        "surrogate": {
            "timm": timm,
            "arguments": dict(arguments),
            "mean": surrogate.mean.flatten().tolist(),
            "std": surrogate.std.flatten().tolist(),
        },
        "model": digest_of(classifier.backbone),
    }
    tensors = {f"head.{k}": v for k, v in head.state_dict().items()}
    tensors |= {f"surrogate.{k}": _half(v) for k, v in surrogate.backbone.state_dict().items()}
    write_weights(tensors, path, {"vitfaith": json.dumps(description, sort_keys=True)})


def rounded(surrogate: Classifier) -> Classifier:
    """``surrogate`` itself, with its weights rounded to the float16 that files keep."""
    with torch.no_grad():
        for value in surrogate.backbone.state_dict().values():
            value.copy_(_half(value))
    return surrogate


def _half(value: Tensor) -> Tensor:
    """``value`` in float16; as it is where it holds integers, or numbers beyond float16."""
    half = value.half() if value.is_floating_point() else value
    return half if bool(torch.isfinite(half).all()) else value


def save_untrained(path: Path, classifier: Classifier, generator: torch.Generator) -> None:
    """Write a random head that fits ``classifier``, with a surrogate that gives all classes one probability."""
    head = new_head(width_of(classifier), classifier.num_classes, generator=generator)
    torch.nn.init.normal_(head.read[-1].weight, generator=generator)  # type: ignore[arg-type]
    channels, height, width = classifier.input_shape
    timm, arguments = "vit_tiny_patch16_224", {
        "img_size": [height, width], "patch_size": [height, width], "in_chans": channels,
        "num_classes": classifier.num_classes, "embed_dim": 4, "depth": 1, "num_heads": 1,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        surrogate = freeze(Classifier(build_backbone(timm, arguments), [0.5] * channels, [0.5] * channels))
    torch.nn.init.zeros_(surrogate.backbone.head.weight)  # type: ignore[union-attr, arg-type]
    save_shapley(head, surrogate, path, classifier, timm=timm, arguments=arguments, fill="image_mean", facts={})


def load_shapley(path: Path, classifier: Classifier) -> tuple[ShapleyHead, Game]:
    """The frozen head in ``path`` and the game it was trained for, on the device of ``classifier``.

    Raises:
        ArtifactError: the file is missing, damaged, no ViT-Shapley explainer, or of a model of another shape.
    """
    head, game, _ = _read(path, str(classifier.mean.device))
    expected = getattr(classifier.backbone, "embed_dim", None), classifier.num_classes, classifier.input_shape
    found = head.width, head.classes, game.surrogate.input_shape
    for what, one, other in zip(("tokens of width", "classes", "images of"), found, expected, strict=True):
        if one != other:
            raise ArtifactError(f"ViT-Shapley '{path}': {what} {one}, the model has {other}; {_HINT}")
    return head, game


def check_trained_for(path: Path, classifier: Classifier) -> None:
    """Raise :class:`ArtifactError` where the head in ``path`` was trained for other weights of the same model."""
    if _read(path, str(classifier.mean.device))[2] != digest_of(classifier.backbone):
        raise ArtifactError(
            f"ViT-Shapley '{path}' was trained for other weights than the model has, so its maps say nothing about them; {_HINT}"
        )


def _read(path: Path, device: str) -> tuple[ShapleyHead, Game, str]:
    if not path.is_file():
        raise ArtifactError(
            f"ViT-Shapley '{path}' does not exist; train it (`weights: trained` with a recipe under `training`), or give a "
            "folder with one MODEL.safetensors per model"
        )
    facts = path.stat()
    return _cached(path, facts.st_size, facts.st_mtime_ns, device)


@lru_cache(maxsize=8)
def _cached(path: Path, size: int, modified: int, device: str) -> tuple[ShapleyHead, Game, str]:
    """Head, game and the digest of the model; read once, as every batch asks."""
    if path.suffix != ".safetensors":
        raise ArtifactError(f"ViT-Shapley '{path}' is no safetensors file; {_HINT}")
    checkpoint = read_checkpoint(path)
    found = checkpoint.description
    if found.get("kind") != KIND or not found.keys() >= _KEYS:
        raise ArtifactError(f"'{path}' holds no ViT-Shapley explainer; {_HINT}")
    head, told = ShapleyHead(found["width"], found["classes"], found["hidden"]), found["surrogate"]
    with torch.random.fork_rng(devices=[]):
        backbone = build_backbone(told["timm"], told["arguments"])
    for name, part in (("head", head), ("surrogate", backbone)):
        fit_weights(part, _below(f"{name}.", checkpoint.state), path, _HINT)
    surrogate = freeze(Classifier(backbone, told["mean"], told["std"]).to(device))
    return freeze(head.to(device)), Game(surrogate, found["fill"]), str(found["model"])


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

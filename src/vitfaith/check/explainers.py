"""Whether explainers can explain a model: a rehearsal on one image with a narrow twin of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from vitfaith.check.report import Report
from vitfaith.check.room import amount, memory_here
from vitfaith.errors import InputError
from vitfaith.explainers.diffmask.files import save_diffmask
from vitfaith.explainers.diffmask.hard_concrete import HardConcrete
from vitfaith.explainers.diffmask.network import new_diffmask
from vitfaith.explainers.explain import check_defined, explain
from vitfaith.explainers.shapley.files import save_untrained
from vitfaith.models.classifier import Classifier, build_backbone, freeze
from vitfaith.models.huggingface.folder import read_folder
from vitfaith.models.patches import find_patches
from vitfaith.registry import Item, Parameters

if TYPE_CHECKING:
    from vitfaith.study.sections import ModelSection

_HEAD_WIDTH = 8
_SHORT = {"steps": 2, "samples": 2, "masks": 2, "iterations": 1, "distance": 2.0}
"""Settings of an explainer's budget, and one by which ViT-CX merges all its masks."""


def rehearse(model: str, twin: Classifier, explainers: dict[str, Item], report: Report) -> None:
    """Run each explainer, of every family but external maps, once on the model's twin and report what it refuses.

    Explainers that are refused for one reason share one line. Trained explainers run with random networks that fit the twin; whether their files fit the model is
    :mod:`vitfaith.check.learned`'s question.
    """
    image = torch.rand(1, *twin.input_shape, generator=torch.Generator().manual_seed(0))
    refused: dict[str, list[str]] = {}
    ours = {id_: item for id_, item in explainers.items() if item.traits["family"] != "external"}
    flat = {id_: item for id_, item in ours.items() if not item.traits["hierarchical"]}
    known = Report()
    with known.about(""):
        check_defined(twin, flat)  # one text that names them all
    refused.update({text: list(flat) for text in known.problems})
    with TemporaryDirectory() as folder:
        for id_, item in ours.items():
            if known.problems and id_ in flat:
                continue
            alone = Report()
            with alone.about(""):
                short = replace(item, parameters=_short(item, twin, Path(folder) / "diffmask.safetensors"))
                explain(twin, image, torch.tensor([0]), ["rehearsal"], {id_: short}, seed=0, batch_size=8)
            for text in alone.problems:
                refused.setdefault(text, []).append(id_)
    for text, ids in refused.items():
        report.problem(f"{_keys(ids)}, models.{model}", text)


def _keys(ids: list[str]) -> str:
    return f"explainers.{ids[0]}" if len(ids) == 1 else f"explainers {', '.join(ids)}"


def _short(item: Item, twin: Classifier, file: Path) -> Parameters:
    """The same settings with two passes where there are many, and a trained network of the twin's shape."""
    parameters = item.parameters
    fewer: dict[str, Any] = {}
    for name, most in _SHORT.items():
        value = getattr(parameters, name, None)
        if isinstance(value, int | float) and (value > most or name == "distance"):
            fewer[name] = most
    if hasattr(parameters, "window"):  # one window hides all
        fewer |= dict.fromkeys(("window", "stride"), max(twin.grid))
    if "placeholder" in item.traits.get("model_files", ()):
        fewer["placeholder"] = None
    if "weights" in item.traits.get("model_files", ()):
        check_defined(twin, {item.name: item})
        fewer["weights"] = file = file.with_name(f"{item.name}.safetensors")
        if item.traits.get("trained_by") == "shapley":
            save_untrained(file, twin, torch.Generator().manual_seed(0))
            return parameters.model_copy(update=fewer)
        network = new_diffmask(
            twin, distribution=HardConcrete(), beta=1.0, class_specific=item.traits["class_specific"],
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        save_diffmask(network, file, twin, {})
    return parameters.model_copy(update=fewer)


def twin_of(section: ModelSection, classifier: Classifier) -> Classifier:
    """A model with the blocks, tokens, heads and pooling of ``classifier``, random weights, and narrow heads.

    It takes a fraction of a second where the model takes many. An architecture with a fixed width is not narrowed.

    Raises:
        InputError: one image needs more memory than this machine has.
    """
    _check_size(classifier)
    cells: dict[str, Any] = {"patch_size": classifier.patch_size, "input_size": classifier.input_size}
    mean, std = ([0.5] * int(classifier.mean.shape[1]) for _ in range(2))
    found = (getattr(module, "num_heads", None) for module in classifier.backbone.modules())
    heads = next(
        (count for count in found if isinstance(count, int)), None
    )  # of the first block; later ones may double it
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    try:
        if heads is not None:
            try:
                return _tried(Classifier(_build(section, {"embed_dim": _HEAD_WIDTH * heads}), mean, std, **cells))
            except Exception:  # an architecture with a fixed width: rehearse at full width
                pass
        return _tried(Classifier(_build(section, {}), mean, std, **cells))
    finally:
        torch.random.set_rng_state(state)


def _tried(twin: Classifier) -> Classifier:
    """``twin``, frozen, once it has taken an image.

    Raises:
        InputError: it fails on images of its size.
    """
    image = torch.full((1, *twin.input_shape), 0.5)
    try:
        with torch.no_grad():
            freeze(twin)(image)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"the model fails on an image of shape {tuple(image.shape)}; give another img_size. It says: {reason}"
        ) from error
    return twin


def _check_size(classifier: Classifier) -> None:
    """Raise :class:`InputError` where one image alone needs more memory than this machine has."""
    tokens = classifier.grid[0] * classifier.grid[1] + classifier.prefix_tokens if _has_patches(classifier) else 0
    heads = max((int(getattr(m, "num_heads", 0)) for m in classifier.backbone.modules()), default=0)
    pixels = int(np.prod(classifier.input_shape))
    weights = sum(p.numel() for p in classifier.backbone.parameters())
    needed = 4.0 * (weights + pixels + heads * tokens**2)
    if needed > memory_here():
        raise InputError(
            f"one image needs {amount(needed)} of memory (weights {amount(4.0 * weights)}, {tokens} tokens), this machine has "
            f"{amount(memory_here())}; choose a smaller architecture or img_size"
        )


def _has_patches(classifier: Classifier) -> bool:
    return find_patches(classifier.backbone, classifier.input_shape[1:]) is not None


def _build(section: ModelSection, narrow: dict[str, Any]) -> nn.Module:
    arguments = {**section.arguments, **narrow}
    if section.timm is None:
        return read_folder(Path(str(section.weights)), arguments).build()
    return build_backbone(section.timm, arguments)

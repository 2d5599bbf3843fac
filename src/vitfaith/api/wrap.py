"""Turns a user's network into a classifier of images in [0, 1]."""

from __future__ import annotations

import copy
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitfaith.api.given import check_classes, check_device, check_head, check_none_given, names_fit, statistics_of
from vitfaith.api.plain import PlainBackbone, grid_of, logits_of, pair
from vitfaith.errors import ConfigError, InputError
from vitfaith.models.checkpoint import misfit
from vitfaith.models.class_names import class_names as names_of
from vitfaith.models.classifier import Classifier, frozen
from vitfaith.models.huggingface.kinds import INSTEAD, KINDS
from vitfaith.models.load import load_classifier
from vitfaith.models.patches import embedding_of


def wrap(
    model: nn.Module | str | Path,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    input_size: int | Sequence[int] | None = None,
    num_classes: int | None = None,
    patch_size: int | Sequence[int] | None = None,
    class_names: Sequence[str] = (),
    device: str | torch.device | None = None,
) -> Classifier:
    """A classifier of images in [0, 1], which normalises inside; every other function of ``vitfaith`` takes it.

    ``model`` may be:

    - A timm ViT. It runs with every explainer that is defined for its architecture.
    - A transformers classifier, as an object or as its folder. ViT, DeiT, DINOv2, BEiT, CLIP, SigLIP, SigLIP 2, Swin and
      Swin v2 become timm models with the same logits and run with the explainers of these; the tensors are copied.
      Objects of other kinds are treated as any other module.
    - Any other module that maps (B, C, H, W) to logits (B, K), or to an object with ``logits``. It runs with explainers that
      need only gradients or perturbed images, and its maps are on cells of ``patch_size`` pixels.
    - A text that is not a folder: the name of a timm model, taken with pretrained weights.

    The module itself is used, not a copy, unless ``device`` is another one. Every function leaves its mode,
    ``requires_grad``, gradients, hooks, device and dtype as they were.

    Args:
        model: see above. A classifier that :func:`wrap` returned comes back as it is; then only ``device`` may be given.
        mean, std: channel means and standard deviations with which the module expects its input normalised, in [0, 1] pixel
            units. Default: the values that timm or the folder stores; required for every other module (``mean=(0, 0, 0),
            std=(1, 1, 1)`` if it takes images in [0, 1]).
        input_size: height and width of the images in pixels, or one number for squares. Default: the module's own setting
            (``input_size`` in timm's configuration, ``image_size`` in transformers'). Position tables of a
            transformers classifier are resized to it as transformers does.
        num_classes: K, checked against the logits of a black image.
        patch_size: side of the cells of maps, in pixels, for modules without patches. Default: the
            module's own patch, or the divisor of both sides that gives a grid nearest to 14 × 14.
        class_names: K names in the order of the logits, or none.
        device: device to copy the module to; default: the module stays where it is.

    Raises:
        InputError: an argument does not fit the module, or is missing and not stored in the module; a folder does not exist.
        ConfigError: the folder holds a model that cannot be converted, or timm has no model of that name.
        ArtifactError: the folder or the pretrained weights cannot be read.

    Example:
        >>> import timm, vitfaith as vf
        >>> network = timm.create_model("vit_tiny_patch16_224", num_classes=10)
        >>> vf.wrap(network).grid
        (14, 14)
    """
    check_device(device)
    statistics = statistics_of(mean, std)
    if isinstance(model, Classifier):
        check_none_given(
            mean=statistics,
            input_size=input_size,
            num_classes=num_classes,
            patch_size=patch_size,
            class_names=class_names,
        )
        return model if device is None else _moved(model, device)
    if isinstance(model, str | Path):
        classifier = _named(model, statistics, input_size, patch_size, device)
        check_classes(num_classes, classifier.num_classes)
        classifier.class_names = names_fit(class_names, classifier.num_classes) or classifier.class_names
        return classifier
    if not isinstance(model, nn.Module):
        raise InputError(
            f"model is a {type(model).__name__}; give a torch.nn.Module, a folder or the name of a timm model"
        )
    model = _inner(model)
    if any(p.is_inference() for p in model.parameters()):
        raise InputError(
            "the module's weights were made in torch.inference_mode, so no gradient can go through it; build it outside, or load its "
            "state_dict into a module that was"
        )
    told = _read(model)
    check_head(model)
    if (inside := _transformer_inside(model)) is not None:
        hint = (
            f"the {type(model).__name__} holds a {type(inside).__name__}; wrap that alone, with mean= and std= of the "
            "normalisation before it: explainers of attention are defined for the inner model only"
        )
        if statistics is None:
            raise InputError(hint)
        warnings.warn(hint, stacklevel=2)
    normalisation = _checked(model, statistics or statistics_of(told.mean, told.std))
    module = model if device is None else _moved(model, device)
    backbone = _converted(module, input_size)
    if backbone is None:
        backbone = module if told.patches else _plain(module, told, len(normalisation[0]), input_size, patch_size)
    wrapped = _Wrapped(
        backbone, *normalisation, (), "the caller" if statistics else "the module",
        input_size=None if input_size is None else pair(input_size),
    )  # fmt: skip
    anchor = next(module.parameters(), None)
    if anchor is not None:
        wrapped.mean, wrapped.std = wrapped.mean.to(anchor.device), wrapped.std.to(anchor.device)
    _check_size(wrapped, input_size, patch_size)
    wrapped.check_pool()
    wrapped.classes = _count(wrapped)
    check_classes(num_classes, wrapped.classes)
    wrapped.check_head()
    wrapped.class_names = names_fit(class_names, wrapped.classes) or told.names(wrapped.classes)
    return wrapped


def _inner(module: nn.Module) -> nn.Module:
    """The module that ``torch.compile`` or ``DataParallel`` was given, which computes the same."""
    while type(module).__name__ in ("OptimizedModule", "DataParallel", "DistributedDataParallel"):
        inner = module._modules.get("_orig_mod") or module._modules["module"]
        assert inner is not None
        module = inner
    return module


def _transformer_inside(module: nn.Module) -> nn.Module | None:
    """The model behind a normalisation in an ``nn.Sequential``, where it could be wrapped by itself with more explainers."""
    if not isinstance(module, nn.Sequential):
        return None
    known = [
        child
        for child in module
        if (type(child).__module__.startswith("timm.") and embedding_of(child) is not None)
        or type(child).__name__ in KINDS
    ]
    return known[0] if len(known) == 1 else None


class _Wrapped(Classifier):
    """A classifier of a user's module, which may say another number of classes than its head has."""

    classes = 0

    @property
    def num_classes(self) -> int:
        return self.classes


@dataclass(frozen=True)
class _Told:
    """A module's own description.

    Attributes:
        mean, std: of its normalisation; None where it does not say.
        size: height and width of its images; None where it does not say.
        patch: side of its patches, for modules of other libraries than timm.
        patches: whether it is a timm model with a patch embedding.
        stored: timm's configuration, or transformers'.
    """

    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    size: tuple[int, int] | None = None
    patch: int | Sequence[int] | None = None
    patches: bool = False
    stored: dict[str, Any] | None = None

    def names(self, classes: int) -> tuple[str, ...]:
        """Names of the classes where there are as many of them."""
        labels = (self.stored or {}).get("id2label")
        if labels:
            named = tuple(str(name) for _, name in sorted((int(k), v) for k, v in labels.items()))
            return named if len(named) == classes else ()
        return names_of(self.stored, classes) if self.stored and "num_classes" in self.stored else ()


def _read(module: nn.Module) -> _Told:
    if any(kind.__module__.startswith("timm.") for kind in type(module).__mro__):
        stored: dict[str, Any] = dict(getattr(module, "pretrained_cfg", None) or {})
        size = stored.get("input_size")
        shape = size and (size[1], size[2])
        has_patches = embedding_of(module) is not None
        return _Told(stored.get("mean"), stored.get("std"), shape, None, has_patches, stored)
    config: Any = getattr(module, "config", None)
    if hasattr(config, "to_dict"):
        stored = config.to_dict()
        vision = stored.get("vision_config") or stored
        size, patch = vision.get("image_size"), vision.get("patch_stride") or vision.get("patch_size")
        if str(vision.get("model_type", "")).startswith("mobilevit"):  # whose patches are of feature maps
            patch = None
        return _Told(size=pair(size) if size else None, patch=patch, stored=stored)
    size, patch = getattr(module, "image_size", None), getattr(module, "patch_size", None)  # torchvision's ViT
    return _Told(size=pair(size) if isinstance(size, int) else None, patch=patch if isinstance(patch, int) else None)


def _checked(module: nn.Module, statistics: tuple[list[float], list[float]] | None) -> tuple[list[float], list[float]]:
    """The normalisation, once it fits the module."""
    if statistics is None:
        raise InputError(
            f"{type(module).__name__} does not say how its images are normalised; give mean= and std= of the channels in "
            "[0, 1] pixel units (image_mean and image_std of its image processor, or 0 and 1 where it takes [0, 1])"
        )
    channels = getattr(module, "in_chans", None)
    if isinstance(channels, int) and channels != len(statistics[0]):
        raise InputError(f"mean= and std= have {len(statistics[0])} channels, the module takes {channels}")
    return statistics


def _converted(module: nn.Module, input_size: int | Sequence[int] | None) -> nn.Module | None:
    """A timm model with the tensors of a transformers classifier; None where there is no conversion."""
    names = [kind.__name__ for kind in type(module).__mro__]
    config: Any = getattr(module, "config", None)
    if not hasattr(config, "to_dict"):
        return None
    if names[0] in INSTEAD:
        raise InputError(f"model is a {names[0]}: {INSTEAD[names[0]]}")
    kind = next((name for name in names if name in KINDS), None)
    if kind is None:
        return None
    settings = config.to_dict()
    arguments = {} if input_size is None else {"img_size": pair(input_size)}
    try:
        with torch.random.fork_rng(
            devices=[]
        ):  # the initial weights, which are replaced, cost the caller no random number
            backbone = KINDS[kind].build(settings, arguments)
        state = KINDS[kind].convert(_stored_tensors(module), backbone, settings)
        problem = misfit(backbone.state_dict(), state)
    except ConfigError as error:
        problem = str(error).removeprefix("models: ")
    if problem is not None:
        warnings.warn(f"{kind} is not converted, so explainers of attention are not defined: {problem}", stacklevel=3)
        return None
    backbone.load_state_dict(state)
    anchor = next(module.parameters())
    return backbone.to(anchor.device, anchor.dtype)


def _stored_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The tensors under the names that they have in a file: transformers 5 has others in memory."""
    state = {name: tensor.detach() for name, tensor in module.state_dict().items()}
    revert = getattr(sys.modules.get("transformers.core_model_loading"), "revert_weight_conversion", None)
    if revert is None or not any(kind.__module__.startswith("transformers.") for kind in type(module).__mro__):
        return state
    return dict(revert(module, state))


def _plain(
    module: nn.Module,
    told: _Told,
    channels: int,
    input_size: int | Sequence[int] | None,
    patch_size: int | Sequence[int] | None,
) -> PlainBackbone:
    size = told.size if input_size is None else pair(input_size)
    if size is None:
        raise InputError(f"{type(module).__name__} does not say the size of its images; give input_size= in pixels")
    return PlainBackbone(module, size, grid_of(size, told.patch if patch_size is None else patch_size))


def _check_size(
    classifier: Classifier, input_size: int | Sequence[int] | None, patch_size: int | Sequence[int] | None
) -> None:
    """Raise :class:`InputError` where the caller contradicts the model."""
    size, side = classifier.input_shape[1:], tuple(map(int, classifier.patches.side))
    if input_size is not None and pair(input_size) != size:
        raise InputError(
            f"input_size is {input_size}, the model takes {size[0]}×{size[1]} pixels; build it with img_size="
        )
    if patch_size is not None and pair(patch_size, "patch_size") != side:
        raise InputError(f"patch_size is {patch_size}, the model's patches are {side[0]}×{side[1]}; leave it out")


@torch.no_grad()
def _count(classifier: Classifier) -> int:
    """Number of classes, from the logits of a black image."""
    image = torch.zeros(1, *classifier.input_shape, device=classifier.mean.device)
    with frozen(classifier):
        try:
            logits = classifier(image)
        except InputError:
            raise
        except Exception as error:  # the user's module may raise anything
            reason = str(error).partition("\n")[0]
            raise InputError(
                f"the module fails on an image of shape {tuple(image.shape)}, the channels of mean= and the input_size; where it takes "
                f"another size, give input_size=. It says: {reason}"
            ) from error
        return int(logits_of(logits).shape[1])


def _named(
    model: str | Path,
    statistics: tuple[list[float], list[float]] | None,
    input_size: int | Sequence[int] | None,
    patch_size: int | Sequence[int] | None,
    device: str | torch.device | None,
) -> Classifier:
    """A folder of the Hugging Face hub, or timm's pretrained weights."""
    path = Path(model)
    if path.is_file():
        raise InputError(f"'{model}' is a file; load its weights into a module and wrap that")
    if not str(model):
        raise InputError("model is empty text; give a torch.nn.Module, a folder or the name of a timm model")
    is_place = isinstance(model, Path) or (os.sep in model and ":" not in model) or model.startswith("~")
    if is_place and not path.is_dir():
        raise InputError(f"model '{model}' is no folder; give one that exists, a module or the name of a timm model")
    mean, std = statistics or (None, None)
    spec: dict[str, Any] = {"timm": None if path.is_dir() else str(model), "mean": mean, "std": std}
    spec["arguments"] = {} if input_size is None else {"img_size": pair(input_size)}
    classifier = load_classifier(spec, path if path.is_dir() else None, "cpu" if device is None else str(device))
    if patch_size is not None:
        if embedding_of(classifier.backbone) is None:
            classifier.patch_size = pair(patch_size, "patch_size")
        _check_size(classifier, None, patch_size)
    return classifier


def _moved(module: nn.Module, device: str | torch.device) -> Any:
    """``module`` where it is there already, else a copy of it there."""
    wanted, anchor = torch.device(device), next(module.parameters(), None)
    there = anchor is None or (anchor.device.type == wanted.type and wanted.index in (None, anchor.device.index))
    return module if there else copy.deepcopy(module).to(wanted)

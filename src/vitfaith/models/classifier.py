"""A timm model that takes images in [0, 1], normalises inside, and knows its patch grid and prefix tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vitfaith.artifacts.weights import write_weights
from vitfaith.errors import ArtifactError, ConfigError, InputError, did_you_mean
from vitfaith.models.batch_norm import straight_gradients
from vitfaith.models.fast.compiler import without_compiler
from vitfaith.models.patches import Patches, embedding_of, find_patches
from vitfaith.models.pixels import check_pixels
from vitfaith.models.precision import Precision, of_one_forward

with without_compiler():
    import timm

M = TypeVar("M", bound=nn.Module)


class Classifier(nn.Module):
    """Logits of ``backbone`` for images in [0, 1].

    Keeping the normalisation inside means that attacks, fills and denoisers all work in pixel units. It runs in float32
    (float64 for float64 images) whatever the precision of the weights, and its result is cast to that.

    Args:
        backbone: a timm model that maps (B, C, H, W) normalised images to (B, K) logits.
        mean, std: channel statistics, in [0, 1] pixel units.
        class_names: in the order of the logits; empty if unknown.
        normalisation_from: who gave mean and std, for provenance: "the study", "the weights", or timm's defaults.
        patch_size: height and width in pixels of the cells that maps have, for a backbone without patches.
        input_size: height and width of the images, for a backbone that does not define it.

    Attributes:
        precision: of its passes; :func:`vitfaith.models.precision.passes_in` sets it for a block.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        class_names: Sequence[str] = (),
        normalisation_from: str = "the study",
        patch_size: tuple[int, int] | None = None,
        input_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.class_names = tuple(class_names)
        self.normalisation_from = normalisation_from
        self.patch_size, self.input_size = patch_size, input_size
        self.precision: Precision = "float32"
        self.register_buffer("mean", torch.tensor(list(mean), dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(list(std), dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self._statistics = (tuple(mean), tuple(std))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) in the precision of the weights for ``images`` (B, C, H, W) of any float type in [0, 1]."""
        with straight_gradients(self.backbone), of_one_forward(self.precision, images.device.type):
            logits: Tensor = self.backbone(self.normalise(images))
        return logits

    def normalise(self, images: Tensor) -> Tensor:
        """Input of the backbone for ``images`` (B, C, H, W) in [0, 1], in the precision of its weights."""
        wide = images if images.dtype in (torch.float32, torch.float64) else images.float()
        normalised = (wide - self.mean) / self.std
        parameter = next(self.backbone.parameters(), None)
        return normalised if parameter is None else normalised.to(parameter.dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Classifier:
        """As ``nn.Module``; but half precision, which would shift the normalisation, stops at the weights."""
        super()._apply(fn, recurse)
        if self.mean.dtype.itemsize < torch.float32.itemsize:
            self.mean, self.std = (
                torch.tensor(values, dtype=torch.float32, device=self.mean.device).view(1, -1, 1, 1)
                for values in self._statistics
            )
        return self

    @property
    def normalisation(self) -> dict[str, Any]:
        """Mean and std of the channels, in [0, 1] pixel units, and who gave them (for provenance)."""
        mean, std = self._statistics
        return {"mean": list(mean), "std": list(std), "from": self.normalisation_from}

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return int(self.backbone.num_classes)  # type: ignore[arg-type]

    @property
    def prefix_tokens(self) -> int:
        """Tokens before the patches (class, registers, distillation): 0 for models pooled over patches alone."""
        return int(getattr(self.backbone, "num_prefix_tokens", 0))

    @property
    def patches(self) -> Patches:
        """Where the patches lie on the images; raises :class:`InputError` where there are none, or they do not fit."""
        size = self.input_shape[1:]
        found, given = find_patches(self.backbone, size), self.patch_size
        if found is not None:
            if given not in (None, found.side):
                raise InputError(
                    f"model {type(self.backbone).__name__} has patches of {found.side[0]}×{found.side[1]} pixels; remove patch"
                )
            return found
        if given is None:
            raise InputError(
                f"model {type(self.backbone).__name__} has no patch grid; set patch, the side in pixels of the cells that maps "
                "have (models.….patch of a study, patch_size of wrap): explainers that need no ViT then work"
            )
        if any(length % side for length, side in zip(size, given, strict=True)):
            raise InputError(
                f"patch {given[0]}×{given[1]} does not divide images of {size[0]}×{size[1]} pixels; set patch to a divisor of both sides"
            )
        return Patches(size, (size[0] // given[0], size[1] // given[1]), given)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of :attr:`patches`."""
        return self.patches.grid

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images that the model takes."""
        size = getattr(embedding_of(self.backbone), "img_size", None) or self.input_size
        if size is None:
            told: Any = getattr(self.backbone, "pretrained_cfg", None) or {}
            if "input_size" not in told:
                raise InputError(
                    f"model {type(self.backbone).__name__} does not say the size of its images; give input_size="
                )
            _, height, width = told["input_size"]
        else:
            height, width = size
        return int(self.mean.shape[1]), int(height), int(width)

    def check_head(self) -> None:
        """Raise :class:`InputError` where the backbone is known to give no logits (B, K) of at least two classes."""
        if self.num_classes < 2:
            raise InputError(
                f"model {type(self.backbone).__name__} has num_classes {self.num_classes}: with a single class, "
                "its probability is always 1; build the model with two logits or more"
            )
        self.check_pool()

    def check_pool(self) -> None:
        """Raise :class:`InputError` where the backbone gives logits of every token or place."""
        pool = getattr(getattr(self.backbone, "module", self.backbone), "global_pool", None)
        if pool == "" or getattr(pool, "pool_type", None) == "":
            raise InputError(
                f"model {type(self.backbone).__name__} is built with global_pool '' and gives logits of every token, not of the "
                "image; build it with the global_pool of its training, such as token or avg"
            )

    def check_images(self, images: Tensor, *, margin: float = 0.0) -> None:
        """Raise :class:`InputError` unless ``images`` is (B, C, H, W) of this model's size, B ≥ 1, finite, in [0, 1].

        ``margin`` says how far noise that is not clipped may leave [0, 1] on either side.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != self.input_shape:
            raise InputError(
                f"images of shape {tuple(images.shape)} do not fit the model, which takes (B, {', '.join(map(str, self.input_shape))}); "
                "set the dataset's preprocessing to that size"
            )
        if not len(images):
            raise InputError("the batch holds no image; give at least one")
        check_pixels(images, margin=margin)

    def check_targets(self, targets: Tensor, count: int) -> None:
        """Raise :class:`InputError` unless ``targets`` is (``count``,) int64 classes of this model."""
        if targets.shape != (count,) or targets.dtype != torch.int64:
            raise InputError(
                f"targets are {targets.dtype} of shape {tuple(targets.shape)}; give one int64 class for each of "
                f"{count} images"
            )
        if count and not 0 <= int(targets.min()) <= int(targets.max()) < self.num_classes:
            raise InputError(
                f"targets lie in [{int(targets.min())}, {int(targets.max())}], but the model has classes 0 to "
                f"{self.num_classes - 1}"
            )


def build_backbone(name: str, arguments: Mapping[str, Any], *, pretrained: bool = False) -> nn.Module:
    """Create the timm model ``name`` (an architecture, or ``architecture.tag``).

    Raises:
        ConfigError: the name, its tag or an argument is unknown, or timm has no pretrained weights of it.
        ArtifactError: the pretrained weights cannot be fetched.
    """
    if not timm.is_model(name):
        raise ConfigError(f"timm has no model '{name}'{did_you_mean(name, timm.list_models())}")
    architecture, _, tag = name.partition(".")
    if tag or pretrained:
        tags = [n.partition(".")[2] for n in timm.list_pretrained(f"{architecture}.*")]
        if not tags or (tag and tag not in tags):
            raise ConfigError(
                f"timm has no pretrained weights '{name}'{did_you_mean(tag, tags)}; known: {', '.join(tags) or 'none'}"
            )
    if arguments.get("features_only"):
        raise ConfigError(f"model '{name}': features_only gives features, and no logits to explain; leave it out")
    try:
        return _sized(timm.create_model(name, pretrained=pretrained, **dict(arguments)), arguments)
    except TypeError as error:
        raise ConfigError(f"model '{name}' does not take these arguments: {error}") from error
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise ArtifactError(
            f"pretrained weights of '{name}' cannot be loaded: {next(iter(str(error).splitlines()), '')}; fetch them "
            "where there is a network (the cache is HF_HOME), or set weights to a file"
        ) from error


def _sized(backbone: nn.Module, arguments: Mapping[str, Any]) -> nn.Module:
    """``backbone``, whose configuration says the size of its images where its patch embedding does not (Hiera, VOLO …)."""
    size = arguments.get("img_size")
    if size is not None and getattr(embedding_of(backbone), "img_size", None) is None:
        told: Any = backbone.pretrained_cfg
        height, width = (size, size) if isinstance(size, int) else size
        setattr(backbone, "pretrained_cfg", {**told, "input_size": (told["input_size"][0], height, width)})  # noqa: B010
    return backbone


def save_classifier(classifier: Classifier, path: Path, description: Mapping[str, Any]) -> None:
    """Write the backbone's weights as safetensors; ``description`` (JSON) goes into the file's metadata."""
    write_weights(classifier.backbone.state_dict(), path, {"vitfaith": json.dumps(description, sort_keys=True)})


def freeze(network: M) -> M:
    """``network`` in evaluation mode and without parameter gradients: a backward pass then computes activation gradients only."""
    return network.eval().requires_grad_(False)


_BEHIND = ("grad_checkpointing", "_compiled_call_impl")
"""Attributes of modules by which timm checkpoints gradients and ``module.compile()`` replaces calls."""


@contextmanager
def frozen(network: M) -> Iterator[M]:
    """As :func:`freeze` for the block; afterwards every mode, flag and gradient of ``network`` is what it was.

    Checkpoints of gradients and compiled calls are off inside: they run blocks again, or run none, behind the back of hooks.
    """
    modules = list(network.modules())
    modes = [(module, module.training) for module in modules]
    parameters = [(p, p.requires_grad, p.grad) for p in network.parameters()]
    switched = [
        (module, name, module.__dict__[name]) for module in modules for name in _BEHIND if module.__dict__.get(name)
    ]
    try:
        for module, name, value in switched:
            module.__dict__[name] = False if value is True else None
        yield freeze(network)
    finally:
        for module, name, value in switched:
            module.__dict__[name] = value
        for module, training in modes:
            module.training = training
        for parameter, required, gradient in parameters:
            parameter.requires_grad_(required)
            parameter.grad = gradient

"""A diffusion denoiser: U-Net and schedule, from a diffusers folder, the hub, or a checkpoint of OpenAI's networks."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitfaith.artifacts.json_file import read_json_object
from vitfaith.denoisers.adm_settings import adm_settings
from vitfaith.denoisers.folder import load_unet, local_folder
from vitfaith.denoisers.layout import folder_files
from vitfaith.denoisers.schedule import Schedule
from vitfaith.denoisers.scheduler_config import check_is_scheduler
from vitfaith.errors import ConfigError, InputError
from vitfaith.models.classifier import freeze
from vitfaith.once import once


class Denoiser:
    """Predicts the clean image behind a noisy one, at any timestep of its schedule.

    A class-conditional network gets the same class, ``class_label``, for every image: the null class if it was trained
    with one. The class predicted by a classifier is not offered: the denoised image would then depend on the
    classifier's decision, and a certificate needs a function of the noisy image alone.

    Attributes:
        network: maps (B, C, H, W) and timesteps (B,) to an object with ``sample`` (B, C or 2C, H, W); frozen, in
            evaluation mode. With 2C channels the second half is the learned variance.
        schedule: noise per timestep, and the meaning of the network's output.
        channels: C.
        size: training size (height, width) of the network, or None if unknown.
        divisor: image sides must be multiples of it.
        timestep_scale: factor from the timestep to the network's input.
        class_label: class for the network, None for an unconditional network.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        name: str = "denoiser",
        *,
        timestep_scale: float = 1.0,
        class_label: int | None = None,
    ) -> None:
        """Take a network with a diffusers ``config`` (in_channels, out_channels, sample_size, block_out_channels).

        Raises:
            ConfigError: it is not a denoiser of images (other output channels), or the class label does not fit it.
        """
        config: Any = network.config
        self.network, self.schedule = freeze(network), schedule
        self.channels = int(config.in_channels)
        outputs = int(config.out_channels)
        if outputs not in (self.channels, 2 * self.channels):
            raise ConfigError(
                f"'{name}' maps {self.channels} channels to {outputs}; a denoiser gives the same number, or twice with "
                "a learned variance"
            )
        if getattr(config, "time_embedding_type", None) == "fourier":
            raise ConfigError(
                f"'{name}' takes a noise level instead of a timestep (time_embedding_type fourier), as for ScoreSdeVe and "
                "KarrasVe; take a denoiser trained on discrete timesteps"
            )
        _check_class(config, class_label, name)
        self.learned_variance = outputs == 2 * self.channels
        size = config.sample_size
        self.size: tuple[int, int] | None = (size, size) if isinstance(size, int) else (tuple(size) if size else None)
        self.divisor = 2 ** (len(config.block_out_channels) - 1)
        self.timestep_scale, self.class_label = timestep_scale, class_label

    @classmethod
    def load(
        cls,
        path: str | Path,
        settings: Mapping[str, Any] | None = None,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        shapes_only: bool = False,
    ) -> Denoiser:
        """Load the denoiser of an entry of the section ``denoisers``.

        Args:
            path: folder in the diffusers layout (``unet/`` and ``scheduler/``, or both in one), a model id of the
                Hugging Face hub, or with ``format: adm`` a checkpoint file.
            settings: keys ``format`` (diffusers or adm), ``preset``, ``arguments``, ``class_label`` of the entry.
            dtype: dtype of the network; the schedule's arithmetic stays float32.
            shapes_only: check that everything fits, from the files' headers; the network has no weights.

        Raises:
            ArtifactError: a file is missing or broken, or the weights do not fit; the text names the file.
            ConfigError: the scheduler or the network is of a kind that cannot be used.
        """
        given = dict(settings or {})
        label = given.get("class_label")
        if given.get("format", "diffusers") == "adm":
            from vitfaith.denoisers.adm import load_adm

            flags = adm_settings(given.get("preset"), given.get("arguments") or {})
            network = load_adm(Path(path), flags, shapes_only=shapes_only)
            schedule, scale, name = Schedule.from_config(flags.scheduler), flags.timestep_scale, str(path)
        else:
            folder = local_folder(path, download=not shapes_only)
            file = folder_files(folder)[2]
            config = read_json_object(file, "denoiser")
            check_is_scheduler(config, str(file))
            schedule = Schedule.from_config(config)
            network, scale, name = load_unet(folder, shapes_only=shapes_only), 1.0, str(folder)
        if not shapes_only:
            # diffusers' own .to(dtype) warns about modules to keep in float32 even when there are none
            network = nn.Module.to(network.to(device), dtype=dtype)
        return cls(network, schedule, name, timestep_scale=scale, class_label=label)

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.network.parameters()).device

    def check_shape(self, channels: int, height: int, width: int) -> None:
        """Raise :class:`InputError` unless images of this shape can go through the network."""
        if channels != self.channels:
            raise InputError(
                f"the denoiser takes {self.channels} channel(s), the images have {channels}; "
                "use a denoiser trained on such images"
            )
        if height % self.divisor or width % self.divisor:
            raise InputError(
                f"images of {height}×{width} do not pass the denoiser, whose sides are multiples of {self.divisor}; "
                "set size: network to resize them"
            )

    def working_size(self, shape: tuple[int, int, int], *, network: bool) -> tuple[int, int]:
        """(height, width) of network inputs for images of ``shape`` (C, H, W): their own size, or the network's size if known.

        Raises:
            InputError: a number of channels other than the network's, or sides that the network cannot halve often enough.
        """
        size = (network and self.size) or shape[1:]
        self.check_shape(shape[0], *size)
        return size

    def most_at_once(self, size: tuple[int, int]) -> int:
        """Number of images of ``size`` (height, width) whose widest layer has fewer than 2³¹ numbers, CUDA's 32-bit limit.

        The widest input of a level is on the way up: its channels plus the channels of the level below.
        """
        config: Any = self.network.config
        channels = [int(number) for number in config.block_out_channels]
        wide = zip(channels, [*channels[1:], channels[-1]], strict=True)
        numbers = max((here + below) * size[0] * size[1] // 4**level for level, (here, below) in enumerate(wide))
        return max(1, (2**31 - 1) // max(1, numbers))

    def add_noise(self, images: Tensor, noise: Tensor, timestep: int) -> Tensor:
        """√ᾱ · ``images`` + √(1 − ᾱ) · ``noise``, both (B, C, H, W) float32 in the [-1, 1] space of the diffusion."""
        return self.schedule.signal(timestep) * images + self.schedule.noise(timestep) * noise

    def predict_clean(self, noisy: Tensor, timestep: int, *, clip: bool = True) -> tuple[Tensor, Tensor | None]:
        """One network call at ``timestep``; differentiable in ``noisy`` where gradients are enabled.

        Args:
            noisy: (B, C, H, W) float32, x_t in the [-1, 1] space.
            clip: clamp the prediction to the schedule's range, [-1, 1] by default.

        Returns:
            x̂₀ (B, C, H, W) float32, and the raw variance output (same shape) or None.
        """
        steps = torch.full((len(noisy),), timestep, dtype=torch.long, device=noisy.device)
        told = steps if self.timestep_scale == 1 else steps * self.timestep_scale
        label = {} if self.class_label is None else {"class_labels": torch.full_like(steps, self.class_label)}
        dtype = next(self.network.parameters()).dtype
        output: Tensor = self.network(noisy.to(dtype), told, **label).sample.float()
        variance = None
        if self.learned_variance:
            output, variance = output.split(self.channels, dim=1)
        signal, noise = self.schedule.signal(timestep), self.schedule.noise(timestep)
        if self.schedule.prediction == "epsilon":
            if not (signal > 0 and isfinite(1 / signal)):
                raise ConfigError(
                    f"timestep {timestep} holds no image; a network that predicts noise cannot denoise it"
                )
            clean = (noisy - noise * output) / signal
        elif self.schedule.prediction == "v_prediction":
            clean = signal * noisy - noise * output
        else:
            clean = output
        limit = self.schedule.clip if clip else None
        return (clean if limit is None else clean.clamp(-limit, limit)), variance


def _check_class(config: Any, class_label: int | None, name: str) -> None:
    if config.class_embed_type is not None:
        raise ConfigError(f"'{name}' is conditional on a {config.class_embed_type}; take an unconditional denoiser")
    classes = config.num_class_embeds
    if classes is None and class_label is not None:
        raise ConfigError(f"'{name}' is unconditional; remove class_label")
    if classes is not None and (class_label is None or not 0 <= class_label < classes):
        raise ConfigError(
            f"'{name}' is conditional on {classes} classes; set class_label to one of 0 … {classes - 1}, the null class "
            "where the network has one, or take an unconditional denoiser"
        )


def job_denoiser(path: str | Path, settings: Mapping[str, Any] | None, device: str) -> Denoiser:
    """As :meth:`Denoiser.load`; all parts of a job share one denoiser, which must not be changed."""
    return once(lambda: Denoiser.load(path, settings, device=device), "denoiser", path, settings, device)

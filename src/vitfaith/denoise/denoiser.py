"""A diffusion denoiser: U-Net and schedule, from a folder in the diffusers layout."""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitfaith.denoise.schedule import Schedule
from vitfaith.errors import ArtifactError, ConfigError, InputError

_WEIGHTS = "diffusion_pytorch_model.safetensors"


class Denoiser:
    """Predicts the clean image behind a noisy one, at any timestep of its schedule.

    Attributes:
        network: maps (B, C, H, W) and timesteps (B,) to an object with ``sample`` (B, C or 2C, H, W); frozen, in
            evaluation mode. With 2C channels the second half is the learned variance.
        schedule: noise of each timestep, and what the network's output means.
        channels: C.
        size: (height, width) that the network was trained at, or None when it does not say.
        divisor: image sides must be multiples of it.
    """

    def __init__(self, network: nn.Module, schedule: Schedule, name: str = "denoiser") -> None:
        """Take a network with a diffusers ``config`` (in_channels, out_channels, sample_size, block_out_channels).

        Raises:
            ConfigError: it is no unconditional denoiser of images (class labels, other output channels).
        """
        config: Any = network.config
        self.network, self.schedule = network.eval().requires_grad_(False), schedule
        self.channels = int(config.in_channels)
        outputs = int(config.out_channels)
        if outputs not in (self.channels, 2 * self.channels):
            raise ConfigError(
                f"'{name}' maps {self.channels} channels to {outputs}; a denoiser gives the same number, or twice with "
                "a learned variance"
            )
        if config.class_embed_type is not None or config.num_class_embeds is not None:
            raise ConfigError(f"'{name}' is conditional on classes; take an unconditional denoiser")
        self.learned_variance = outputs == 2 * self.channels
        size = config.sample_size
        self.size: tuple[int, int] | None = (size, size) if isinstance(size, int) else (tuple(size) if size else None)
        self.divisor = 2 ** (len(config.block_out_channels) - 1)

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Denoiser:
        """Load ``folder``: ``unet/`` and ``scheduler/`` or both in one folder; or a model id of the Hugging Face hub.

        Weights are read from safetensors only. ``dtype`` is the network's; the schedule's arithmetic stays float32.

        Raises:
            ArtifactError: a file is missing or broken, or the weights do not fit; the text names the file.
            ConfigError: the scheduler or the network is of a kind that cannot be used.
        """
        folder = _local_folder(folder)
        unet, scheduler = (folder / s if (folder / s).is_dir() else folder for s in ("unet", "scheduler"))
        schedule = Schedule.from_config(_read_json(scheduler / "scheduler_config.json"))
        kind = _read_json(unet / "config.json").get("_class_name", "UNet2DModel")
        if kind != "UNet2DModel":
            raise ConfigError(
                f"denoiser '{folder}' is a {kind}; only UNet2DModel (unconditional, pixel space) is supported"
            )
        if not (unet / _WEIGHTS).is_file():
            raise ArtifactError(f"denoiser '{folder}' has no {unet / _WEIGHTS}; only safetensors weights are read")
        network = _load_network(unet).to(device)
        # diffusers' own .to(dtype) warns about modules to keep in float32 even when there are none
        return cls(nn.Module.to(network, dtype=dtype), schedule, str(folder))

    @property
    def device(self) -> torch.device:
        """Where the network is."""
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

    def add_noise(self, images: Tensor, noise: Tensor, timestep: int) -> Tensor:
        """√ᾱ · ``images`` + √(1 − ᾱ) · ``noise``, both (B, C, H, W) float32 in the [-1, 1] space of the diffusion."""
        return self.schedule.signal(timestep) * images + self.schedule.noise(timestep) * noise

    def predict_clean(self, noisy: Tensor, timestep: int, *, clip: bool = True) -> tuple[Tensor, Tensor | None]:
        """One network call at ``timestep``; differentiable in ``noisy`` where gradients are enabled.

        Args:
            noisy: (B, C, H, W) float32, x_t in the [-1, 1] space.
            clip: clamp the prediction to [-1, 1].

        Returns:
            x̂₀ (B, C, H, W) float32, and the raw variance output (same shape) or None.
        """
        steps = torch.full((len(noisy),), timestep, dtype=torch.long, device=noisy.device)
        dtype = next(self.network.parameters()).dtype
        output: Tensor = self.network(noisy.to(dtype), steps).sample.float()
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
        return (clean.clamp(-1, 1) if clip else clean), variance


def _local_folder(folder: str | Path) -> Path:
    path = Path(folder)
    if path.is_dir():
        return path
    name = str(folder)
    if path.is_absolute() or name.count("/") != 1 or name.startswith("."):
        raise ArtifactError(f"denoiser folder '{folder}' does not exist; give a folder with unet/ and scheduler/")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", f"*{_WEIGHTS}"]))
    except Exception as error:
        raise ArtifactError(
            f"denoiser '{folder}' is no folder, and the Hugging Face hub does not give it: {error}"
        ) from error


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"denoiser: '{file}' cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"denoiser: '{file}' is no JSON object")
    return content


def _load_network(unet: Path) -> nn.Module:
    from diffusers.models.unets.unet_2d import UNet2DModel
    from diffusers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()  # else a notice about accelerate in every job's log
    try:
        network, report = UNet2DModel.from_pretrained(
            unet, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False, output_loading_info=True
        )
    except Exception as error:  # safetensors, os and shape errors; diffusers wraps them in several ways
        reason = " ".join(str(error).split("\n")[:2]).replace("\t", "")
        raise ArtifactError(f"denoiser: weights in '{unet}' cannot be loaded: {reason}") from error
    finally:
        logging.set_verbosity(level)
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report.get(problem):
            raise ArtifactError(
                f"denoiser: weights in '{unet}' do not fit config.json: {problem.replace('_', ' ')} "
                f"{', '.join(map(str, list(report[problem])[:3]))}"
            )
    return network

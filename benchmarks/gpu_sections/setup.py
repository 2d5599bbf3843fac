"""What all sections share: the device, its clock, networks with random weights, and the shipped ones."""

from __future__ import annotations

import gc
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from benchmarks.machine import processor_name
from torch import Tensor

from vitfaith.denoisers.adm import build_network
from vitfaith.denoisers.adm_settings import adm_settings
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.denoisers.schedule import Schedule
from vitfaith.models.classifier import Classifier, build_backbone, freeze

ROOT = Path(__file__).resolve().parents[2]
SMALL_VIT = {"img_size": 28, "patch_size": 4, "embed_dim": 64, "depth": 6, "num_heads": 4, "mlp_ratio": 2.0}
VITS = {
    "ViT-Ti": "vit_tiny_patch16_224",
    "ViT-S": "vit_small_patch16_224",
    "ViT-B": "vit_base_patch16_224",
    "ViT-L": "vit_large_patch16_224",
}
"""Name in the tables → timm's."""
ADM = "imagenet_256_uncond"
PACKAGES = (
    "torch", "torchvision", "timm", "numpy", "diffusers", "torchattacks", "captum", "grad-cam", "quantus", "torchcam",
)  # fmt: skip

Row = dict[str, Any]
Case = tuple[str, Callable[[], Row]]
"""What is measured, and the function that measures it: further columns of the row."""


@dataclass
class Setup:
    """Where and how large.

    Attributes:
        device: "cuda" or "cpu".
        small: 28-pixel networks in place of the large ones, for a test on a CPU.
        folder: for files that stages exchange.
    """

    device: str
    small: bool
    folder: Path
    repeats: int = 3
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device == "cuda"

    @cached_property
    def vits(self) -> list[str]:
        """Names of the ViTs that are measured."""
        return ["ViT-Ti"] if self.small else list(VITS)

    def vit(self, name: str) -> Classifier:
        """A ViT with random weights, on the device."""
        arguments = SMALL_VIT if self.small else {}
        with torch.device(self.device):
            backbone = build_backbone(VITS[name], arguments)
        return freeze(Classifier(backbone, [0.5] * 3, [0.5] * 3).to(self.device))

    def adm(self, *, channels_last: bool = False) -> Denoiser:
        """A U-Net of 553 million parameters at 256 px with random weights; the shipped one where all is ``small``."""
        if self.small:
            denoiser = Denoiser.load(ROOT / "resources/denoisers/fashion_mnist", device=self.device)
        else:
            flags = adm_settings(ADM, {})
            with torch.device(self.device):
                network = build_network(flags)
            network = network.to(self.device)
            denoiser = Denoiser(network, Schedule.from_config(flags.scheduler), "adm")
        if channels_last:
            denoiser.network.to(memory_format=torch.channels_last)
        return denoiser

    def images(self, count: int, shape: tuple[int, ...]) -> Tensor:
        """Random stored pixels (``count``, *shape) on the device."""
        source = torch.Generator().manual_seed(0)
        return (torch.randint(0, 256, (count, *shape), generator=source) / 255).to(self.device)

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def once(self, action: Callable[[], object]) -> float:
        """Seconds of one call, its work on the device included."""
        self.synchronize()
        start = time.perf_counter()
        action()
        self.synchronize()
        return time.perf_counter() - start

    def seconds(self, *actions: Callable[[], object]) -> list[float]:
        """Median seconds of each action after a warm-up; the actions take turns, so that a slow minute slows all."""
        for action in actions:
            self.once(action)
        rounds = [[self.once(action) for action in actions] for _ in range(self.repeats)]
        return [statistics.median(times) for times in zip(*rounds, strict=True)]

    def free(self) -> None:
        """Give unused memory back."""
        gc.collect()
        if self.on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak(self) -> float | None:
        """GiB that tensors took at most since :meth:`free`."""
        return round(torch.cuda.max_memory_allocated() / 2**30, 2) if self.on_gpu else None


def machine(device: str) -> Row:
    """Names and versions for the head of the page."""
    found: Row = {"device": device, "processor": processor_name(), "python": platform.python_version()}
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        found |= {
            "gpu": torch.cuda.get_device_name(),
            "memory": f"{properties.total_memory / 2**30:.0f} GiB",
            "driver": _driver(),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return found | {"packages": dict(_versions())}


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            yield name, "not installed"


def _driver() -> str:
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"

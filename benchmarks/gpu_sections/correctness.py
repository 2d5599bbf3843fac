"""Every explainer, metric, fill, attack and smoothing on the device against the CPU, from the same inputs.

The shipped ViT of 7 × 7 patches on test images, which are given on the CPU. Random numbers are keyed by image and drawn on the CPU, so what differs is
rounding, and what rounding decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from benchmarks.gpu_sections.compare import compared, of_maps
from benchmarks.gpu_sections.setup import Case, Row, Setup
from benchmarks.gpu_sections.shipped import Shipped, both
from torch import Tensor

from vitfaith.attacks.registry import ATTACKS
from vitfaith.attacks.run import attack_images
from vitfaith.attacks.smoothed import Defence
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.fills.registry import FILLS
from vitfaith.metrics.registry import METRICS
from vitfaith.models.precision import forward_precision
from vitfaith.smoothings.dds import DdsParameters, Mode, dds
from vitfaith.smoothings.registry import SMOOTHINGS

METHODS = ("random", "attention_rollout", "input_x_gradient")
MODES = Mode.__args__  # type: ignore[attr-defined]
FEWER: dict[str, dict[str, Any]] = {
    "irof": {"segments": 12},
    "autoattack": {"steps": 5, "queries": 50},
    "torchattacks": {"name": "DIFGSM", "arguments": {"steps": 3}},
    "adaptive_pgd": {"through": "dds", "eot": 2},
    "cw": {"steps": 10},
    "apgd": {"steps": 10},
}
"""Registered name → settings that its row needs or that keep it short."""


def cases(setup: Setup) -> Iterator[Case]:
    """One row for each registered item; settings are the defaults or shorter."""
    on_cpu, on_device = both(setup)
    for entry in EXPLAINERS:
        if entry.traits["family"] != "external":
            yield f"explainer {entry.name}", partial(_explainer, on_cpu, on_device, entry.name)
    maps = maps_of(on_cpu, METHODS)
    for entry in METRICS:
        yield f"metric {entry.name}", partial(_metric, on_cpu, on_device, maps, entry.name, FEWER.get(entry.name, {}))
    for entry in FILLS:
        settings = {"name": entry.name, **({"denoiser": "shipped", "steps": 3} if entry.name == "diffusion" else {})}
        yield (
            f"fill {entry.name}",
            partial(_metric, on_cpu, on_device, maps, "deletion_auc", {"fill": settings, "level": "patch"}),
        )
    for mode in MODES:
        yield f"smoothing dds, {mode}", partial(_smoothing, on_cpu, on_device, mode)
    for entry in ATTACKS:
        yield f"attack {entry.name}", partial(_attack, on_cpu, on_device, entry.name)
    if setup.on_gpu:
        yield "denoising with TF32 convolutions", partial(_tf32, on_cpu, on_device)


def maps_of(where: Shipped, names: tuple[str, ...]) -> dict[str, Tensor]:
    """Maps of registered explainers, on the CPU."""
    methods = {name: where.explainer(name) for name in names}
    with forward_precision("float32", where.device):
        return explain(
            where.classifier, where.images.cpu(), where.targets.cpu(), where.ids, methods, seed=0, batch_size=64
        )


def _explainer(on_cpu: Shipped, on_device: Shipped, name: str) -> Row:
    found, expected = (maps_of(where, (name,))[name].numpy() for where in (on_device, on_cpu))
    return of_maps(found, expected, 1e-3, within=0.99)


def scores_of(where: Shipped, maps: Mapping[str, Tensor], name: str, settings: Mapping[str, Any]) -> np.ndarray:
    """Values of one metric for maps."""
    item = METRICS.item(name, **settings)
    with forward_precision("float32", where.device):  # also of a denoiser that a fill draws from
        found: pa.Table = evaluate(
            where.classifier, where.images.cpu(), where.targets.cpu(), where.ids, maps, {name: item},
            labels=where.labels.cpu(), truth=where.truth.cpu(), extras=where.extras, batch_size=256,
        ).scores  # fmt: skip
    return found.column("value").to_numpy()


def _metric(
    on_cpu: Shipped, on_device: Shipped, maps: Mapping[str, Tensor], name: str, settings: Mapping[str, Any]
) -> Row:
    found, expected = (scores_of(where, maps, name, settings) for where in (on_device, on_cpu))
    return compared(found, expected, 1e-3, within=0.95)


def _smoothed(where: Shipped, mode: str) -> Tensor:
    sigma = 8 / 255 if mode.startswith("official") else 0.25
    steps = {"steps": 5} if mode == "multistep" else {}
    parameters = DdsParameters.model_validate({"sigma": sigma, "denoiser": "shipped", "mode": mode, **steps})
    return dds(where.denoiser, where.images.cpu(), where.ids, parameters, range(2), seed=0, batch_size=64)


def _smoothing(on_cpu: Shipped, on_device: Shipped, mode: str) -> Row:
    with forward_precision("float32", on_device.device):
        return compared(_smoothed(on_device, mode), _smoothed(on_cpu, mode), 1e-4)


def _tf32(on_cpu: Shipped, on_device: Shipped) -> Row:
    """What torch does by default: convolutions in TF32."""
    with forward_precision("tf32", on_device.device):
        return compared(_smoothed(on_device, "calibrated"), _smoothed(on_cpu, "calibrated"), 1e-2)


def attacked(where: Shipped, name: str, given: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Images (B, C, H, W) uint8 that an attack with the settings ``given`` makes, and which of them fool the model."""
    settings = dict(given)
    if "steps" in ATTACKS[name].parameters.model_fields and not given:
        settings["steps"] = 3
    if "explainer" in ATTACKS[name].parameters.model_fields:
        settings["explainer"] = "transformer_mm"
    defence = None
    if "through" in settings:
        smoothing = SMOOTHINGS.item("dds", sigma=0.1, samples=2, denoiser="shipped")
        defence = Defence(smoothing, where.denoiser)
    count = min(3, where.count)
    with forward_precision("float32", where.device):
        result = attack_images(
            where.classifier, where.images[:count].cpu(), where.targets[:count].cpu(), where.ids[:count],
            ATTACKS.item(name, **settings), seed=0, batch_size=64, defence=defence,
        )  # fmt: skip
    return result.images, result.success


def _attack(on_cpu: Shipped, on_device: Shipped, name: str) -> Row:
    """Where a gradient is nearly zero, rounding decides its sign, and with it a pixel."""
    (found, again), (expected, success) = (attacked(where, name, FEWER.get(name, {})) for where in (on_device, on_cpu))
    row = compared(found, expected, 0.0, within=0.9)
    return row | ({} if np.array_equal(success, again) else {"result": "differs: other images are fooled"})

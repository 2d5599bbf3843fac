"""Disk and memory that a study needs, estimated from shapes. The estimates are upper bounds, because pixels hardly compress."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vitfaith.artifacts.paths import SHARED
from vitfaith.check.datasets import DatasetFacts
from vitfaith.models.batch_size import ON_CPU
from vitfaith.models.classifier import Classifier
from vitfaith.study.metric_inputs import infilled
from vitfaith.study.sizes import ROW, arrays_of, compared, samples_of, scored

if TYPE_CHECKING:
    from vitfaith.denoisers.denoiser import Denoiser
    from vitfaith.study.plan import Plan

PROGRAM = 1_000_000_000
"""Bytes of a job before it reads anything: Python, torch, timm and diffusers."""

_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Memory:
    """Bytes that the largest job of a study needs, and which one it is."""

    size: float
    job: str


def disk_needed(plan: Plan, datasets: Mapping[str, DatasetFacts], models: Mapping[str, Classifier]) -> dict[str, float]:
    """Bytes by folder below ``results/`` for conditions whose dataset and model are known."""
    found: dict[str, float] = dict.fromkeys(("shard", "attack", "denoise", "predictions", "attribute", "tables"), 0.0)
    attacked, denoised, sharded = set(), set(), set()
    for condition in plan.conditions:
        if condition.dataset not in datasets or condition.model not in models:
            continue
        facts, classifier = datasets[condition.dataset], models[condition.model]
        pixels = facts.images * _pixels(facts)
        if condition.dataset not in sharded:
            sharded.add(condition.dataset)
            found["shard"] += pixels * (1 + facts.masks / facts.shape[0])
        if (condition.dataset, condition.model, condition.attack) not in attacked:
            attacked.add((condition.dataset, condition.model, condition.attack))
            found["attack"] += pixels if plan.changes(condition.attack) else facts.images * ROW
        samples = samples_of(plan, condition.smoothing)
        model = SHARED if condition.attack == "clean" else condition.model
        if samples and (condition.dataset, model, condition.attack, condition.smoothing) not in denoised:
            denoised.add((condition.dataset, model, condition.attack, condition.smoothing))
            found["denoise"] += 2 * samples * pixels
        maps = facts.images * sum(map(len, plan.methods(condition).values()))
        patches = classifier.grid[0] * classifier.grid[1]
        found["attribute"] += maps * (patches * 4 * arrays_of(plan, condition) + ROW)
        found["predictions"] += facts.images * (5 * classifier.num_classes + ROW + 4 * samples)
        found["tables"] += maps * (scored(plan, condition) + compared(plan, condition))
    return found


def memory_needed(
    plan: Plan,
    datasets: Mapping[str, DatasetFacts],
    models: Mapping[str, Classifier],
    twins: Mapping[str, Classifier],
    denoisers: Mapping[str, Denoiser],
) -> Memory:
    """The largest of the study's jobs on a CPU: a shard's arrays, the network, and what a batch keeps for its backward pass.

    On a GPU the last part lies in its own memory, and the batch is halved when that runs out.
    """
    largest = Memory(PROGRAM, "any job")
    kept = {id_: kept_for_backward(models[id_], twin) for id_, twin in twins.items()}
    asked = plan.study.compute.batch_size
    batch = ON_CPU if asked == "auto" else asked
    for condition in plan.conditions:
        if condition.dataset not in datasets:
            continue
        facts = datasets[condition.dataset]
        images, pixels = min(facts.shard_size, facts.images), _pixels(facts)
        samples = samples_of(plan, condition.smoothing)
        place = f"{condition.dataset}, {condition.smoothing}"
        if condition.model in twins:
            network = _weights(models[condition.model].backbone) + min(batch, images) * kept[condition.model]
            size = PROGRAM + network + images * pixels * (9 + 6 * samples)
            largest = max(largest, Memory(size, f"attribute {condition.model} on {place}"), key=lambda m: m.size)
        denoiser = denoisers.get(plan.denoiser_id("smoothings", condition.smoothing) or "")
        if samples and denoiser is not None:
            network = _weights(denoiser.network) + min(batch, images * samples) * held_in_forward(denoiser, facts.shape)
            size = PROGRAM + network + images * pixels * (5 + 6 * samples)
            largest = max(largest, Memory(size, f"denoise {place}"), key=lambda m: m.size)
        filler = denoisers.get(plan.denoiser_id("metrics", infilled(plan, condition)) or "")
        if filler is not None:
            network = _weights(filler.network) + batch * held_in_forward(filler, facts.shape)
            size = PROGRAM + network + images * pixels * 9
            largest = max(largest, Memory(size, f"score {condition.model} on {place}"), key=lambda m: m.size)
    return largest


def kept_for_backward(classifier: Classifier, twin: Classifier) -> int:
    """Bytes that autograd keeps of one image, counted on the narrow twin and scaled by the widths.

    Explainers that read attention hold the matrix, its gradient and a product of both in every layer; they come on top.
    """
    own = {p.untyped_storage().data_ptr() for p in twin.state_dict().values()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no address is used twice
        return tensor

    image = torch.zeros(1, *twin.input_shape, requires_grad=True)
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        twin.backbone(image)
    width = int(classifier.backbone.num_features) / int(twin.backbone.num_features)  # type: ignore[arg-type]
    attention = 0
    if hasattr(classifier.backbone, "blocks"):  # windows of a hierarchical model are small beside its other arrays
        tokens = classifier.grid[0] * classifier.grid[1] + classifier.prefix_tokens
        heads = [getattr(m, "num_heads", 0) for m in classifier.backbone.modules() if hasattr(m, "qkv")]
        attention = sum(3 * 4 * int(count) * tokens**2 for count in heads)
    return round(width * sum(t.untyped_storage().nbytes() for t in kept.values())) + attention


def held_in_forward(denoiser: Denoiser, shape: tuple[int, int, int]) -> int:
    """Bytes that a U-Net holds of one image at its widest: all skip connections, and six copies of the largest array."""
    config: Any = denoiser.network.config
    rows, columns = denoiser.size or shape[1:]
    arrays = [4 * width * rows * columns // 4**level for level, width in enumerate(config.block_out_channels)]
    return (int(config.layers_per_block) + 1) * sum(arrays) + 6 * max(arrays)


def amount(size: float) -> str:
    """``size`` bytes in words: "80 kB", "41 MB", "2.6 GB"."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{round(size / 1e6)} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"


def disk_free(folder: Path) -> int:
    """Free bytes where ``folder`` is or will be."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def memory_here() -> int:
    """Bytes of memory of this machine, or of the control group that this process runs in."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for name in _CGROUPS:
        try:
            limits.append(int(Path(name).read_text()))
        except (OSError, ValueError):
            continue
    return min(limits)


def _pixels(facts: DatasetFacts) -> int:
    channels, height, width = facts.shape
    return channels * height * width


def _weights(network: nn.Module) -> int:
    return 4 * sum(p.numel() for p in network.parameters())

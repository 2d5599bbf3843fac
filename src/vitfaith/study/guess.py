"""Seconds and bytes of jobs that nothing like has run yet, in closed form."""

from __future__ import annotations

import shutil
from pathlib import Path

from vitfaith.study.jobs import Job
from vitfaith.study.needs import PER_SECOND_CPU, PER_SECOND_GPU
from vitfaith.study.plan import Plan
from vitfaith.study.sizes import methods_of, pixels_of, stored, tables_of
from vitfaith.study.work import WITHOUT_NETWORK, cost_of_pass, passes

Passes = tuple[float, float]
"""Forward and backward passes of one image."""

START = 10.0
"""Seconds of a job beside its images: imports, and loading networks."""

_SECONDS_PER_IMAGE, _SECONDS_PER_MAP = 0.005, 0.001
_OF_EXPERIMENT = {"tables": 2e-4, "figures": 1e-5, "page": 1e-5}
"""Seconds of an image × method × condition: tables of 4,000 images × 15 methods × 3 conditions take 36 s."""


def computes_on_gpu(plan: Plan) -> bool:
    """Whether the jobs of a study are taken to have a GPU: as it says, else where this machine or a cluster may have one."""
    device = plan.study.compute.device
    return device == "cuda" or (
        device == "auto" and (Path("/proc/driver/nvidia/gpus").exists() or shutil.which("sbatch") is not None)
    )


def guess(plan: Plan, job: Job, counted: Passes | None, on_gpu: bool) -> tuple[float, float]:
    """Seconds that a job takes on a slow device, and bytes that it writes.

    Args:
        counted: passes of one image, where they were counted; else they are taken in closed form.
    """
    wildcards = job.wildcards
    if job.stage in _OF_EXPERIMENT:
        experiment = wildcards["experiment"]
        size = tables_of(plan, experiment) if job.stage == "tables" else 0
        return START + _OF_EXPERIMENT[job.stage] * _rows(plan, experiment), size
    size = job.images * stored(plan, job.stage, wildcards)
    if job.stage in WITHOUT_NETWORK:
        each = (
            _SECONDS_PER_IMAGE * pixels_of(plan, wildcards["dataset"]) / (3 * 224 * 224)
            if job.stage == "shard"
            else _SECONDS_PER_MAP * len(methods_of(plan, wildcards))
        )
        return START + job.images * each, size
    if counted is None or job.stage == "attack":  # of an attack through a smoothing the denoiser is not counted
        work = passes(plan, job.stage, wildcards)
    else:
        work = (counted[0] + 2 * counted[1]) * cost_of_pass(plan, job.stage, wildcards)
    return START + job.images * work / (PER_SECOND_GPU if on_gpu else PER_SECOND_CPU), size


def _rows(plan: Plan, experiment: str) -> int:
    asked = plan.study.experiments[experiment]
    conditions = len(asked.models) * len(asked.attacks) * len(asked.smoothings) * len(asked.targets)
    return sum(plan.images(dataset) for dataset in asked.datasets) * len(asked.explainers) * conditions

"""A few steps of every training's job on the device against the CPU: the trained numbers, from the same start and the same batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.gpu_sections.compare import compared, only_on
from benchmarks.gpu_sections.setup import Case, Row, Setup
from benchmarks.gpu_sections.shipped import Shipped, both

from vitfaith.explainers.diffmask.recipe import OFFICIAL
from vitfaith.models.checkpoint import read_checkpoint
from vitfaith.models.precision import forward_precision
from vitfaith.registries import REGISTRIES
from vitfaith.stages.train_classifier import run_train_classifier
from vitfaith.stages.train_denoiser import run_train_denoiser
from vitfaith.stages.train_diffmask import run_train_diffmask
from vitfaith.stages.train_shapley import run_train_shapley

STEPS = 3
"""Optimiser steps: enough for every part of a step to act on the next one, too few for rounding to grow."""

Train = Callable[[Shipped, Path], None]
"""``train(where, out)``: by the job's function, on the shard of ``where``."""


def cases(setup: Setup) -> Iterator[Case]:
    """DiffMask by both rules, of the prediction and of a class; ViT-Shapley; classifier, also from weights; denoiser."""
    on_cpu, on_device = both(setup)
    fine_tuned = {"start_from": str(on_cpu.given.weights), "removal": {"fill": "noisy_linear"}}
    trainings: dict[str, Train] = {
        "DiffMask": _diffmask,
        "DiffMask of a class": partial(_diffmask, class_specific=True),
        "DiffMask, official rule": partial(_diffmask, settings=OFFICIAL | {"warmup": 1}),
        "ViT-Shapley": _shapley,
        "classifier": _classifier,
        "classifier, from weights, on removed patches": partial(_classifier, settings=fine_tuned),
        "denoiser": _denoiser,
    }
    for number, (name, train) in enumerate(trainings.items()):
        folder = setup.folder / f"training-{number}"
        yield f"training {name}, {STEPS} steps", partial(_compare, on_cpu, on_device, train, folder)


def _compare(on_cpu: Shipped, on_device: Shipped, train: Train, folder: Path) -> Row:
    found, expected = (_trained(where, train, folder / where.device) for where in (on_device, on_cpu))
    return compared(found, expected, 1e-2, within=0.99)  # Adam divides by gradients that may be near zero


def _trained(where: Shipped, train: Train, folder: Path) -> np.ndarray:
    """All numbers of the weights that ``train`` writes into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with forward_precision("float32", where.device), only_on(where.device):
        train(where, folder / "out.safetensors")
    states = [read_checkpoint(path).state for path in sorted(folder.rglob("*.safetensors"))]
    return np.concatenate([values.double().numpy().ravel() for state in states for values in state.values()])


def _on(where: Shipped) -> dict[str, Any]:
    reader = REGISTRIES["datasets"].item("parquet", path=str(where.shard)).spec()
    return {"model": where.given.spec, "train_on": reader, "test_on": reader}


def _diffmask(where: Shipped, out: Path, class_specific: bool = False, settings: dict[str, Any] | None = None) -> None:
    recipe = {"steps": STEPS, "epochs": STEPS, "batch_size": where.count, "warmup": 1} | (settings or {})
    spec = _on(where) | {"recipe": recipe, "class_specific": class_specific}
    run_train_diffmask(spec, "", where.given.weights, out, out.with_suffix(".parquet"), where.device)


def _shapley(where: Shipped, out: Path) -> None:
    recipe = {"surrogates": {}, "epochs": STEPS, "batch_size": where.count, "sets": 2}
    spec, weights = _on(where) | {"recipe": recipe, "surrogate": where.given.spec}, where.given.weights
    run_train_shapley(spec, "", weights, weights, out, out.with_suffix(".parquet"), where.device)


def _classifier(where: Shipped, out: Path, settings: dict[str, Any] | None = None) -> None:
    spec = _on(where) | {"recipe": {"epochs": STEPS, "batch_size": where.count} | (settings or {})}
    run_train_classifier(spec, "", out, out.with_suffix(".parquet"), where.device)


def _denoiser(where: Shipped, out: Path) -> None:
    spec = _on(where) | {"recipe": {"channels": (8, 16), "epochs": STEPS, "batch_size": where.count, "crop": 8}}
    run_train_denoiser(spec, "", out.with_name("denoiser"), out.with_suffix(".parquet"), where.device)

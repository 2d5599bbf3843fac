"""The trainings as jobs: what their records say of the machine."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vitfaith.models.fast.linear import kernels

ARGUMENTS = {
    "img_size": 8,
    "patch_size": 4,
    "in_chans": 1,
    "num_classes": 2,
    "embed_dim": 16,
    "depth": 1,
    "num_heads": 2,
}


def recorded(folder: Path) -> list[dict[str, Any]]:
    """The provenance of every record below ``folder``."""
    return [json.loads(path.read_text())["provenance"] for path in sorted(folder.rglob(".*.json"))]


@pytest.mark.parametrize(
    ("stage", "out", "spec"),
    [
        (
            "train_classifier",
            "vit.safetensors",
            {
                "model": {"timm": "vit_tiny_patch16_224", "arguments": ARGUMENTS},
                "recipe": {"epochs": 1, "batch_size": 8, "shift": 0, "ema_decay": 0.9},
            },
        ),
        ("train_denoiser", "unet", {"recipe": {"epochs": 1, "batch_size": 8, "channels": [32], "max_timestep": 5}}),
    ],
)
def test_a_training_names_the_kernels_that_it_used(
    stage: str, out: str, spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of torch: trained weights go through no layer of ours."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 1, 8, 8), dtype=np.uint8)
    module = importlib.import_module(f"vitfaith.stages.{stage}")
    monkeypatch.setattr(module, "training_set", lambda _spec, _part: (pixels, np.arange(16) % 2))
    run = getattr(module, f"run_{stage}")
    run(spec | {"train_on": {}, "test_on": {}}, "code", tmp_path / out, tmp_path / "log.parquet", "cpu")
    (facts,) = recorded(tmp_path)
    assert facts["kernels"] == kernels("cpu", quick=False)
    assert facts["kernels"]["linear"] == "torch"

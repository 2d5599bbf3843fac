"""A shard of five images with their maps, segmentations and weights on disk, as stages read them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray

from tests.conftest import tiny_vit
from vitfaith.artifacts.images import encode_images, encode_truth
from vitfaith.artifacts.schemas import IMAGES, MAPS, SHARDS
from vitfaith.artifacts.store import write_table
from vitfaith.models.classifier import save_classifier
from vitfaith.stages.bank import run_bank
from vitfaith.stages.score import run_score
from vitfaith.study.identity import spec_of
from vitfaith.study.load import load_study
from vitfaith.study.plan import Plan

ARGUMENTS = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 3, "num_heads": 3, "mlp_ratio": 2.0}
IDS = [f"image-{i}" for i in range(5)]


@dataclass
class ShardOnDisk:
    """Files of one shard below ``folder``; ``metrics`` is the configuration's section of that name."""

    folder: Path
    metrics: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    denoisers: dict[str, Any] = field(default_factory=dict)
    targets: list[str] = field(default_factory=lambda: ["clean_prediction"])

    @property
    def plan(self) -> Plan:
        """The plan of a study that scores one explainer with ``metrics``, clean and without smoothing."""
        axes = {"datasets": ["d"], "models": ["m"], "attacks": ["clean"], "smoothings": ["none"], "explainers": ["r"]}
        return Plan(
            load_study(
                {
                    "datasets": {"d": {"reader": "parquet", "path": str(self.folder / "shard.parquet"), "images": 5}},
                    "models": {"m": self.settings},
                    "denoisers": self.denoisers,
                    "attacks": {"clean": {}},
                    "smoothings": {"none": {}},
                    "explainers": {"r": {"explainer": "random"}},
                    "metrics": self.metrics,
                    "experiments": {"e": {**axes, "metrics": list(self.metrics), "targets": self.targets}},
                }
            )
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The model's section."""
        weights = str(self.folder / "weights.safetensors")
        arguments = {**ARGUMENTS, "num_classes": 5}
        return {
            "timm": "vit_tiny_patch16_224", "arguments": arguments, "weights": weights,
            "mean": [0.5] * 3, "std": [0.25] * 3, **self.model,
        }  # fmt: skip

    def write_maps(self, maps: dict[str, NDArray[np.float32]], ids: list[str] = IDS) -> None:
        """Maps (B, rows, columns) by method."""
        parts = [
            pa.table(
                {
                    "image_id": ids,
                    "method": [method] * len(ids),
                    "target": pa.array([0] * len(ids), pa.int32()),
                    "rows": pa.array([values.shape[1]] * len(ids), pa.int16()),
                    "columns": pa.array([values.shape[2]] * len(ids), pa.int16()),
                    "map": pa.array(list(values.reshape(len(ids), -1)), pa.list_(pa.float32())),
                    "spread": pa.nulls(len(ids), pa.list_(pa.float32())),
                    "samples": pa.array([1] * len(ids), pa.int32()),
                    "flag": [""] * len(ids),
                    "tied": [0.0] * len(ids),
                }
            )
            for method, values in maps.items()
        ]
        write_table(pa.concat_tables(parts), self.folder / "maps.parquet", MAPS, {})

    def write_shard(self, masks: list[NDArray[Any] | None], ids: list[str] = IDS) -> None:
        """The shard that the images came in, with their segmentations."""
        pixels = np.zeros((len(ids), 3, 16, 16), np.uint8)
        columns = {"image_id": pa.array(ids), "label": pa.array([0] * len(ids), pa.int32()), **encode_images(pixels)}
        write_table(pa.table({**columns, **encode_truth(masks)}), self.folder / "shard.parquet", SHARDS, {})

    def bank(self, **options: Any) -> Path:
        """The response bank of ``metrics``."""
        place = {"dataset": "d", "model": "m", "attack": "clean", "smoothing": "none", "explained": self.targets[0]}
        spec = json.loads(spec_of(self.plan, "bank", {**place, "shard": "shard-000"}))
        out = self.folder / "bank.parquet"
        run_bank(
            spec, "", self.folder / "images.parquet", self.folder / "weights.safetensors", out, device="cpu", batch_size=64,
            **options,
        )  # fmt: skip
        return out

    def score(self, **options: Any) -> pd.DataFrame:
        """Rows that the score stage writes."""
        names = {
            "dataset": "d",
            "model": "m",
            "attack": "clean",
            "smoothing": "none",
            "explained": self.targets[0],
            "family": "r",
        }
        spec = json.loads(spec_of(self.plan, "score", {**names, "shard": "shard-000"}))
        run_score(
            spec, "", self.folder / "images.parquet", self.folder / "maps.parquet", self.folder / "weights.safetensors",
            self.folder / "scores.parquet", self.folder / "curves.parquet", device="cpu", batch_size=64, **options,
        )  # fmt: skip
        return pd.read_parquet(self.folder / "scores.parquet")


def shard_on_disk(folder: Path, images: torch.Tensor, targets: torch.Tensor) -> ShardOnDisk:
    """Five random images, explained for their targets, with maps of two methods and a segmentation each."""
    on_disk = ShardOnDisk(folder)
    save_classifier(tiny_vit(), folder / "weights.safetensors", {})
    pixels = (images * 255).round().to(torch.uint8).numpy()
    zeros = pa.array([0.0] * 5, pa.float32())
    columns = {
        "image_id": pa.array(IDS),
        "label": pa.array(targets.numpy(), pa.int32()),
        "target": pa.array(targets.numpy(), pa.int32()),
        "prediction": pa.array(targets.numpy(), pa.int32()),
        "success": pa.array([False] * 5),
        "linf": zeros,
        "l2": zeros,
        **encode_images(pixels),
    }
    write_table(pa.table(columns), folder / "images.parquet", IMAGES, {})
    maps = np.random.default_rng(0).normal(size=(2, 5, 4, 4)).astype(np.float32)
    on_disk.write_maps({"a": maps[0], "b": maps[1]})
    masks = np.zeros((5, 16, 16), bool)
    masks[:, 4:10, 4:12] = True
    on_disk.write_shard(list(masks))
    return on_disk

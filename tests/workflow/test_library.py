"""What ``import vitfaith`` computes of images in memory is, bit for bit, what the stages store of the same images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import vitfaith as vf
from tests.workflow.conftest import Workflow
from vitfaith.artifacts.images import decode_images
from vitfaith.artifacts.maps import read_maps
from vitfaith.artifacts.schemas import CURVES, IMAGES, SCORES
from vitfaith.artifacts.store import read_table
from vitfaith.models.classifier import Classifier
from vitfaith.study.load import load_study

pytestmark = pytest.mark.xdist_group("study")

EXPLAINERS = {"random": "random", "rollout": "attention_rollout", "transformer_mm": "transformer_mm"}
METRICS: dict[str, Any] = {"saco": ("saco", {"groups": [7]}), "deletion_auc": "deletion_auc"}


@pytest.fixture(scope="module")
def model(finished_study: Workflow) -> Classifier:
    import timm

    section = load_study(finished_study.config).models["vit_patch4"]
    network = timm.create_model(section.timm, **section.arguments)
    from vitfaith.models.checkpoint import read_checkpoint

    checkpoint = read_checkpoint(finished_study.folder / "resources/models/vit_patch4.safetensors")
    network.load_state_dict(checkpoint.state)
    return vf.wrap(network, mean=checkpoint.description["mean"], std=checkpoint.description["std"])


def one(folder: Path, pattern: str) -> list[Path]:
    found = sorted(folder.glob(pattern))
    assert found
    return found


def images_of(workflow: Workflow, attack: str) -> tuple[torch.Tensor, pd.DataFrame]:
    path = one(workflow.folder, f"results/attack/dataset=tiny/model=vit_patch4/attack={attack}/*.parquet")[0]
    table = read_table(path, IMAGES)
    return torch.from_numpy(decode_images(table, np.uint8, str(path)).copy()), table.to_pandas()


@pytest.mark.parametrize("attack", ["clean", "pgd"])
def test_maps_and_scores(finished_study: Workflow, model: Classifier, attack: str) -> None:
    pixels, rows = images_of(finished_study, attack)
    target, ids = torch.tensor(rows["target"].to_numpy()), list(rows["image_id"])
    maps = vf.explain(model, pixels, EXPLAINERS, target=target, image_ids=ids, seed=7)
    condition = f"dataset=tiny/model=vit_patch4/attack={attack}/smoothing=none"
    stored = {}
    for path in one(finished_study.folder, f"results/attribute/{condition}/family=*/*.parquet"):
        stored |= read_maps(path)
    assert set(stored) == set(maps)
    for method, (owners, values) in stored.items():
        assert owners == ids
        assert np.array_equal(maps[method].numpy(), values)
    found = vf.evaluate(model, pixels, maps, METRICS)
    for name, schema in (("scores", SCORES), ("curves", CURVES)):
        own = getattr(found, name)
        tables = [
            read_table(path, schema).to_pandas()
            for path in one(finished_study.folder, f"results/{name}/{condition}/family=*/*.parquet")
        ]
        keys = [c for c in ("image_id", "method", "metric", "curve", "variant", "step") if c in own]
        expected = pd.concat(tables).sort_values(keys, ignore_index=True)
        pd.testing.assert_frame_equal(own.sort_values(keys, ignore_index=True), expected, check_exact=True)

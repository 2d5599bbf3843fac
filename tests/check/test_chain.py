"""A transformers folder and an OpenAI checkpoint from the configuration to maps: what the entries say is what runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.check.changes import image_file
from vitfaith.artifacts.attacked import read_images
from vitfaith.artifacts.images import decode_images
from vitfaith.artifacts.schemas import DENOISED, IMAGES, PREDICTIONS
from vitfaith.artifacts.store import read_provenance, read_table
from vitfaith.check.study import check_study
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.models.load import load_classifier
from vitfaith.smoothings.dds import dds
from vitfaith.stages.attack import run_attack
from vitfaith.stages.attribute import run_attribute
from vitfaith.stages.denoise import run_denoise
from vitfaith.stages.predict import run_predict
from vitfaith.stages.shard import run_shard
from vitfaith.study.identity import spec_of
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan

DATA = Path(__file__).parents[1] / "data"
CELL = {
    "dataset": "mine",
    "model": "dino",
    "attack": "clean",
    "smoothing": "dds",
    "explained": "clean_prediction",
    "shard": "shard-000",
}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    arrays = load_file(DATA / "adm_improved_cifar.safetensors")
    state = {k.removeprefix("weights."): v for k, v in arrays.items() if k.startswith("weights.")}
    torch.save({"state_dict": state}, tmp_path / "cifar.pt")
    flags = {"num_channels": 32, "num_res_blocks": 1, "channel_mult": "1,2", "attention_resolutions": "16"}
    content: dict[str, Any] = {
        "seed": 5,
        "datasets": {
            "mine": {
                **{"reader": "parquet", "images": 4, "shard_size": 4},
                "path": image_file(tmp_path / "images.parquet", (3, 16, 16), classes=5),
            }
        },
        "models": {"dino": {"weights": str(DATA / "huggingface" / "dinov2")}},
        "denoisers": {
            "cifar": {
                **{"path": str(tmp_path / "cifar.pt"), "format": "adm", "preset": "cifar10_uncond", "arguments": flags},
            }
        },
        "attacks": {"clean": {}},
        "smoothings": {"dds": {"sigma": 0.25, "samples": 2, "denoiser": "cifar"}},
        "explainers": {"rollout": {"explainer": "attention_rollout"}, "raw_attention": {}},
        "metrics": {"saco": {"groups": [4]}},
        "experiments": {
            "one": {
                **{"datasets": ["mine"], "models": ["dino"], "attacks": ["clean"], "smoothings": ["dds"]},
                **{"explainers": ["rollout", "raw_attention"], "metrics": ["saco"]},
            }
        },
    }
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def run_to_maps(plan: Plan, folder: Path) -> tuple[Path, Path, Path, Path]:
    """Run the stages from the shard to the maps; the files with attacked and denoised images, predictions and maps."""

    def spec(stage: str, *names: str, **more: str) -> dict[str, Any]:
        return dict(json.loads(spec_of(plan, stage, {**{n: CELL[n] for n in names}, **more})))

    shard, attacked, denoised, predicted, maps = (folder / f"{n}.parquet" for n in "sadpm")
    weights, path = Path(str(plan.weights_path("dino"))), plan.denoiser("smoothings", "dds")
    options: dict[str, Any] = {"device": "cpu", "batch_size": 8}
    run_shard(spec("shard", "dataset", "shard"), "", shard)
    run_attack(
        spec("attack", "dataset", "model", "attack", "shard"), "", shard, weights, attacked, predicted, **options
    )
    everywhere = ("dataset", "model", "attack", "smoothing", "shard")
    run_denoise(spec("denoise", *everywhere), "", shard, path, denoised, **options)
    run_predict(spec("predict", *everywhere), "", attacked, denoised, weights, predicted, **options)
    run_attribute(
        spec("attribute", *everywhere, "explained", family="one_pass"), "", attacked, denoised, weights, maps, **options
    )
    return attacked, denoised, predicted, maps


def test_the_precision_of_a_stage_changes_its_file_and_is_told_there(study: Path, tmp_path: Path) -> None:
    raw = read_yaml(study)
    maps, probabilities = [], []
    for name, precision in {"full": {}, "half": {"predict": "bfloat16", "attribute": "bfloat16"}}.items():
        raw["models"]["dino"]["precision"] = precision
        (tmp_path / name).mkdir()
        files = run_to_maps(Plan(load_study(raw)), tmp_path / name)
        facts = [read_provenance(files[i]) for i in (0, 2, 3)]
        in_half = name == "half"
        assert [f["dtype"] for f in facts] == ["float32", *(["bfloat16"] * 2 if in_half else ["float32"] * 2)]
        assert [f.get("predicted_in") for f in facts] == ["bfloat16" if in_half else None, None, None]
        maps.append(np.stack(pq.read_table(files[3]).column("map").to_pylist()))
        probabilities.append(np.stack(read_table(files[2], PREDICTIONS).column("probabilities").to_pylist()))
    for exact, half in (maps, probabilities):
        assert 0 < np.abs(exact - half).max() < 0.05


def test_from_configuration_to_maps(study: Path, tmp_path: Path) -> None:
    assert check_study(study, results=str(tmp_path / "results"))
    plan = Plan(load_study(read_yaml(study)))
    attacked, denoised, predicted, maps = run_to_maps(plan, tmp_path)
    weights = Path(str(plan.weights_path("dino")))

    images = (
        torch.from_numpy(decode_images(read_images(attacked, tmp_path / "s.parquet"), np.uint8, "").copy()).float()
        / 255
    )
    ids = read_table(attacked, IMAGES).column("image_id").to_pylist()
    section = plan.study.denoisers["cifar"]
    denoiser = Denoiser.load(section.path, section.spec())
    assert denoiser.schedule.length == 4000
    assert denoiser.timestep_scale == 0.25
    parameters: Any = plan.study.smoothings["dds"].parameters
    expected = dds(denoiser, images, ids, parameters, range(2), seed=5, batch_size=8)
    stored = torch.from_numpy(decode_images(read_table(denoised, DENOISED), np.float16, "").copy()).float()
    assert torch.allclose(stored.view(4, 2, 3, 16, 16), expected, atol=1e-3)
    classifier = load_classifier({"timm": None, "arguments": {}, "mean": None, "std": None}, weights)
    with torch.no_grad():
        probabilities = classifier(stored).softmax(1).view(4, 2, 5).mean(1)
    found = read_table(predicted, PREDICTIONS).column("probabilities").to_pylist()
    assert torch.allclose(torch.tensor(found), probabilities, atol=1e-5)
    table = pq.read_table(maps)
    assert sorted(set(table.column("method").to_pylist())) == ["raw_attention", "rollout"]
    assert {len(m) for m in table.column("map").to_pylist()} == {16}
    assert set(table.column("flag").to_pylist()) == {""}

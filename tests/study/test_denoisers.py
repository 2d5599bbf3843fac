"""Entries of the section denoisers: what they say, which files they count, and what reaches a job."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from vitfaith.errors import ConfigError
from vitfaith.study.identity import spec_of
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan

ROOT = Path(__file__).resolve().parents[2]


def study_with(entry: dict[str, Any]) -> Plan:
    raw = copy.deepcopy(read_yaml(ROOT / "config" / "config.yaml"))
    raw["denoisers"]["fashion_mnist"] = entry
    return Plan(load_study(raw))


@pytest.mark.parametrize(
    ("entry", "files"),
    [
        ({"path": "a/b/c"}, ["a/b/c/unet/config.json", "a/b/c/scheduler/scheduler_config.json"]),
        ({"path": "tests/owner"}, ["tests/owner/unet/config.json"]),
        ({"path": "google/ddpm-cifar10-32"}, []),
        ({"path": "a/b.pt", "format": "adm", "preset": "imagenet_256_uncond"}, ["a/b.pt"]),
        ({"path": "trained", "training": {"train_on": "fashion_mnist_train", "test_on": "fashion_mnist_test"}},
         ["results/train/denoiser/fashion_mnist/unet/config.json"]),
    ],
)  # fmt: skip
def test_files_that_count_as_input(entry: dict[str, Any], files: list[str]) -> None:
    found = study_with(entry).denoiser_files("smoothings", "dds")
    assert set(files) <= set(found)
    assert len(found) == (3 if len(files) and not files[0].endswith(".pt") else len(files))


def test_a_flat_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert study_with({"path": str(tmp_path)}).denoiser_files("smoothings", "dds")[0] == str(tmp_path / "config.json")


def test_settings_reach_the_job() -> None:
    wildcards = {
        "dataset": "fashion_mnist",
        "model": "shared",
        "attack": "clean",
        "smoothing": "dds",
        "shard": "shard-000",
    }
    entry = {"path": "x.pt", "format": "adm", "arguments": {"image_size": 32, "noise_schedule": "cosine"}}
    spec = json.loads(spec_of(study_with({**entry, "class_label": 3}), "denoise", wildcards))
    assert spec["denoiser"] == {**{k: entry[k] for k in ("format", "arguments")}, "preset": None, "class_label": 3}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"path": "x.pt", "format": "adm"}, "denoisers.fashion_mnist: format adm needs the flags of its training"),
        ({"path": "x", "preset": "lsun_256_uncond"}, "denoisers.fashion_mnist: preset and arguments belong to format adm"),
        ({"path": "x.pt", "format": "adm", "preset": "imagenet_256"},
         r"denoisers\.fashion_mnist\.preset: unknown 'imagenet_256' \(did you mean 'imagenet_256_"),
        ({"path": "x.pt", "format": "adm", "arguments": {"num_chanels": 3}},
         r"denoisers\.fashion_mnist\.arguments\.num_chanels: unknown key \(did you mean 'num_channels'\?\)"),
        ({"path": "x.pt", "format": "adm", "arguments": {"image_size": 100}},
         r"denoisers\.fashion_mnist\.arguments: image_size 100 has no published channel_mult"),
        ({"path": "x.pt", "format": "adn"}, r"denoisers\.fashion_mnist\.format: Input should be 'diffusers' or 'adm'"),
        ({"path": "trained", "format": "adm", "preset": "lsun_256_uncond",
          "training": {"train_on": "fashion_mnist_train", "test_on": "fashion_mnist_test"}}, "remove format: adm"),
    ],
)  # fmt: skip
def test_mistakes(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        study_with(entry)

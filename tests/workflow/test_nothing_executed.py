"""File names reach the jobs as they are: no shell runs what stands in them, and Snakemake expands no brace of theirs."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from tests.workflow.conftest import ROOT, Workflow, copy_of_the_workflow

HOSTILE = "-a b'c\"$(touch canary-1);touch canary-2;`touch canary-3`{x}{model}<x><results>&|*~#!ü"
"""A file name: each canary is a file that a shell would make in the folder of the study."""

VIT = {
    "timm": "vit_tiny_patch16_224",
    "arguments": {
        "img_size": 28, "patch_size": 4, "in_chans": 1, "num_classes": 10, "embed_dim": 64, "depth": 6, "num_heads": 4,
        "mlp_ratio": 2.0,
    },
}  # fmt: skip
RULES = {
    "shard", "train classifier", "train denoiser", "train diffmask", "train shapley", "attack", "denoise", "predict", "attribute", "bank",
    "score", "stability", "sanity", "certify", "tables", "figures", "page",
}  # fmt: skip
PLUGIN = """
from vitfaith.lazy import torch
from vitfaith.registry import Parameters
from vitfaith.metrics.registry import Metric, metric

@metric("constant", direction="higher", citation="none")
class Constant(Metric[Parameters]):
    def read(self, context, responses):
        return {"": torch.full((len(context.image_ids), len(context.methods)), 0.5)}
"""


@dataclass
class Hostile:
    """A study all of whose files have the name above, and the command lines of its jobs."""

    workflow: Workflow
    config: dict[str, Any]

    @property
    def folder(self) -> Path:
        return self.workflow.folder

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "study.yaml").write_text(yaml.safe_dump(self.config, sort_keys=False))
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "study.yaml", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.workflow.environment, capture_output=True, text=True, check=False
        )

    def canaries(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("canary*"))


def pictures(folder: Path) -> None:
    """Ten pictures in class folders, their masks and a class list, all with hostile names."""
    table = pq.read_table(ROOT / "tests/data/fashion_mnist_masks.parquet").to_pandas()
    names = [f"{label}{HOSTILE}" for label in range(10)]
    for i in range(10):
        pixels = np.frombuffer(table.pixels[i % len(table)], np.uint8).reshape(28, 28)
        for root, values in (("pictures", pixels), ("masks", (pixels > 60).astype(np.uint8))):
            path = folder / f"{HOSTILE}-{root}" / names[i] / f"{HOSTILE}.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(values).save(path)
    (folder / f"{HOSTILE}-classes.txt").write_text("\n".join(names) + "\n", encoding="utf-8")


@pytest.fixture
def hostile(tmp_path: Path) -> Hostile:
    workflow = copy_of_the_workflow(tmp_path / "study")
    folder = workflow.folder
    pictures(folder)
    shutil.copy(ROOT / "resources/models/vit_patch4.safetensors", folder / f"{HOSTILE}.safetensors")
    shutil.copytree(ROOT / "resources/denoisers/fashion_mnist", folder / f"{HOSTILE}-denoiser")
    for end in ("safetensors", "log.parquet"):
        shutil.copy(ROOT / f"resources/diffmasks/vit_patch4.{end}", folder / f"{HOSTILE}-diffmask.{end}")
    pd.DataFrame(
        {
            "image_id": [f"{label}{HOSTILE}/{HOSTILE}.png" for label in range(10)],
            "map": [list(np.arange(49.0) * (label + 1)) for label in range(10)],
        }
    ).to_parquet(folder / f"{HOSTILE}-maps.parquet")
    (folder / f"{HOSTILE}-plugin.py").write_text(PLUGIN, encoding="utf-8")
    experiment = {
        "datasets": ["mine"],
        "models": ["vit"],
        "attacks": ["clean", "adaptive"],
        "smoothings": ["none", "dds"],
        "explainers": ["external", "diffmask", "own", "vit_shapley"],
        "metrics": ["saco", "removed", "pointing_game", "sensitivity_n", "constant"],
        "stability": ["top_k_overlap"],
        "sanity": ["noise"],
        "certificates": ["cohen"],
        "figures": ["saco_leaderboard"],
    }
    config = {
        "plugins": [f"{HOSTILE}-plugin.py"],
        "datasets": {
            "mine": {
                "reader": "image_folder", "folder": f"{HOSTILE}-pictures", "masks": f"{HOSTILE}-masks",
                "classes": f"{HOSTILE}-classes.txt", "preprocessing": "none", "channels": "grey", "images": 10,
            },
        },
        "models": {
            "vit": {**VIT, "weights": f"{HOSTILE}.safetensors"},
            "tuned": {
                **VIT, "weights": "trained",
                "training": {"train_on": "mine", "test_on": "mine", "start_from": f"{HOSTILE}.safetensors"},
            },
        },
        "denoisers": {
            "mine": {"path": f"{HOSTILE}-denoiser"},
            "own": {"path": "trained", "training": {"train_on": "mine", "test_on": "mine"}},
        },
        "attacks": {
            "clean": {},
            "adaptive": {"attack": "adaptive_pgd", "eps": "8/255", "steps": 1, "through": "dds", "eot": 1},
        },
        "smoothings": {"none": {}, "dds": {"sigma": 0.25, "samples": 12, "denoiser": "mine"}},
        "explainers": {
            "external": {"path": f"{HOSTILE}-maps.parquet"},
            "diffmask": {"weights": f"{HOSTILE}-diffmask.safetensors"},
            "own": {
                "explainer": "diffmask", "weights": "trained",
                "training": {"train_on": "mine", "test_on": "mine", "steps": 2},
            },
            "vit_shapley": {
                "weights": "trained",
                "training": {"train_on": "mine", "test_on": "mine", "surrogates": {"vit": "tuned"}},
            },
        },
        "metrics": {
            "saco": {"groups": [5]},
            "removed": {"metric": "deletion_auc", "fill": {"name": "diffmask_placeholder", "explainer": "diffmask"}},
            "pointing_game": {},
            "sensitivity_n": {},
            "constant": {},
        },
        "stability": {"top_k_overlap": {}},
        "sanity": {"noise": {"check": "sensitivity", "samples": 1}},
        "certificates": {"cohen": {"selection": 2}},
        "figures": {"saco_leaderboard": {}},
        "statistics": {"resamples": 100},
        "experiments": {"mine": experiment},
    }  # fmt: skip
    return Hostile(workflow, config)


def rule_texts() -> dict[str, str]:
    """Rule → the text of its shell line."""
    found = {}
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for rule in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            shell = rule.partition("    shell:\n")[2]
            if shell:
                found[rule.partition(":")[0]] = shell
    return found


def test_every_interpolation_in_a_shell_line_is_quoted() -> None:
    texts = rule_texts() | {
        "ON_DEVICE": (ROOT / "rules/common.smk").read_text().partition("ON_DEVICE = (")[2].partition(")")[0]
    }
    assert len(texts) == len(RULES) + 1
    for name, text in texts.items():
        used = re.findall(r"\{[^}]*\}", text)
        assert used, name
        assert [field for field in used if not field.endswith(":q}")] == [], name


def arguments_of(command: str, folder: Path) -> list[str]:
    """What a program gets when bash runs a job's ``command`` in ``folder``."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    recorder = programs / "python"
    recorder.write_text(f"#!{sys.executable}\nimport json, sys\njson.dump(sys.argv[1:], open('arguments.json', 'w'))\n")
    recorder.chmod(0o755)
    log = Path(folder, shlex.split(command)[-2])
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-c", command], cwd=folder, env=environment, check=True)
    return list(json.loads((folder / "arguments.json").read_text()))


def names_in(value: Any) -> list[str]:
    """The texts in a JSON value that hold the hostile name."""
    if isinstance(value, dict):
        return [name for inner in value.values() for name in names_in(inner)]
    if isinstance(value, list):
        return [name for inner in value for name in names_in(inner)]
    return [value] if isinstance(value, str) and "canary" in value else []


def test_a_shell_hands_every_name_to_every_rule_unchanged(hostile: Hostile) -> None:
    targets = [
        "all", "results/train/classifier/tuned.safetensors", "results/train/denoiser/own/unet/config.json",
    ]  # fmt: skip
    done = hostile.snakemake("-n", "-p", "--", *targets)
    assert done.returncode == 0, done.stdout + done.stderr
    commands = re.findall(r"Shell command: (python -m vitfaith .*)$", done.stdout + done.stderr, re.MULTILINE)
    assert commands
    reached, given = set[str](), set[str]()
    for command in commands:
        arguments = arguments_of(command, hostile.folder)
        assert arguments[:2] == ["-m", "vitfaith"]
        reached.add(" ".join(arguments[2:4]) if arguments[2] == "train" else arguments[2])
        given.update(a for a in arguments if "canary" in a and not a.startswith("{"))
        spec = json.loads(arguments[arguments.index("--spec") + 1])
        given.update(names_in(spec))
        assert all(HOSTILE in name for name in names_in(spec))
    assert reached == RULES
    assert hostile.canaries() == []
    ends = ("-pictures", "-masks", "-classes.txt", ".safetensors", "-denoiser", "-diffmask.safetensors")
    expected = {HOSTILE + end for end in (*ends, "-maps.parquet", "-plugin.py", "-diffmask.log.parquet")}
    assert given == expected


def test_a_study_of_files_with_such_names_runs(hostile: Hostile) -> None:
    config = hostile.config
    config["experiments"]["mine"] |= {
        "attacks": ["clean"], "explainers": ["external", "diffmask"], "stability": [], "sanity": [], "certificates": [],
        "figures": ["saco_leaderboard"],
    }  # fmt: skip
    config["smoothings"]["dds"]["samples"] = 1
    done = hostile.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    scores = pd.read_parquet(hostile.folder / "results/scores")
    assert set(scores.metric) == set(config["experiments"]["mine"]["metrics"])
    assert set(scores.image_id) == {f"{label}{HOSTILE}/{HOSTILE}.png" for label in range(10)}
    assert hostile.canaries() == []


def test_weights_with_such_a_name_count_by_their_contents(hostile: Hostile) -> None:
    """Snakemake would expand the braces of an input, so these are none; what changes is the digest in the specification."""
    target = "results/attack/dataset=mine/model=vit/attack=clean/shard-000.parquet"
    digests = []
    for end in (b"", b"x"):
        with (hostile.folder / f"{HOSTILE}.safetensors").open("ab") as handle:
            handle.write(end)
        done = hostile.snakemake("-n", "-p", "--", target)
        digests += re.findall(r"vitfaith attack .*\"weights\":\"(\w+)\"", done.stdout + done.stderr)
    assert len(digests) == 2
    assert digests[0] != digests[1]

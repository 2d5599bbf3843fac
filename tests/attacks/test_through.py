"""An attack through a smoothing sees the study's own defence: the same pixels, predictions and maps, whatever its settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

import vitfaith.stages.denoise as stage
from tests.conftest import tiny_vit
from tests.denoisers.conftest import tiny_unet
from tests.smoothings.test_stage import PLUGIN
from vitfaith.artifacts.images import encode_images
from vitfaith.artifacts.schemas import IMAGES, SHARDS
from vitfaith.artifacts.store import read_table, write_table
from vitfaith.attacks.craft.explanation_attacks import TopKAttack
from vitfaith.attacks.explanation import TopKParameters
from vitfaith.attacks.smoothed import Defence
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.denoisers.schedule import Schedule
from vitfaith.errors import ConfigError
from vitfaith.models.classifier import save_classifier
from vitfaith.rng import generator
from vitfaith.smoothings.dds import PURPOSE, dds
from vitfaith.smoothings.registry import SMOOTHINGS
from vitfaith.stages.attribute import run_attribute
from vitfaith.stages.denoise import run_denoise
from vitfaith.stages.predict import run_predict
from vitfaith.study import identity
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan

from .test_stage import MODEL

ROOT = Path(__file__).resolve().parents[2]
SEED, SAMPLES = 11, 3
IDS = [f"image-{i}" for i in range(5)]

SMOOTHINGS_TO_SEE = {
    "calibrated": {},
    "calibrated_network": {"size": "network"},
    "percentile": {"aggregation": "percentile_max"},
    "multistep": {"mode": "multistep"},
    "multistep_3": {"mode": "multistep", "steps": 3},
    "ddim_3": {"mode": "multistep", "steps": 3, "sampler": "ddim"},
    "ddim_network": {
        "mode": "multistep",
        "steps": 2,
        "sampler": "ddim",
        "size": "network",
        "aggregation": "percentile_max",
    },
    "official": {"mode": "official", "sigma": 4 / 255},
    "official_image": {"mode": "official", "sigma": 4 / 255, "size": "image", "aggregation": "mean"},
    "official_denoise_only": {"mode": "official_denoise_only", "sigma": 4 / 255},
    "official_noise_only": {"mode": "official_noise_only"},
    "noise_only": {"mode": "noise_only"},
    "denoise_only": {"mode": "denoise_only"},
}


class StageNoise:
    """Stands in for ``torch.randn_like``: the noise that the stage denoise draws, draw by draw and image by image."""

    def __init__(self) -> None:
        self.sources = [[generator(SEED, id_, PURPOSE, sample) for id_ in IDS] for sample in range(SAMPLES)]
        self.calls = 0

    def __call__(self, like: Tensor) -> Tensor:
        sources = self.sources[self.calls % SAMPLES]
        self.calls += 1
        return torch.stack([torch.randn(like.shape[1:], generator=source) for source in sources])


@pytest.fixture(scope="module")
def network() -> Denoiser:
    unet = tiny_unet(2, size=8)
    unet.conv_out.weight.data *= 20
    return Denoiser(unet, Schedule.from_config({}))


@pytest.mark.parametrize("name", list(SMOOTHINGS_TO_SEE))
def test_the_pipeline_that_is_differentiated_is_the_defences_own(
    network: Denoiser, pixels: Tensor, predicted: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Same noise on both sides. The stages keep pixels in half precision, which alone sets the tolerances."""
    settings = {"use": "dds", "denoiser": "tiny", "sigma": 0.1, "samples": SAMPLES, **SMOOTHINGS_TO_SEE[name]}
    images = (pixels * 255).round().to(torch.uint8).numpy()
    columns = {
        "image_id": IDS, "label": [0] * 5, "target": predicted.tolist(), "prediction": predicted.tolist(),
        "success": [False] * 5, "linf": [0.0] * 5, "l2": [0.0] * 5,
    }  # fmt: skip
    file, cache, weights = (tmp_path / f"{part}.parquet" for part in ("images", "cache", "weights"))
    write_table(pa.table({k: pa.array(v) for k, v in columns.items()} | encode_images(images)), file, IMAGES, {})
    vit = tiny_vit()
    save_classifier(vit, weights.with_suffix(".safetensors"), {})
    monkeypatch.setattr(stage.Denoiser, "load", lambda *_, **__: network)
    run_denoise({"seed": SEED, "smoothing": settings}, "", file, "tiny", cache, device="cpu", batch_size=64)
    job = {"device": "cpu", "batch_size": 64}
    run_predict({"model": MODEL}, "", file, cache, weights.with_suffix(".safetensors"), tmp_path / "p.parquet", **job)
    methods = {"m": {"use": "raw_attention"}}
    run_attribute(
        {"seed": SEED, "model": MODEL, "smoothing": settings, "methods": methods},
        "", file, cache, weights.with_suffix(".safetensors"), tmp_path / "m.parquet", **job,
    )  # fmt: skip
    stored = read_table(tmp_path / "p.parquet", pa.schema([pa.field("probabilities", pa.list_(pa.float32()))]))
    probabilities = torch.tensor(stored.column("probabilities").to_pylist())
    stored = read_table(tmp_path / "m.parquet", pa.schema([pa.field("map", pa.list_(pa.float32()))]))
    maps = torch.tensor(stored.column("map").to_pylist())

    defence = Defence(SMOOTHINGS.from_spec(settings), network)
    attack = TopKParameters.model_validate({"through": "mine", "explainer": "raw_attention"})
    own = dds(network, pixels, IDS, defence.smoothing.parameters, range(SAMPLES), seed=SEED, batch_size=SAMPLES * 5)  # type: ignore[arg-type]
    with monkeypatch.context() as patched, torch.no_grad():
        patched.setattr(torch, "randn_like", StageNoise())
        copies = defence.copies(pixels, attack)
    assert float((copies.unflatten(0, (SAMPLES, 5)).transpose(0, 1) - own).abs().max()) <= 1e-6
    with monkeypatch.context() as patched:
        patched.setattr(torch, "randn_like", StageNoise())
        view = TopKAttack(vit, attack.explainer, attack, margin=0.1, k=0.2, defence=defence).view(
            pixels.clone().requires_grad_(), predicted
        )
    assert float((view.log_probability.detach().exp() - probabilities).abs().max()) <= 1e-4
    mass = maps / maps.sum(1, keepdim=True)
    assert float((view.maps.detach() - mass).abs().max()) <= 2e-4
    assert view.log_probability.requires_grad
    if name != "noise_only":  # the settings matter: the plain smoothing gives other predictions
        plain = Defence(SMOOTHINGS.item("dds", denoiser="tiny", sigma=0.2), network)
        with monkeypatch.context() as patched, torch.no_grad():
            patched.setattr(torch, "randn_like", StageNoise())
            other = plain.copies(pixels, attack.model_copy(update={"eot": SAMPLES}))
        assert float((other - copies).abs().max()) > 1e-2


def raw_study() -> dict[str, Any]:
    raw = read_yaml(ROOT / "config" / "config.yaml")
    raw["attacks"] = {"clean": {}, "seeing": {"attack": "adaptive_pgd", "through": "dds"}}
    raw["smoothings"]["other"] = {**raw["smoothings"]["dds"], "smoothing": "dds", "sigma": 0.5}
    name = next(iter(raw["experiments"]))
    raw["experiments"] = {name: {**raw["experiments"][name], "attacks": ["clean", "seeing"]}}
    return raw


def spec_of(raw: dict[str, Any]) -> dict[str, Any]:
    plan = Plan(load_study(raw))
    place = {"dataset": next(iter(plan.study.datasets)), "model": next(iter(plan.study.models)), "shard": "shard-000"}
    return dict(json.loads(identity.spec_of(plan, "attack", place | {"attack": "seeing"})))


def test_a_jobs_specification_holds_the_smoothing_resolved() -> None:
    raw = raw_study()
    before = spec_of(raw)
    smoothing = Plan(load_study(raw)).study.smoothings["dds"].spec()
    assert before["smoothing"] == smoothing
    assert before["denoiser"]["format"] == "diffusers"
    for key, value in (
        ("sigma", 0.3),
        ("mode", "multistep"),
        ("size", "network"),
        ("samples", 7),
        ("aggregation", "mean"),
    ):
        changed = raw_study()
        changed["smoothings"]["dds"][key] = value
        assert spec_of(changed)["smoothing"] == smoothing | {key: value}
    changed = raw_study()
    changed["smoothings"]["other"]["sigma"] = 0.6  # not the one that is named
    assert spec_of(changed) == before


def test_the_attacks_own_draws_stand_for_the_samples() -> None:
    """With its own number of draws, an attack does not run again when the defence takes more samples."""
    specs = []
    for samples in (4, 500):
        raw = raw_study()
        raw["attacks"]["seeing"]["eot"] = 2
        raw["smoothings"]["dds"]["samples"] = samples
        specs.append(spec_of(raw))
    assert specs[0] == specs[1]
    assert specs[0]["smoothing"]["samples"] == 2


def test_files_and_code_of_the_smoothing_count() -> None:
    plan = Plan(load_study(raw_study()))
    assert plan.denoiser("attacks", "seeing") == plan.denoiser("smoothings", "dds")
    assert plan.denoiser_files("attacks", "seeing") == plan.denoiser_files("smoothings", "dds") != []
    assert plan.denoiser("attacks", "clean") is None


@pytest.mark.parametrize(
    ("through", "message"),
    [
        (
            "ddss",
            r"attacks\.seeing\.through: 'ddss' is not in section smoothings \(did you mean 'dds'\?\); known: dds, other",
        ),
        ("none", r"attacks\.seeing\.through: 'none' smooths nothing; .*; known: dds, other"),
        (
            "mine",
            r"attacks\.seeing\.through: 'mine' \(smoothing blind_gaussian\) has no gradient in the image; known: dds, o",
        ),
    ],
)
def test_what_no_attack_sees_through_is_named(plugin: Path, through: str, message: str) -> None:
    raw = raw_study()
    raw["plugins"] = [str(plugin)]
    raw["smoothings"]["mine"] = {"smoothing": "blind_gaussian", "sigma": 0.1}
    raw["attacks"]["seeing"]["through"] = through
    with pytest.raises(ConfigError, match=message):
        load_study(raw)


def test_the_old_keys_show_the_new_form() -> None:
    raw = raw_study()
    raw["attacks"]["seeing"] = {
        "attack": "adaptive_pgd",
        "eps": "8/255",
        "denoiser": "fashion_mnist",
        "sigma": "64/255",
    }
    with pytest.raises(ConfigError) as error:
        load_study(raw)
    assert str(error.value) == (
        "attacks.seeing: 'denoiser', 'sigma': an attack names the smoothing it sees through and takes its settings; write "
        "{eps: 8/255, eot: 4, through: dds} beside the name of the attack, and dds: {denoiser: fashion_mnist, sigma: 64/255} in "
        "the section smoothings"
    )
    raw["attacks"]["seeing"] = {"attack": "adaptive_pgd", "through": "mine", "samples": 3}
    with pytest.raises(ConfigError, match=r"write \{through: mine\} beside .* and mine: \{samples: 3\} in the section"):
        load_study(raw)


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Path]:
    """Two smoothings of a user: ``blind_gaussian`` without a gradient, ``open_gaussian`` with one."""
    source = PLUGIN.replace("my_gaussian", "blind_gaussian") + PLUGIN.replace("my_gaussian", "open_gaussian").replace(
        "parameters=Gaussian)",
        "parameters=Gaussian, gradient=lambda _, images, p, draw: images + p.sigma * draw(images))",
    )
    path = tmp_path / "gaussians.py"
    path.write_text(source)
    yield path
    for name in ("blind_gaussian", "open_gaussian"):
        SMOOTHINGS._entries.pop(name, None)


def test_a_smoothing_of_a_plugin_with_a_gradient_is_seen_through(plugin: Path, pixels: Tensor, tmp_path: Path) -> None:
    """From the configuration to the stored image: the job gets the plugin's file and its settings, and no denoiser."""
    from vitfaith.stages.attack import run_attack

    raw = raw_study()
    raw["plugins"] = [str(plugin)]
    raw["smoothings"]["mine"] = {"smoothing": "open_gaussian", "sigma": 0.1, "samples": 2}
    raw["attacks"]["seeing"] = {"attack": "adaptive_pgd", "through": "mine", "steps": 2}
    plan, spec = Plan(load_study(raw)), spec_of(raw)
    assert spec["plugins"] == [str(plugin)]
    assert spec["smoothing"] == {"use": "open_gaussian", "sigma": 0.1, "samples": 2}
    assert "denoiser" not in spec
    assert plan.denoiser_files("attacks", "seeing") == []
    images = (pixels * 255).round().to(torch.uint8).numpy()
    shard = {"image_id": pa.array(IDS), "label": pa.array([0] * 5), **encode_images(images)}
    write_table(pa.table(shard), tmp_path / "shard.parquet", SHARDS, {})
    save_classifier(tiny_vit(), tmp_path / "vit.safetensors", {})
    files = [tmp_path / name for name in ("shard.parquet", "vit.safetensors", "images.parquet", "predictions.parquet")]
    run_attack(spec | {"model": MODEL}, "", *files, device="cpu", batch_size=8)
    moved = np.array(read_table(files[2], IMAGES).column("linf").to_pylist())
    assert (moved > 0).all()

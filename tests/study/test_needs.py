"""What jobs ask of their machine and what their files weigh: closed forms against cases computed by hand."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vitfaith.artifacts.store import partition_values
from vitfaith.errors import ConfigError
from vitfaith.study.jobs import jobs
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.needs import PROGRAM, WITH_NETWORK, memory_mb, minutes, seconds
from vitfaith.study.plan import Plan
from vitfaith.study.sizes import cells_of, network_of, samples_of, shape_of, stored
from vitfaith.study.work import forward, passes

ROOT = Path(__file__).resolve().parents[2]
PIXELS = 3 * 224 * 224
PLACE = {"dataset": "imagenet", "model": "vit_b", "attack": "pgd_2"}
MAPS = {**PLACE, "smoothing": "none", "explained": "clean_prediction"}


def study(name: str, **changes: dict[str, Any]) -> Plan:
    raw: dict[str, Any] = copy.deepcopy(read_yaml(ROOT / "config" / name))
    for section, values in changes.items():
        for key, value in values.items():
            raw.setdefault(section, {})[key] = (
                {**raw[section][key], **value} if isinstance(value, dict) and key in raw.get(section, {}) else value
            )
    return Plan(load_study(raw))


@pytest.fixture(scope="module")
def full() -> Plan:
    return study("examples/imagenet_full.yaml")


@pytest.fixture(autouse=True)
def in_the_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_shapes_come_from_settings_and_from_names(full: Plan) -> None:
    assert shape_of(full, "imagenet") == (3, 224, 224)
    assert cells_of(full, "imagenet", "vit_b") == 196
    assert network_of(full, "vit_b").work == 1
    assert network_of(full, "vit_l").work == pytest.approx(1024 * 24 / (768 * 12))
    assert samples_of(full, "dds_0.12") == 4
    assert samples_of(full, "none") == 0
    tiny = study("tiny.yaml")
    assert shape_of(tiny, "tiny") == (1, 28, 28)
    assert cells_of(tiny, "tiny", "vit_patch4") == 49
    assert network_of(tiny, "vit_patch4").classes == 10
    named = study(
        "examples/imagenet_full.yaml",
        models={"vit_b": {"timm": "vit_large_patch14_clip_336.openai", "weights": "pretrained"}},
    )
    assert network_of(named, "vit_b").shape == (3, 336, 336)
    assert network_of(named, "vit_b").patch == 14


@pytest.mark.parametrize(
    ("key", "value"),
    [("img_size", "big"), ("patch_size", 0), ("num_classes", None), ("in_chans", True), ("img_size", [])],
)
def test_a_size_that_is_no_number_is_an_error_that_names_its_key(key: str, value: object) -> None:
    raw = read_yaml(ROOT / "config" / "tiny.yaml")
    raw["models"]["vit_patch4"]["arguments"][key] = value
    with pytest.raises(ConfigError, match=rf"models\.vit_patch4\.arguments\.{key}: .* is no positive whole number"):
        network_of(Plan(load_study(raw)), "vit_patch4")


def test_a_swin_costs_what_a_vit_of_its_size_costs() -> None:
    """Swin-B: 15.4 G multiplications, ViT-B: 17.6 G; but its maps have cells of 4 pixels."""
    swin = {"timm": "swin_base_patch4_window7_224.ms_in1k", "weights": "pretrained"}
    plan = study("examples/imagenet_full.yaml", models={"vit_b": swin})
    assert cells_of(plan, "imagenet", "vit_b") == 56 * 56
    assert forward(plan, "imagenet", "vit_b") == 1


def test_bytes_of_files(full: Plan) -> None:
    assert stored(full, "shard", {"dataset": "imagenet"}) == PIXELS + 40
    shared = {"dataset": "imagenet", "model": "shared", "attack": "clean", "smoothing": "dds_0.12"}
    assert stored(full, "denoise", shared) == 4 * (2 * PIXELS + 40)
    assert stored(full, "attack", PLACE) == PIXELS + 40 + 5 * 1000 + 40
    relevance = {**MAPS, "family": "relevance"}  # transformer_attribution and attnlrp
    assert stored(full, "attribute", relevance) == 2 * (4 * 196 + 40)
    assert stored(full, "attribute", {**relevance, "smoothing": "dds_0.12"}) == 2 * (4 * 196 * 3 + 40), (
        "map, spread, raw mean"
    )
    points = 10 + 11 + 11  # groups of SaCo, and the two removal curves that the other four metrics share
    assert stored(full, "score", relevance) == 2 * (5 * 9 + points * 13)


def test_memory_by_hand(full: Plan) -> None:
    part = 100
    attack = part * (16 * PIXELS + 3 * (PIXELS + 40 + 5040)) // 10**6
    assert memory_mb(full, "attack", {**PLACE, "shard": "shard-007"}) == WITH_NETWORK + attack
    shard = 1000 * (4 * PIXELS + 3 * (PIXELS + 40)) // 10**6
    assert memory_mb(full, "shard", {"dataset": "imagenet", "shard": "shard-000"}) == PROGRAM + shard


def test_tables_hold_the_curves_of_one_condition(full: Plan) -> None:
    table, few = {"experiment": "imagenet"}, PROGRAM + 2_000 + 50_000 * 15 * 1_000 // 10**6
    assert memory_mb(full, "tables", table) == few
    many = study("examples/imagenet_full.yaml", metrics={"saco": {"groups": [5, 10, 20, 49, 196]}})
    points = 280 + 11 + 11
    assert memory_mb(many, "tables", table) == PROGRAM + 2_000 + 50_000 * 15 * 30 * points // 10**6
    assert memory_mb(many, "figures", table) == few


def test_jobs_of_all_imagenet_ask_for_few_gigabytes_and_hours(full: Plan) -> None:
    seen = set()
    for job in jobs(full):
        if job.stage in ("tables", "figures", "page"):
            wildcards = {"experiment": "imagenet"}
        else:
            wildcards = partition_values(job.outputs[0]) | {"shard": job.outputs[0].stem}
        if (key := (job.stage, *(v for k, v in wildcards.items() if k != "shard"))) in seen:
            continue
        seen.add(key)
        assert 1_500 <= memory_mb(full, job.stage, wildcards) <= 7_000, key
        assert 30 <= minutes(full, job.stage, wildcards) <= 8 * 60, key
    assert len(seen) > 200


def test_more_samples_images_and_pixels_need_more() -> None:
    few, many = (
        study("examples/imagenet_full.yaml", smoothings={"dds_0.12": {"samples": samples}}) for samples in (4, 100)
    )
    place = {**MAPS, "smoothing": "dds_0.12", "family": "one_pass"}
    for stage in ("denoise", "predict", "attribute"):
        assert memory_mb(many, stage, place) > memory_mb(few, stage, place)
        assert passes(many, stage, place) == pytest.approx(25 * passes(few, stage, place), rel=0.01)
    large = study("examples/imagenet_full.yaml", datasets={"imagenet": {"size": 448}})
    assert memory_mb(large, "attack", PLACE) > memory_mb(few, "attack", PLACE)
    parts = study("examples/imagenet_full.yaml", compute={"part_size": 1000})
    assert memory_mb(parts, "attack", PLACE) - WITH_NETWORK == pytest.approx(
        10 * (memory_mb(few, "attack", PLACE) - WITH_NETWORK), abs=10
    )


def test_minutes_count_passes_on_the_device(full: Plan) -> None:
    place = {**PLACE, "smoothing": "dds_0.12"}
    assert passes(full, "predict", place) == 4
    assert seconds(full, "predict", place, 1000) == pytest.approx(4000 / 150)
    assert minutes(full, "predict", place) == 30 + round(4000 / 150 / 60)
    assert minutes(full, "predict", place, on_gpu=False) == 30 + round(4000 / 3 / 60)
    assert memory_mb(full, "attack", PLACE, on_gpu=False) > memory_mb(full, "attack", PLACE) + 10_000
    assert passes(full, "attack", PLACE) == 2 + 3 * 10
    assert passes(full, "attack", {**PLACE, "attack": "clean"}) == 2
    assert forward(study("tiny.yaml"), "tiny", "vit_patch4") == pytest.approx(49 / 196 * 64 * 6 / (768 * 12))


def test_minutes_of_checks_count_their_explanations() -> None:
    """Copies × (parts / stride) of each check, each with what the family costs: half a pass for the one map, three shared."""

    def cost(**checks: dict[str, Any]) -> float:
        asked = {"imagenet": {"sanity": list(checks)}}
        plan = study("examples/imagenet_full.yaml", sanity=checks, experiments=asked)
        place = {**MAPS, "attack": "clean", "family": "one_pass"}
        return passes(plan, "sanity", place) / (passes(plan, "attribute", place))

    assert cost(random_logit={}) == pytest.approx(12)
    plain = cost(model_randomisation={})
    assert cost(smooth_randomisation={"samples": 10}) == pytest.approx(10 * plain)
    assert cost(smooth_randomisation={"samples": 10, "stride": 5}) == pytest.approx(2 * plain)
    assert cost(sensitivity={"samples": 30}, relative_stability={"samples": 21}) == pytest.approx(3 * plain)


def test_every_rule_asks_for_its_own_needs() -> None:
    found = {}
    for file in (ROOT / "rules").glob("*.smk"):
        for name, body in re.findall(r"^rule (\w+):\n(.*?)(?=^rule |\Z)", file.read_text(), re.DOTALL | re.MULTILINE):
            found[name] = re.findall(r'\*\*needs_of\("(\w+)"\)', body)
    assert len(found) >= 16
    assert all(asked == [name] for name, asked in found.items()), found


def test_planning_needs_no_torch() -> None:
    code = "import sys, vitfaith.study.needs; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

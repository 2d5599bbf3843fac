"""What a change makes Snakemake do again: exactly what depends on it, and nothing else."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file

from tests.workflow.conftest import Workflow
from vitfaith.study.sections import AXES

Config = dict[str, Any]
FIGURES = {"figures": 3, "page": 1}
AFTER_MAPS = {"score": 4, "stability": 3, "tables": 1, **FIGURES}


def test_a_repeated_run_does_nothing(study: Workflow) -> None:
    assert study.planned() == Counter()
    assert "Nothing to be done" in study.snakemake().stdout + study.snakemake().stderr


def reorder(config: Config) -> Config:
    """All but the experiments' lists, of which those that are left out are written out as they were."""
    config["experiments"]["tiny"] |= {axis: list(config[axis]) for axis in AXES}
    return reorder_what_is_crossed(config)


def reorder_what_is_crossed(config: Config) -> Config:
    """Conditions keep their files; tables and figures show them in the order of the sections."""
    return {
        key: dict(reversed(value.items())) if isinstance(value, dict) else value
        for key, value in reversed(config.items())
    }


def compute(config: Config) -> Config:
    return {**config, "compute": {"batch_size": 3, "fast": "off"}}


def one_figure(config: Config) -> Config:
    config["figures"]["gallery"] = {"classes": ["shirt", "trouser"]}
    return config


def style_of_all_figures(config: Config) -> Config:
    config["figures"]["style"] = {"dpi": 120}
    return config


def swap(config: Config) -> Config:
    pgd = config["attacks"]["pgd"]
    pgd["eps"], pgd["alpha"] = pgd["alpha"], pgd["eps"]
    return config


def sigma(config: Config) -> Config:
    config["smoothings"]["dds"]["sigma"] = 0.5
    return config


def new_method(config: Config) -> Config:
    config["explainers"]["raw_attention"] = {}
    return config


def new_metric(config: Config) -> Config:
    config["metrics"]["aopc"] = {}
    return config


def new_attack(config: Config) -> Config:
    config["attacks"]["fgsm"] = {"eps": "8/255"}
    return config


def first_certificate(config: Config) -> Config:
    """Maps behind the smoothing were stored without those of each sample."""
    config["certificates"] = {"grouped": {"k": 5, "selection": 1, "bound": "none"}}
    config["experiments"]["tiny"]["certificates"] = ["grouped"]
    return config


def resamples(config: Config) -> Config:
    config["statistics"]["resamples"] = 300
    return config


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (reorder, {}),
        (reorder_what_is_crossed, {"tables": 1, **FIGURES}),
        (compute, {}),
        (one_figure, {"figures": 1}),
        (style_of_all_figures, FIGURES),
        (resamples, {"tables": 1, **FIGURES}),
        (
            swap,
            {
                "attack": 1,
                "denoise": 1,
                "predict": 1,
                "attribute": 2,
                "score": 2,
                "stability": 2,
                "tables": 1,
                **FIGURES,
            },
        ),
        (sigma, {"denoise": 2, "predict": 2, "attribute": 2, "score": 2, "stability": 2, "tables": 1, **FIGURES}),
        (new_method, {"attribute": 4, **AFTER_MAPS}),
        (new_metric, {"score": 4, "tables": 1, **FIGURES}),
        (first_certificate, {"attribute": 2, "score": 2, "stability": 2, "certify": 2, "tables": 1, **FIGURES}),
        (
            new_attack,
            {
                "attack": 1,
                "denoise": 1,
                "predict": 1,
                "attribute": 2,
                "score": 2,
                "stability": 2,
                "tables": 1,
                **FIGURES,
            },
        ),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_config_changes(study: Workflow, change: Callable[[Config], Config], expected: dict[str, int]) -> None:
    study.write_config(change(study.config))
    assert study.planned() == Counter(expected)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_comment_in_a_module_does_nothing(study: Workflow) -> None:
    module = study.folder / "src" / "vitfaith" / "stages" / "score.py"
    module.write_text("# a comment\n" + module.read_text())
    assert study.planned() == Counter()


def test_touched_sources_do_nothing(study: Workflow) -> None:
    for path in [*(study.folder / "src").rglob("*.py"), *(study.folder / "rules").glob("*.smk")]:
        os.utime(path)
    assert study.planned() == Counter()


def test_logic_in_a_stage_reruns_it_and_what_follows(study: Workflow) -> None:
    module = study.folder / "src" / "vitfaith" / "stages" / "score.py"
    module.write_text(module.read_text() + "\nEXTRA = 1\n")
    assert study.planned() == Counter({"score": 4, "tables": 1, **FIGURES})


def test_logic_of_an_explainer_that_is_not_used_does_nothing(study: Workflow) -> None:
    module = study.folder / "src" / "vitfaith" / "explainers" / "rise.py"
    module.write_text(module.read_text() + "\nEXTRA = 1\n")
    assert study.planned() == Counter()


def test_logic_of_a_figure_redraws_that_figure(study: Workflow) -> None:
    module = study.folder / "src" / "vitfaith" / "figures" / "gallery.py"
    module.write_text(module.read_text() + "\nEXTRA = 1\n")
    assert study.planned() == Counter({"figures": 1})


def test_equal_tables_leave_figures_untouched(study: Workflow) -> None:
    """A table computed again with the same content is no reason to draw again, in the next call."""
    module = study.folder / "src" / "vitfaith" / "stages" / "tables.py"
    module.write_text(module.read_text() + "\nEXTRA = 1\n")
    study.snakemake("--", "scores")
    assert study.planned() == Counter()


def promised(study: Workflow) -> list[Path]:
    """Every result of the finished study but caches, what Snakemake keeps for itself, and the list of what was asked for."""
    others = ("denoise", "bank", "benchmarks", ".named.json")
    found = (path for path in (study.folder / "results").rglob("*") if path.is_file())
    return sorted(path for path in found if path.relative_to(study.folder / "results").parts[0] not in others)


def test_every_result_is_a_target(study: Workflow) -> None:
    """What a plain run asks for is what a finished run holds, so that whatever is deleted is made again."""
    plain = ("--workflow-profile", "none")  # whose console does not cut the list
    text = study.snakemake("-n", "--quiet", "progress", "--forcerun", "all", *plain).stdout
    line = re.search(r"rule all:\n +input: (.*)", text)
    assert line is not None
    assert {study.folder / name for name in line.group(1).split(", ")} == set(promised(study))


def test_all_scores_deleted_are_scored_again(study: Workflow) -> None:
    shutil.rmtree(study.folder / "results" / "scores")
    study.snakemake()
    assert len(list((study.folder / "results" / "scores").rglob("*.parquet"))) == 4
    assert study.planned() == Counter()


def own_resources(study: Workflow) -> Path:
    """A copy of the shipped files in place of the link to them."""
    folder = study.folder / "resources"
    origin = folder.resolve()
    folder.unlink()
    shutil.copytree(origin, folder)
    return folder


def test_copied_and_touched_data_and_weights_do_nothing(study: Workflow) -> None:
    for path in own_resources(study).rglob("*"):
        os.utime(path)
    assert study.planned() == Counter()


def test_changed_pictures_are_sharded_again(study: Workflow) -> None:
    path = own_resources(study) / "data" / "fashion_mnist.parquet"
    table = pq.read_table(path)
    pixels = [bytes(255 - value for value in row) for row in table.column("pixels").to_pylist()]
    index = table.schema.get_field_index("pixels")
    pq.write_table(
        table.set_column(index, table.schema.field(index), pa.array(pixels, table.schema.field(index).type)), path
    )
    planned = study.planned()
    assert (planned["shard"], planned["attack"], planned["score"], planned["tables"]) == (1, 2, 4, 1)


def test_changed_weights_rerun_what_reads_them(study: Workflow) -> None:
    path = own_resources(study) / "models" / "vit_patch4.safetensors"
    weights = load_file(path)
    weights["head.bias"] += 1
    save_file(weights, path)
    planned = study.planned()
    assert (planned["shard"], planned["attack"], planned["attribute"], planned["score"]) == (0, 2, 4, 4)


def test_changed_denoiser_reruns_what_reads_it(study: Workflow) -> None:
    path = own_resources(study) / "denoisers" / "fashion_mnist" / "scheduler" / "scheduler_config.json"
    path.write_text(path.read_text() + "\n")
    planned = study.planned()
    assert (planned["attack"], planned["denoise"]) == (0, 2)

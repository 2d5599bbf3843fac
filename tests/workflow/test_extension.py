"""More noise samples extend the cache through Snakemake, which deletes other outputs before a job."""

from __future__ import annotations

from tests.workflow.conftest import Workflow
from vitfaith.artifacts.store import read_provenance
from vitfaith.smoothings.dds import fewest_rows

CACHE = "results/denoise/dataset=tiny/model=shared/attack=clean/smoothing=dds/shard-000.parquet"


def test_more_samples_cost_the_new_ones_alone(study: Workflow) -> None:
    config = study.config
    images, before = config["datasets"]["tiny"]["images"], config["smoothings"]["dds"]["samples"]
    assert read_provenance(study.folder / CACHE)["forwards"] == images * before
    config["smoothings"]["dds"]["samples"] = before + 1
    study.write_config(config)
    study.snakemake("--", CACHE)
    facts = read_provenance(study.folder / CACHE)
    assert facts["spec"]["smoothing"]["samples"] == before + 1
    rows = max(images, fewest_rows((28, 28)))  # the one batch is filled up
    assert (facts["kept"], facts["forwards"]) == (before, rows)
    assert not study.planned("--", CACHE)

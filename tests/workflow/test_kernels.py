"""The provenance of results says what ran the networks; the switch reaches the jobs."""

from __future__ import annotations

from tests.workflow.conftest import Workflow
from vitfaith.artifacts.store import read_provenance
from vitfaith.models.fast.linear import kernels
from vitfaith.models.fast.switch import fast_paths

OF_A_CLASSIFIER = {"attack", "predict", "attribute", "score"}


def test_results_of_networks_name_their_kernels_and_others_do_not(finished_study: Workflow) -> None:
    found = [read_provenance(path) for path in (finished_study.folder / "results").rglob("shard-*.parquet")]
    assert {facts["stage"] for facts in found} == {*OF_A_CLASSIFIER, "shard", "denoise", "stability"}
    for facts in found:
        ran = {"denoise": kernels("cpu", quick=False)} | dict.fromkeys(OF_A_CLASSIFIER, kernels("cpu"))
        assert facts.get("kernels") == ran.get(facts["stage"]), facts["stage"]


def test_a_study_turns_the_fast_paths_of_its_jobs_off(study: Workflow) -> None:
    config = study.config
    study.write_config(config | {"compute": {**config.get("compute", {}), "fast": "off"}})
    target = "results/predictions/dataset=tiny/model=vit_patch4/attack=clean/smoothing=dds/shard-000.parquet"
    study.snakemake("--forcerun", "predict", "--until", "predict", target)
    with fast_paths(on=False):
        assert read_provenance(study.folder / target)["kernels"] == kernels("cpu")

"""A metric that reads the response bank, one that reads segmentations, and a sanity check: which jobs they add."""

from __future__ import annotations

from pathlib import Path

from tests.workflow.conftest import copy_of_the_workflow


def test_bank_and_sanity_run_where_they_are_asked_for_and_once_for_all_smoothings(tmp_path: Path) -> None:
    workflow = copy_of_the_workflow(tmp_path / "repository")
    config = workflow.config
    config["metrics"] |= {"mu_fidelity": {"count": 20}, "infidelity": {}, "pointing_game": {}}
    config["sanity"] = {"random_logit": {}}
    config["explainers"]["occlusion"] = {}
    tiny = config["experiments"]["tiny"]
    tiny["sanity"] = ["random_logit"]
    workflow.write_config(config)
    jobs = workflow.planned()
    families, attacks, smoothings = 2, 2, 2
    assert jobs["bank"] == attacks
    assert jobs["score"] == families * attacks * smoothings
    assert jobs["sanity"] == families * attacks
    assert jobs["tables"] == 1
    text = workflow.snakemake("-n", "-p").stdout
    score = [line for line in text.splitlines() if "python -m vitfaith score" in line]
    assert len(score) == jobs["score"]
    for line in score:
        attack = "pgd" if "attack=pgd" in line else "clean"
        assert (
            f"--bank results/bank/dataset=tiny/model=vit_patch4/attack={attack}/smoothing=none/explained=clean_prediction/shard-000.parquet"
            in line
        )
        assert "--truth results/shard/dataset=tiny/shard-000.parquet" in line

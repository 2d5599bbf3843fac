"""An experiment with two explained classes: what is made again, and what the files and tables then hold."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

import vitfaith as vf
from tests.workflow.conftest import Workflow

CELL = "dataset=tiny/model=vit_patch4/attack={}/smoothing={}/explained={}/family=one_pass/shard-000.parquet"


def test_two_classes(study: Workflow) -> None:
    config = study.config
    config["experiments"]["tiny"] |= {"targets": ["clean_prediction", "prediction"], "figures": []}
    study.write_config(config)
    planned = study.planned()
    assert planned == {"attribute": 4, "score": 4, "stability": 3, "tables": 1, "page": 1}  # images are shared
    study.snakemake()
    results = study.folder / "results"

    clean = [
        pq.read_table(results / "scores" / CELL.format("clean", "none", v)) for v in ("clean_prediction", "prediction")
    ]
    assert clean[0].equals(clean[1])

    predictions = pd.read_parquet(results / "tables/experiment=tiny/predictions.parquet").astype({"attack": str})
    assert not predictions.duplicated(["attack", "smoothing", "image_id"]).any()
    for smoothing in ("none", "dds"):
        maps = pd.read_parquet(results / "attribute" / CELL.format("pgd", smoothing, "prediction"))
        asked = predictions[(predictions.attack == "pgd") & (predictions.smoothing == smoothing)].set_index("image_id")
        assert (maps.target == maps.image_id.map(asked.prediction)).all()
        stability = pd.read_parquet(results / "stability" / CELL.format("pgd", smoothing, "prediction"))
        moved = stability.image_id.map(asked.prediction != asked.target)
        of_a_class = ~stability.method.isin(["random", "rollout"])
        expected = np.where(moved & of_a_class & (stability.reference == "undefended"), "other class", "")
        undefended = (stability.reference == "undefended").to_numpy()
        assert (stability.flag.to_numpy()[undefended] == expected[undefended]).all()
        assert (stability.value.isna() == (stability.flag != "")).all()

    table = [sys.executable, "-m", "vitfaith", "table", str(results), "--where", "explained=prediction"]
    text = subprocess.run(table, env=study.environment, capture_output=True, text=True, check=True).stdout
    titles = [line for line in text.splitlines() if line.startswith("###")]
    assert len(titles) == 4
    assert all(title.endswith("explained: class of the image given") for title in titles)
    board = vf.leaderboard(vf.read(results, attack="pgd", smoothing="none", metric="saco"), resamples=200)
    assert board.groupby("explained").size().to_dict() == {"clean_prediction": 3, "prediction": 3}

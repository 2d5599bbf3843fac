"""Clean images lie in their shard alone: jobs get it as an input, readers find it."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

import vitfaith as vf
from tests.workflow.conftest import Workflow
from vitfaith.artifacts.images import image_digest
from vitfaith.sharing.images import digests

SHARD = "results/shard/dataset=tiny/shard-000.parquet"


def test_jobs_on_clean_images_read_the_shard(study: Workflow) -> None:
    text = study.snakemake("-n", "-p", "--forcerun", "attribute", "score", "--", "scores").stdout
    calls = [line for line in text.splitlines() if re.search(r"-m vitfaith (attribute|score) ", line)]
    assert len(calls) == 8
    for line in calls:
        looks = "/attack=clean/" in line and ("vitfaith score" in line or "smoothing=none" in line)
        assert (f"--pixels {SHARD}" in line) == looks, line


def test_readers_find_the_pixels_of_clean_images(finished_study: Workflow) -> None:
    results = finished_study.folder / "results"
    files = {name: next((results / "attack").rglob(f"attack={name}/*.parquet")) for name in ("clean", "pgd")}
    stored = {name: pd.read_parquet(path, partitioning=None) for name, path in files.items()}
    assert stored["clean"].pixels.isna().all()
    shard = pd.read_parquet(finished_study.folder / SHARD, partitioning=None).set_index("image_id")
    found = vf.read(results, "images")
    assert set(found["attack"]) == {"clean", "pgd"}
    for name, frame in stored.items():
        mine = found[found["attack"] == name].set_index("image_id")
        expected = shard.pixels if name == "clean" else frame.set_index("image_id").pixels
        assert mine.pixels.to_dict() == expected.to_dict()
    for row in found.itertuples():
        assert row.digest == image_digest((row.channels, row.height, row.width), row.pixels)
    published = digests(Path(path) for path in files.values()).to_pandas()
    keys = ["attack", "image_id"]
    assert published.set_index(keys).digest.to_dict() == found.set_index(keys).digest.to_dict()
    every = pd.read_parquet(results / "attack")  # as users read a folder: no column is lost
    assert every.pixels.notna().sum() == 12

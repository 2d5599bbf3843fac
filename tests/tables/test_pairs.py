"""The table of pairs: against the pair matrix of each image, image by image, and what it adds up to."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from tests.files import IDS, ShardOnDisk, shard_on_disk
from vitfaith.artifacts.maps import read_maps
from vitfaith.metrics.engine.requests import group_edges
from vitfaith.metrics.engine.salience import group_salience
from vitfaith.metrics.saco import saco_pairs
from vitfaith.tables.collect import CONDITION
from vitfaith.tables.pairs import COLUMNS, pair_table

WHERE = dict(zip(CONDITION, ("d", "m", "clean", "none", "clean_prediction"), strict=True))


def rows(salience: np.ndarray, probability: np.ndarray, method: str = "a") -> pd.DataFrame:
    """Rows of the table curves for values (images, K)."""
    image, step = np.indices(salience.shape)
    return pd.DataFrame(
        {
            **WHERE,
            "image_id": [f"image-{i}" for i in image.ravel()],
            "method": method,
            "curve": "groups",
            "variant": "patch image_mean k=4",
            "step": step.ravel(),
            "probability": probability.ravel(),
            "salience": salience.ravel(),
        }
    )


def test_against_the_matrices_of_single_images() -> None:
    draw = np.random.default_rng(1)
    salience = -np.sort(-draw.normal(size=(6, 4)), 1)
    salience[2, 1] = salience[2, 0]  # a pair that cannot break
    probability = draw.uniform(size=(6, 4))
    probability[3, 2] = probability[3, 0]  # a tie in the drop does not break a pair
    salience[4] = 0.5  # a constant map
    salience[5] = np.nan  # a map that could not be scored
    probability[5] = np.nan
    salience[0] = salience[0, ::-1]  # sums of groups of unequal size need not descend
    curves = rows(salience, probability)
    other = curves.assign(curve="morf", salience=np.nan)
    table = pair_table(pd.concat([other, curves.sample(frac=1, random_state=3)]))
    assert list(table.columns) == COLUMNS
    assert set(table.n) == {4}
    total = 0.0
    for row in table.itertuples():
        broken, contribution, different = 0, 0.0, 0
        for i in range(4):
            matrix = saco_pairs(torch.tensor(salience[i]), 0.9 - torch.tensor(probability[i]))
            weight = float(matrix[row.first - 1, row.second - 1])
            broken += weight < 0
            different += weight != 0
            contribution += weight / float(matrix.abs().sum()) / 4
        assert row.broken == broken / different
        assert np.isclose(row.contribution, contribution)
        total += contribution
    assert np.isclose(table.contribution.sum(), total)
    assert pair_table(curves.iloc[:0]).empty


def test_contributions_add_up_to_saco(tmp_path: Path, images: torch.Tensor, targets: torch.Tensor) -> None:
    """What the score stage stores: the saliences of the maps' groups, and enough to have SaCo again."""
    shard: ShardOnDisk = shard_on_disk(tmp_path, images, targets)
    for level, salience in itertools.product(("patch", "pixel"), ("mean", "sum")):
        shard.metrics = {"saco": {"groups": [5], "level": level, "salience": salience}, "deletion_auc": {"steps": 4}}
        scores = shard.score()
        curves = pd.read_parquet(tmp_path / "curves.parquet")
        assert curves[curves.curve == "morf"].salience.isna().all()
        table = pair_table(curves.assign(**WHERE))
        mean = scores[scores.metric == "saco"].groupby("method").value.mean()
        for method, part in table.groupby("method"):
            assert np.isclose(part.contribution.sum(), mean[method], atol=1e-5)
            assert part.n.eq(len(IDS)).all()
            if (level, salience) == ("patch", "mean"):
                maps = torch.tensor(read_maps(tmp_path / "maps.parquet")[str(method)][1]).flatten(1)
                stored = curves[(curves.curve == "groups") & (curves.method == method)].sort_values(
                    ["image_id", "step"]
                )
                edges = torch.tensor([group_edges(maps.shape[1], 5, 0, image) for image in IDS])
                assert np.allclose(stored.salience, group_salience(maps, edges).flatten(), rtol=1e-6)

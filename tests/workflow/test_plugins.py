"""A study of items that plugins registered, one of every kind, run to its end."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.workflow.conftest import copy_of_the_workflow

pytestmark = pytest.mark.xdist_group("workflow")

PLUGIN = '''
import numpy as np
import pyarrow as pa
import torch

from vitfaith.attacks.registry import attack
from vitfaith.explainers.registry import explainer
from vitfaith.metrics.fills.registry import fill
from vitfaith.smoothings.registry import SMOOTHINGS
from vitfaith.figures.registry import figure
from vitfaith.registry import Parameters
from vitfaith.sanity.registry import check
from vitfaith.metrics.registry import Metric, metric
from vitfaith.datasets.registry import DATASETS, Source
from vitfaith.stability.registry import measure


@DATASETS.register("my_squares")
def squares(parameters):
    """Grey images with a bright square."""
    def read(index):
        pixels = np.full((len(index), 1, 28, 28), 60, np.uint8)
        for row, i in enumerate(index):
            pixels[row, :, 4 * i : 4 * i + 8, 8:16] = 220
        return pixels

    return Source([f"square-{i}" for i in range(5)], np.arange(5, dtype=np.int64), read)


@attack("my_darkening", citation="mine")
def darkening(classifier, images, targets, parameters):
    """Every pixel a little darker."""
    return (images - 8 / 255).clamp(0, 1)


@fill("my_white", citation="mine")
def white(context, parameters):
    """One in pixel units."""
    return torch.ones_like(context.images)


@SMOOTHINGS.register("my_noise")
def noise(denoiser, images, parameters, *_, **__):
    """The image itself, as the one sample."""
    return images[:, None]


@explainer("my_brightness", family="one_pass", class_specific=False, citation="mine")
def brightness(context, parameters):
    """Mean brightness of each patch."""
    rows, columns = context.classifier.grid
    return torch.nn.functional.adaptive_avg_pool2d(context.images.mean(1), (rows, columns))


@metric("my_mean", direction="higher", citation="mine")
class Mean(Metric[Parameters]):
    """Mean of the map."""

    def read(self, context, responses):
        return {"": context.maps.mean((2, 3))}


@measure("my_agreement", direction="higher", citation="mine")
def agreement(a, b, parameters):
    """Share of patches where both maps are above their mean."""
    above = [(m > m.mean((1, 2), keepdims=True)).reshape(len(m), -1) for m in (np.asarray(a), np.asarray(b))]
    return {"": (above[0] == above[1]).mean(1)}


@check("my_check", citation="mine", explanations="0")
def nothing_changed(subject, parameters):
    """A check without explanations."""
    count = len(subject.image_ids)
    rows = [(i, m) for m in subject.maps for i in subject.image_ids]
    return pa.table(
        {
            "image_id": [i for i, _ in rows],
            "method": [m for _, m in rows],
            "reference": ["itself"] * len(rows),
            "step": pa.array([0] * len(rows), pa.int16()),
            "metric": ["same"] * len(rows),
            "variant": [""] * len(rows),
            "value": [1.0] * len(rows),
            "flag": [""] * len(rows),
        }
    )


@figure("my_figure", needs=("summary",), rows=lambda data, p: data.table("summary", ("method", "mean")), title="Mine",
        caption="Means.", category="faithfulness")
def means(data, parameters, style):
    """Means of all metrics."""
    from matplotlib.figure import Figure

    picture = Figure()
    picture.subplots().hist(data.table("summary", ("method", "mean"))["mean"])
    return picture
'''


def test_a_study_of_plugins_runs_to_its_end(tmp_path: Path) -> None:
    workflow = copy_of_the_workflow(tmp_path / "repository")
    (workflow.folder / "mine.py").write_text(PLUGIN)
    tiny = workflow.config
    study = {
        "seed": 1,
        "plugins": ["mine.py"],
        "datasets": {"squares": {"reader": "my_squares", "shard_size": 5}},
        "models": tiny["models"],
        "attacks": {"clean": {}, "darker": {"attack": "my_darkening"}},
        "smoothings": {"none": {}, "twice": {"smoothing": "my_noise"}},
        "explainers": {"random": {}, "bright": {"explainer": "my_brightness"}},
        "metrics": {"mean": {"metric": "my_mean"}, "deletion_auc": {"fill": "my_white"}},
        "stability": {"agreement": {"measure": "my_agreement"}},
        "sanity": {"mine": {"check": "my_check"}, "random_logit": {"measures": ["my_agreement"]}},
        "statistics": {"resamples": 100},
        "figures": {"mine": {"figure": "my_figure"}},
        "experiments": {
            "all": {
                "datasets": ["squares"],
                "models": ["vit_patch4"],
                "attacks": ["clean", "darker"],
                "smoothings": ["none", "twice"],
                "explainers": ["random", "bright"],
                "metrics": ["mean", "deletion_auc"],
                "stability": ["agreement"],
                "sanity": ["mine", "random_logit"],
                "figures": ["mine"],
            }
        },
    }
    (workflow.folder / "config" / "tiny.yaml").write_text(yaml.safe_dump(study))
    workflow.snakemake()
    scores = pd.read_parquet(workflow.folder / "results" / "scores")
    assert set(scores["metric"]) == {"mean", "deletion_auc"}
    assert (workflow.folder / "results" / "figures" / "all" / "mine.png").is_file()
    assert not workflow.planned()
    text = (workflow.folder / "mine.py").read_text()
    (workflow.folder / "mine.py").write_text(text.replace("8 / 255", "9 / 255"))
    assert {rule: workflow.planned()[rule] for rule in ("shard", "attack", "figures")} == {
        "shard": 1,
        "attack": 2,
        "figures": 1,
    }

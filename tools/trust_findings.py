"""Print the tables of docs/trust.md and draw its figures under other choices: the studies of config/trust_choices.yaml in one process.

Run: snakemake --cores all train --configfile config/trust_choices.yaml; python tools/trust_findings.py [EXPERIMENT …]
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from vitfaith.api.trust import trust
from vitfaith.compare.trusted import draw, trust_text
from vitfaith.datasets.opening import open_source
from vitfaith.datasets.subset import stratified_subset
from vitfaith.explainers.explain import explain
from vitfaith.metrics.evaluate import evaluate
from vitfaith.models.load import load_classifier
from vitfaith.study.load import load_study, read_yaml

IMAGES = Path(__file__).parents[1] / "docs" / "images"
TRAINED = Path("results/train/classifier")
TRUTH = {"counting": "admissible_mask auroc", "planted": "localisation_auroc"}
"""Experiment → the metric that knows the truth."""
OTHER_TIES = 7
"""Seed of the second scoring, in which ties are broken in another order; the maps are the same."""


OTHER_SETTINGS = ("_black", "_5")
"""Ends of the ids of metrics with another fill, or another number of groups."""


def choice(scores: pd.DataFrame, suffix: str) -> pd.DataFrame:
    """The scores of the metrics with ids that end in ``suffix``, under the ids without it."""
    metric = scores["metric"].astype(str)
    chosen = metric.str.endswith(suffix)
    return scores[chosen].assign(metric=metric[chosen].str.removesuffix(suffix))


def plain(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores of metrics with their first settings."""
    return scores[~scores["metric"].astype(str).str.endswith(OTHER_SETTINGS)]


def rated(experiment: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of :func:`vitfaith.trust` for one experiment: with all other choices, and on the in-domain network alone."""
    study = load_study(read_yaml(Path(__file__).parents[1] / "config" / "trust_choices.yaml"))
    asked, model = study.experiments[experiment], study.experiments[experiment].models[0]
    reader, section = study.datasets[asked.datasets[0]]
    source = open_source(reader.spec())
    chosen = stratified_subset(source.labels, section.images, study.seed)
    images, ids = torch.from_numpy(source.read(chosen)).float() / 255, [source.image_ids[i] for i in chosen]
    truth = None if source.masks is None else torch.from_numpy(np.stack(list(source.masks(chosen))))  # type: ignore[arg-type]
    classifier = load_classifier(study.models[model].spec(), Path(str(study.models[model].weights)), "cpu")
    knows = load_classifier(study.models[model].spec(), TRAINED / f"{model}_indomain.safetensors", "cpu")
    with torch.inference_mode():
        targets = torch.cat([classifier(part).argmax(1) for part in images.split(256)])
    items = {}
    for id_ in asked.explainers:
        item = study.explainers[id_]
        file = getattr(item.parameters, "weights", None)
        update = {} if file is None else {"weights": Path(file) / f"{model}.safetensors"}
        items[id_] = replace(item, parameters=item.parameters.model_copy(update=update))
    maps = explain(classifier, images, targets, ids, items, seed=study.seed, batch_size=256)
    metrics = {id_: study.metrics[id_] for id_ in asked.metrics}
    first = {id_: item for id_, item in metrics.items() if not id_.endswith(OTHER_SETTINGS)}

    def scored(network: torch.nn.Module, names: dict, seed: int) -> pd.DataFrame:
        return evaluate(network, images, targets, ids, maps, names, truth=truth, seed=seed).scores.to_pandas()  # type: ignore[arg-type]

    scores = scored(classifier, metrics, study.seed)
    others = {
        "black": choice(scores, "_black"),
        "5 groups": choice(scores, "_5"),
        "ties": scored(classifier, first, OTHER_TIES),
        "in-domain": scored(knows, first, study.seed),
    }
    place = {
        "dataset": asked.datasets[0],
        "model": model,
        "attack": "clean",
        "smoothing": "none",
        "explained": "clean_prediction",
    }
    others = {name: frame.assign(**place) for name, frame in others.items()}
    truths = TRUTH.get(experiment, ())
    table = trust(plain(scores).assign(**place), truth=truths, others=others, seed=study.seed)
    knowing = others["in-domain"].assign(model=f"{model}_indomain")
    return table, trust(knowing, truth=truths, seed=study.seed)


def main(experiments: list[str]) -> None:
    """Print one table per experiment, and draw each."""
    torch.set_num_threads(1)
    for experiment in experiments or ["counting", "planted", "fashion_mnist"]:
        table, knowing = rated(experiment)
        draw(table, IMAGES / f"trust_{experiment}.png")
        print(f"**{experiment}**\n\n{trust_text(table, 'markdown')}\n{trust_text(knowing, 'markdown')}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

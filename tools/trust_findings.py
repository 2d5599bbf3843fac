"""Print the tables of docs/trust.md under other choices: an experiment of config/trust_choices.yaml in one process.

Run: python tools/trust_findings.py counting|planted|fashion_mnist [OUT] [--alone] [--figure FILE] [--images N] [--cores N]
The workflow fine-tunes the in-domain network in OUT (default: this folder) where it is missing. `--alone` adds the table of the in-domain
network alone; `--images` takes fewer images.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from provenance import core_seconds, line
from study_run import run_study

from vitfaith.api.trust import trust
from vitfaith.compare.trusted import draw, trust_text
from vitfaith.datasets.opening import open_source
from vitfaith.datasets.subset import stratified_subset
from vitfaith.explainers.explain import explain
from vitfaith.metrics.evaluate import evaluate
from vitfaith.models.load import load_classifier
from vitfaith.study.load import load_study, read_yaml

STUDY = Path(__file__).resolve().parents[1] / "config" / "trust_choices.yaml"
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


def indomain_weights(model: str) -> str:
    """The file of the workflow with the weights of ``model`` that know removed patches, relative to the folder of the run."""
    return f"results/train/classifier/{model}_indomain.safetensors"


def rated(experiment: str, out: Path, count: int | None, cores: int | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of :func:`vitfaith.trust` for one experiment: with all other choices, and on the in-domain network alone.

    Args:
        experiment: of the study.
        out: folder with the in-domain network, which is fine-tuned there where it is missing.
        count: images; None takes those of the study.
        cores: of the fine-tuning; None takes all.
    """
    study = load_study(read_yaml(STUDY))
    asked, model = study.experiments[experiment], study.experiments[experiment].models[0]
    run_study(STUDY, out, [indomain_weights(model)], cores)
    reader, section = study.datasets[asked.datasets[0]]
    source = open_source(reader.spec())
    chosen = stratified_subset(source.labels, count or section.images, study.seed)
    images, ids = torch.from_numpy(source.read(chosen)).float() / 255, [source.image_ids[i] for i in chosen]
    truth = None if source.masks is None else torch.from_numpy(np.stack(list(source.masks(chosen))))  # type: ignore[arg-type]
    classifier = load_classifier(study.models[model].spec(), Path(str(study.models[model].weights)), "cpu")
    knows = load_classifier(study.models[model].spec(), out / indomain_weights(model), "cpu")
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


def main() -> None:
    """Print the tables of one experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=["counting", "planted", "fashion_mnist"])
    parser.add_argument("out", type=Path, nargs="?", default=Path())
    parser.add_argument("--alone", action="store_true", help="also the table of the in-domain network alone")
    parser.add_argument("--figure", type=Path, help="draw the first table into this file")
    parser.add_argument("--images", type=int, help="default: those of the study")
    parser.add_argument("--cores", type=int, help="default: all")
    given = parser.parse_args()
    torch.set_num_threads(1)
    table, knowing = rated(given.experiment, given.out, given.images, given.cores)
    if given.figure:
        draw(table, given.figure)
    facts = [f"study seed {read_yaml(STUDY)['seed']}", f"n = {table['n'].max()} images", "95 % intervals over images"]
    seconds = core_seconds(given.out / "results") + time.process_time()
    print(line(f"trust-{given.experiment.replace('_', '-')}", facts, seconds) + "\n")
    print("\n".join(trust_text(shown, "markdown") for shown in (table, knowing)[: 1 + given.alone]))


if __name__ == "__main__":
    main()

"""Whether the files of external maps are there and hold a map of every image, in the shape of the model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vitfaith.check.datasets import DatasetFacts
from vitfaith.check.report import Report
from vitfaith.errors import ArtifactError
from vitfaith.explainers.external import ExternalParameters, lacking, read_maps
from vitfaith.models.classifier import Classifier
from vitfaith.study.study import Study

READ = 1024
"""Images whose maps are read, spread over the dataset; of the others the names are looked for."""


def check_external(
    study: Study, datasets: Mapping[str, DatasetFacts], models: Mapping[str, Classifier], report: Report
) -> None:
    """Report map files that are missing, of another kind, of other images, or of another shape."""
    for experiment in study.experiments.values():
        for id_ in experiment.explainers:
            parameters = study.explainers[id_].parameters
            if not isinstance(parameters, ExternalParameters):
                continue
            for dataset in experiment.datasets:
                for model in experiment.models:
                    if dataset in datasets and model in models:
                        with report.about(f"explainers.{id_}, datasets.{dataset}, models.{model}"):
                            _read(parameters, datasets[dataset], models[model])


def _read(parameters: ExternalParameters, facts: DatasetFacts, classifier: Classifier) -> None:
    names = [facts.source.image_ids[int(i)] for i in facts.chosen]
    some = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, READ).astype(int))]
    _, height, width = classifier.input_shape
    read_maps(parameters, some, classifier.grid, (height, width))
    if len(names) > len(some):
        missing = lacking(parameters.path, names)
        if missing is not None:
            raise ArtifactError(missing)

"""Whether models and datasets have the classes that experiments explain."""

from __future__ import annotations

from collections.abc import Mapping

from vitfaith.check.datasets import DatasetFacts
from vitfaith.check.report import Report
from vitfaith.explained import LABEL, RUNNER_UP, class_in
from vitfaith.models.classifier import Classifier
from vitfaith.study.study import Study


def check_targets(
    study: Study, datasets: Mapping[str, DatasetFacts], models: Mapping[str, Classifier], report: Report
) -> None:
    """Report classes that a model of the experiment does not have, and labels that a dataset does not have."""
    for name, experiment in study.experiments.items():
        where = f"experiments.{name}.targets"
        for target in map(str, experiment.targets):
            least = 2 if target == RUNNER_UP else (class_in(target) or 0) + 1
            for id_ in experiment.models:
                if id_ in models and models[id_].num_classes < least:
                    count = models[id_].num_classes
                    report.problem(
                        where,
                        f"'{target}' needs a model with {least} classes at least, and model '{id_}' has {count} "
                        f"(0 to {count - 1}); choose another class",
                    )
            for id_ in experiment.datasets:
                if target == LABEL and id_ in datasets and not datasets[id_].labels >= 0:
                    report.problem(
                        where, f"'label' needs labels, and dataset '{id_}' has none; choose another class to explain"
                    )

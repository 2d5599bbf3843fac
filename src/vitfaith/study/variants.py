"""Whether the figures of a study can say which variant of a metric they show."""

from __future__ import annotations

from vitfaith.errors import ConfigError
from vitfaith.figures.drawing.variants import Known, ShowsVariants
from vitfaith.study.sections import Experiment
from vitfaith.study.study import Study


def check_variants(study: Study) -> None:
    """Raise :class:`ConfigError` for a figure whose variant does not exist, or is one of several and not named.

    It would only fail when it is drawn, at the end.
    """
    for name, experiment in study.experiments.items():
        known = known_variants(study, experiment)
        for id_ in experiment.figures:
            parameters = study.figures[id_].parameters
            if isinstance(parameters, ShowsVariants):
                try:
                    parameters.check_variants(known)
                except ConfigError as error:
                    raise ConfigError(f"figures.{id_}.{error} (experiments.{name})") from None


def known_variants(study: Study, experiment: Experiment) -> Known:
    """The contents of an experiment's tables, as far as they are known before a run."""
    metrics = {id_: study.metrics[id_].implementation(study.metrics[id_].parameters) for id_ in experiment.metrics}
    traits = {id_: study.metrics[id_].traits for id_ in metrics}
    measures = {id_: study.stability[id_] for id_ in experiment.stability}
    scores = {id_: metric.variants for id_, metric in metrics.items()}
    curves: dict[str, tuple[str, ...]] = {}
    for metric in metrics.values():
        for request in metric.curves():
            curves[request.name] = tuple(dict.fromkeys((*curves.get(request.name, ()), request.variant)))
    return Known(
        summary={id_: metric.summary_variants for id_, metric in metrics.items()}
        | {id_: of(item.parameters) if (of := item.traits["variants"]) else None for id_, item in measures.items()}
        | dict.fromkeys(experiment.sanity),
        scores=scores,
        compared={id_: () if traits[id_].get("pooled") else variants for id_, variants in scores.items()},
        ranking=tuple(id_ for id_ in metrics if traits[id_]["direction"] != "none"),
        references=dict.fromkeys(metrics, ("",))
        | dict.fromkeys(measures, ("clean", "undefended"))
        | dict.fromkeys(experiment.sanity),
        curves=None if None in scores.values() else curves,
    )

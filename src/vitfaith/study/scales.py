"""Whether metrics that depend on a map's scale stand behind a smoothing that keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vitfaith.errors import ConfigError

if TYPE_CHECKING:
    from vitfaith.study.load import Study
    from vitfaith.study.sections import Experiment


def check_scales(study: Study) -> None:
    """Raise :class:`ConfigError` for what reads the scale or sign of a map that is no mean over the noise samples.

    The mean of the raw maps has the scale that the explainer gave them; the maximum of scaled ones has none.
    """
    for name, experiment in study.experiments.items():
        for smoothing in experiment.smoothings:
            how = getattr(study.smoothings[smoothing].parameters, "map_aggregation", "mean")
            if how == "mean":
                continue
            for section, id_ in _scale_dependent(study, experiment):
                raise ConfigError(
                    f"experiments.{name}.{section}: '{id_}' depends on the scale or sign of a map, which smoothing "
                    f"'{smoothing}' does not keep (aggregation {how}); set smoothings.{smoothing}.aggregation: mean, or move "
                    f"'{id_}' to an experiment without this smoothing"
                )


def _scale_dependent(study: Study, experiment: Experiment) -> Iterator[tuple[str, str]]:
    """(Section, id) of the metrics and measures of an experiment that a positive affine change of a map changes."""
    for id_ in experiment.metrics:
        item = study.metrics[id_]
        if item.implementation(item.parameters).scale_dependent:
            yield "metrics", id_
    for id_ in experiment.stability:
        if study.stability[id_].traits["scale_dependent"]:
            yield "stability", id_

"""Whether what an experiment crosses goes together: certificates, and metrics of a map's scale, with smoothings."""

from __future__ import annotations

from collections.abc import Iterator
from math import log2

from vitfaith.certificates.norms import check_noise
from vitfaith.errors import ConfigError
from vitfaith.noise import certified_noise
from vitfaith.smoothings.registry import certified_sigma, map_aggregation
from vitfaith.study.sections import Experiment
from vitfaith.study.study import Study


def check_certificates(study: Study) -> None:
    """Raise :class:`ConfigError` for certificates that no result of their experiment can have.

    Unsmoothed conditions are left out silently; a smoothing that no theorem covers, or whose samples leave too few for
    any bound (fewer than log2(1/alpha) beside those for selection), is named, as is a certificate behind noise for which it
    does not hold.
    """
    for name, experiment in study.experiments.items():
        where = f"experiments.{name}.certificates"
        smooth = [s for s in experiment.smoothings if study.smoothings[s].name != "none"]
        if experiment.certificates and not smooth:
            raise ConfigError(f"{where}: certificates are of smoothed results; add a smoothing to the experiment")
        for id_ in experiment.certificates:
            settings = study.certificates[id_].parameters
            for smoothing in smooth:
                parameters = study.smoothings[smoothing].parameters
                if certified_sigma(parameters) is None:
                    raise ConfigError(
                        f"{where}: nothing can be certified behind smoothing '{smoothing}', only behind dds with mode "
                        "calibrated, multistep or noise_only, aggregation mean and size image; use another experiment"
                    )
                place = f"{where}: '{id_}' behind smoothing '{smoothing}'"
                check_noise(place, study.certificates[id_].entry, certified_noise(parameters))
                selection, alpha = getattr(settings, "selection", 0), getattr(settings, "alpha", 0.5)
                needed = 1 if getattr(settings, "bound", "") == "none" else int(log2(1 / alpha)) + 1
                left = getattr(parameters, "samples", 0) - selection
                if left < needed:
                    raise ConfigError(
                        f"certificates.{id_}.selection: of the samples of smoothing '{smoothing}', {selection} for "
                        f"selection leave {max(0, left)} for the bound, and {needed} are the fewest that certify anything at "
                        f"alpha = {alpha:g}; raise smoothings.{smoothing}.samples or lower selection"
                    )


def check_scales(study: Study) -> None:
    """Raise :class:`ConfigError` for what reads the scale or sign of a map that is not a mean over the noise samples.

    The mean of the raw maps has the scale that the explainer gave them; the maximum of scaled ones has none.
    """
    for name, experiment in study.experiments.items():
        for smoothing in experiment.smoothings:
            how = map_aggregation(study.smoothings[smoothing].parameters)
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

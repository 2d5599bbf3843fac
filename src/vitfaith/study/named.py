"""Whether parameters that name entries of other sections name ones that exist, where they are used."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from vitfaith.attacks.registry import smoothing_seen
from vitfaith.errors import ConfigError, did_you_mean
from vitfaith.metrics.fills.registry import settings_of_fill
from vitfaith.registry import Parameters, named_ids
from vitfaith.smoothings.registry import smoothings_with_gradient

if TYPE_CHECKING:
    from vitfaith.study.load import Study

_SECTIONS = ("attacks", "smoothings", "explainers", "metrics", "stability", "sanity", "certificates")


def check_named(study: Study) -> None:
    """Raise :class:`ConfigError` for a name in a parameter marked by :class:`~vitfaith.registry.Ids` that is in no section."""
    for section in _SECTIONS:
        for id_, item in getattr(study, section).items():
            for where, parameters in (("", item.parameters), (".fill", settings_of_fill(item.parameters))):
                if parameters is not None:
                    _check(parameters, study, f"{section}.{id_}{where}", "section ")


def check_through(study: Study) -> None:
    """Raise :class:`ConfigError` for an attack through a smoothing that is not there, smooths nothing or has no gradient."""
    known = smoothings_with_gradient()
    usable = [id_ for id_, item in study.smoothings.items() if item.name in known]
    for id_, attack in study.attacks.items():
        through = smoothing_seen(attack.parameters)
        if through is None or through in usable:
            continue
        if through not in study.smoothings:
            why = f"is not in section smoothings{did_you_mean(through, usable)}"
        elif study.smoothings[through].name == "none":
            why = "smooths nothing; leave 'through' out, or name another"
        else:
            why = f"(smoothing {study.smoothings[through].name}) has no gradient in the image"
        raise ConfigError(
            f"attacks.{id_}.through: '{through}' {why}; known: {', '.join(usable) or 'none yet, add one'}"
        )


def check_figures(study: Study) -> None:
    """Raise :class:`ConfigError` for a figure that names, be it by default, what its experiment does not have.

    It would be drawn last, and then fail.
    """
    for name, experiment in study.experiments.items():
        for id_ in experiment.figures:
            _check(study.figures[id_].parameters, experiment, f"figures.{id_}", f"experiments.{name}.")


def _check(parameters: Parameters, there: object, where: str, place: str) -> None:
    for key, ids, sections in named_ids(parameters):
        found: Collection[str] = [id_ for section in sections for id_ in getattr(there, section)]
        for id_ in ids:
            if id_ not in found:
                hint = did_you_mean(id_, found) or f"; known: {', '.join(found) or 'none yet, add one'}"
                raise ConfigError(f"{where}.{key}: '{id_}' is not in {place}{', '.join(sections)}{hint}")

"""Whether the certificates that experiments ask for can exist: the smoothing adds Gaussian noise, samples suffice."""

from __future__ import annotations

from collections.abc import Mapping
from math import log2
from typing import TYPE_CHECKING

from vitfaith.errors import ConfigError
from vitfaith.registry import Item
from vitfaith.smoothings.registry import certified_sigma

if TYPE_CHECKING:
    from vitfaith.study.sections import Experiment


def check_certificates(
    experiments: Mapping[str, Experiment], smoothings: Mapping[str, Item], certificates: Mapping[str, Item]
) -> None:
    """Raise :class:`ConfigError` for certificates that no result of their experiment can have.

    Unsmoothed conditions are left out silently; a smoothing that no theorem covers, or whose samples leave too few for
    any bound (fewer than log2(1/alpha) beside those for selection), is named.
    """
    for name, experiment in experiments.items():
        where = f"experiments.{name}.certificates"
        smooth = [s for s in experiment.smoothings if smoothings[s].name != "none"]
        if experiment.certificates and not smooth:
            raise ConfigError(f"{where}: certificates are of smoothed results; add a smoothing to the experiment")
        for id_ in experiment.certificates:
            settings = certificates[id_].parameters
            for smoothing in smooth:
                parameters = smoothings[smoothing].parameters
                if certified_sigma(parameters) is None:
                    raise ConfigError(
                        f"{where}: nothing can be certified behind smoothing '{smoothing}', only behind dds with mode "
                        "calibrated, multistep or noise_only, aggregation mean and size image; use another experiment"
                    )
                selection, alpha = getattr(settings, "selection", 0), getattr(settings, "alpha", 0.5)
                needed = 1 if getattr(settings, "bound", "") == "none" else int(log2(1 / alpha)) + 1
                left = getattr(parameters, "samples", 0) - selection
                if left < needed:
                    raise ConfigError(
                        f"certificates.{id_}.selection: of the samples of smoothing '{smoothing}', {selection} for "
                        f"selection leave {max(0, left)} for the bound, and {needed} are the fewest that certify anything at "
                        f"alpha = {alpha:g}; raise smoothings.{smoothing}.samples or lower selection"
                    )

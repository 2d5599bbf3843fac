"""Behind which noise a certificate holds, and in which norm its radius is then. This module imports neither numpy nor scipy."""

from __future__ import annotations

from collections.abc import Mapping

from vitfaith.certificates.settings import Norm
from vitfaith.errors import ConfigError
from vitfaith.noise import Noise
from vitfaith.registry import Entry

QUANTILE: Mapping[Noise, Norm] = {"gaussian": "l2", "laplace": "l1", "uniform": "l1"}
"""Of certificates that stand on the quantiles of the noise."""

DIVERGENCE: Mapping[Noise, Norm] = {"gaussian": "l2", "laplace": "l2"}
"""Of certificates that stand on Rényi divergences; the divergence between shifted uniform laws is infinite."""

GAUSSIAN: Mapping[Noise, Norm] = {"gaussian": "l2"}
"""Of certificates that hold behind Gaussian noise alone."""


def norms_of(certificate: Entry) -> Mapping[Noise, Norm]:
    """Law of noise → norm of the radius, for the laws behind which a certificate holds; Gaussian where it names none."""
    found: Mapping[Noise, Norm] = certificate.traits.get("norms", GAUSSIAN)
    return found


def check_noise(place: str, certificate: Entry, noise: Noise) -> None:
    """Raise :class:`ConfigError`, whose text begins with ``place``, unless a certificate holds behind ``noise``."""
    known = norms_of(certificate)
    if noise not in known:
        raise ConfigError(
            f"{place}: certificate '{certificate.name}' holds behind {' or '.join(known)} noise, not behind {noise} noise; "
            "name another certificate or smoothing"
        )

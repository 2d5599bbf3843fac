"""The noise behind which a certificate holds, and the norm of its radius. This module imports neither numpy nor scipy."""

from __future__ import annotations

from collections.abc import Mapping

from vitfaith.certificates.settings import Norm
from vitfaith.errors import ConfigError
from vitfaith.noise import Noise
from vitfaith.registry import Entry

QUANTILE: Mapping[Noise, Norm] = {"gaussian": "l2", "laplace": "l1", "uniform": "l1"}
"""For certificates from quantiles of the noise."""

DIVERGENCE: Mapping[Noise, Norm] = {"gaussian": "l2", "laplace": "l2"}
"""For certificates from Rényi divergences; the divergence between shifted uniform laws is infinite."""

GAUSSIAN: Mapping[Noise, Norm] = {"gaussian": "l2"}
"""For certificates that hold only behind Gaussian noise."""


def norms_of(certificate: Entry) -> Mapping[Noise, Norm]:
    """Law of noise → norm of the radius, for the laws behind which a certificate holds; Gaussian by default."""
    found: Mapping[Noise, Norm] = certificate.traits.get("norms", GAUSSIAN)
    return found


def check_noise(place: str, certificate: Entry, noise: Noise) -> None:
    """Raise :class:`ConfigError` with a text that begins with ``place``, unless a certificate holds behind ``noise``."""
    known = norms_of(certificate)
    if noise not in known:
        raise ConfigError(
            f"{place}: certificate '{certificate.name}' holds behind {' or '.join(known)} noise, not behind {noise} noise; "
            "name another certificate or smoothing"
        )

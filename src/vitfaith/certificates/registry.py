"""The registry of certificates. Importing this module imports neither numpy nor scipy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vitfaith.registry import Registry

if TYPE_CHECKING:
    import pyarrow as pa

    from vitfaith.certificates.radii.votes import Samples

    Certificate = Callable[[str, Any, Samples], list[pa.Table]]

CERTIFICATES: Registry[Certificate] = Registry("certificate")
"""A certificate is ``function(id, settings, samples) -> tables`` of schema CERTIFICATES. ``parameters`` is an entry of a
study. The stage calls it with the votes of a shard alone, then with the maps of each method; it returns no table where
it certifies nothing.

Traits: ``certifies``, what the radius is about: "map", "prediction" or "both"; ``sound``, whether it is a guarantee for
every k0; ``norms``, see :mod:`vitfaith.certificates.norms`. Certificates of maps have more, see
:mod:`vitfaith.certificates.of_maps`."""

"""Rows of the table of certificates: one per image, certificate and its k and beta."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from vitfaith.artifacts.schemas import CERTIFICATES as ROWS
from vitfaith.certificates.norms import check_noise, norms_of
from vitfaith.certificates.radii.base import mass
from vitfaith.certificates.radii.bounds import fewest_samples
from vitfaith.certificates.radii.maps import SampledSwap
from vitfaith.certificates.radii.quantile import l2_radius
from vitfaith.certificates.radii.renyi import linf_radius
from vitfaith.certificates.radii.top_k import Floats
from vitfaith.certificates.settings import Bound, CertificateParameters, SplitSamples
from vitfaith.errors import ConfigError
from vitfaith.registry import Entry


def check_samples(
    id_: str, settings: SplitSamples, samples: int, entries: int, alpha: float, bound: Bound | Literal["none"]
) -> None:
    """Raise :class:`ConfigError` unless ``samples`` are enough for any certificate of ``entries`` numbers."""
    left = samples - settings.selection
    needed = 1 if bound == "none" else fewest_samples(alpha / entries, bound)
    if left < needed:
        raise ConfigError(
            f"certificates.{id_}: {samples} samples, {settings.selection} of them for selection, leave {max(0, left)} for "
            f"the bound; {needed} are the fewest that can certify {entries} entries at alpha = {alpha:g}: raise 'samples' "
            "of the smoothing, or lower 'selection'"
        )


def certificate_rows(image_ids: Sequence[str], radius: ArrayLike, dimensions: int, **columns: Any) -> pa.Table:
    """Rows of schema ``CERTIFICATES``; ``columns`` hold one value for all images, or one per image.

    Missing columns are empty: NaN, 0, "" or null.
    """
    count = len(image_ids)
    sizes = np.asarray(radius, dtype=np.float64)
    given: Mapping[str, Any] = {"radius": sizes, "linf": linf_radius(sizes, dimensions), **columns}
    found: dict[str, Any] = {"image_id": list(image_ids)}
    for field in ROWS:
        if field.name == "image_id":
            continue
        empty: Any = float("nan") if pa.types.is_floating(field.type) else "" if field.type == pa.string() else 0
        value = given.get(field.name, None if field.nullable else empty)
        found[field.name] = pa.array(
            value if isinstance(value, np.ndarray | list) else [value] * count, None if count else field.type
        )
    return pa.table(found).select(ROWS.names).cast(ROWS)


def described(parameters: CertificateParameters, selection: int, samples: int) -> dict[str, Any]:
    """The columns for the certified property and the number of samples."""
    plugged_in = parameters.bound == "none"
    return {
        "base": parameters.base,
        "bound": parameters.bound,
        "k": parameters.k,
        "beta": parameters.beta,
        "sigma": parameters.sigma,
        "alpha": float("nan") if plugged_in else parameters.alpha,
        "selection": selection,
        "samples": samples,
    }


def flags_of(flags: Sequence[str], radius: Floats) -> list[str]:
    """The reason why a radius (B,) certifies nothing: the flag of its map, "abstain" at 0, else ""."""
    return [flag or ("" if size > 0 else "abstain") for flag, size in zip(flags, radius, strict=True)]


def certify_swap(
    sampled: SampledSwap,
    certificate: Entry,
    parameters: CertificateParameters,
    *,
    image_ids: Sequence[str],
    method: str,
    dimensions: int,
    selection: int,
    samples: int,
    name: str,
) -> pa.Table:
    """Rows of a certificate of maps, from bounds on the cheapest swap.

    Args:
        sampled: from :func:`vitfaith.certificates.radii.maps.sampled_swap`.
        certificate: an entry of the registry with the traits of :mod:`vitfaith.certificates.of_maps`.
        parameters: settings, of the type in its trait ``single``.
        image_ids: (B,).
        method: explainer, copied to the rows.
        dimensions: channels · height · width of the input, for l_inf.
        selection: samples that chose the top-k set.
        samples: samples that bounded the entries.
        name: name of the certificate in the rows.

    Raises:
        ConfigError: the certificate needs base maps with a fixed sum, or does not hold behind the noise.
    """
    swap, traits = sampled.swap, certificate.traits
    check_noise(f"certificates.{name}", certificate, parameters.noise)
    if traits["probability"] and not np.isfinite(mass(parameters.base, parameters.k)):
        raise ConfigError(f"certificate '{certificate.name}' needs base 'share' or 'vote', not '{parameters.base}'")
    radius = l2_radius(traits["radius"](swap, parameters), norms_of(certificate)[parameters.noise], dimensions)
    return certificate_rows(
        image_ids,
        radius,
        dimensions,
        method=method,
        certificate=name,
        **described(parameters, selection, samples),
        inside=swap.inside[:, 0],
        outside=swap.outside[:, -1],
        sound=(traits["sound"] or swap.inside.shape[1] == 1) and parameters.bound != "none",
        flag=flags_of(sampled.flag, radius),
    )

"""Certificates of sampled maps, as a table: one row per image and certificate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from vitfaith.artifacts.schemas import CERTIFICATES as ROWS
from vitfaith.certificates.radii.base import base_map, mass, mean_base_map
from vitfaith.certificates.radii.bounds import simultaneous_bounds
from vitfaith.certificates.radii.renyi import linf_radius
from vitfaith.certificates.radii.top_k import Floats, Swap, check_top_k, exact_swap, swaps_to_break, worst_swap_values
from vitfaith.certificates.registry import CERTIFICATES
from vitfaith.certificates.settings import CertificateParameters
from vitfaith.errors import ConfigError, InputError
from vitfaith.map_values import map_flags
from vitfaith.rng import derive_seed


class SampledSwap(NamedTuple):
    """``swap`` (B, k0) from samples, and ``flag`` (B,): "nan", "constant" or ""."""

    swap: Swap
    flag: list[str]


def sampled_swap(
    selection: ArrayLike, estimation: ArrayLike, parameters: CertificateParameters, image_ids: Sequence[str], seed: int
) -> SampledSwap:
    """Ranking from the selection samples (B, m0, n), bounds from the estimation samples (B, m, n).

    With ``bound="none"`` both are pooled and their mean is taken for the expectation. Images are handled one at a time:
    memory stays at one image in float64, and no image can affect another.
    """
    first, second = np.asarray(selection), np.asarray(estimation)
    if first.ndim != 3 or second.ndim != 3 or first.shape[::2] != second.shape[::2] or len(image_ids) != len(first):
        raise InputError(
            "selection and estimation must be (images, samples, entries) with the images of image_ids, "
            f"not {first.shape} and {second.shape} for {len(image_ids)} identifiers"
        )
    if min(first.shape[1], second.shape[1]) < 1:
        raise InputError("selection and estimation must hold at least one sample each")
    k, k0 = parameters.k, swaps_to_break(parameters.k, parameters.beta)
    check_top_k(k, k0, first.shape[2])
    rows: list[tuple[Floats, Floats]] = []
    flags: list[str] = []
    for image_id, chosen, counted in zip(image_ids, first, second, strict=True):
        ranked, bounded = (base_map(part, parameters.base, k) for part in (chosen, counted))
        mean = mean_base_map(np.concatenate([chosen, counted]), parameters.base, k)
        flags += map_flags(mean[None])
        if flags[-1] or parameters.bound == "none":  # NaN gives NaN, a constant map a swap of equal entries
            rows.append(exact_swap(mean, k, k0))
        else:
            key = derive_seed(seed, image_id, "certify rounding")
            limits = simultaneous_bounds(bounded, parameters.alpha, parameters.bound, seed=key)
            rows.append(worst_swap_values(limits.lower, limits.upper, ranked.mean(axis=0), k, k0))
    shape = (-1, k0)
    inside = np.array([row[0] for row in rows], dtype=np.float64).reshape(shape)
    outside = np.array([row[1] for row in rows], dtype=np.float64).reshape(shape)
    return SampledSwap(Swap(inside, outside), flags)


def certificate_rows(image_ids: Sequence[str], radius: ArrayLike, dimensions: int, **columns: Any) -> pa.Table:
    """Rows of schema ``CERTIFICATES``; ``columns`` hold a value for all images, or one an image.

    Columns that are not given are empty: NaN, 0, "" or null.
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
    """The columns that say what was certified, and from how many samples."""
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


def certify_maps(
    selection: ArrayLike,
    estimation: ArrayLike,
    certificate: str,
    parameters: CertificateParameters,
    *,
    image_ids: Sequence[str],
    method: str,
    dimensions: int,
    seed: int = 0,
) -> pa.Table:
    """Certified radii of sampled maps of one explainer, one row an image.

    A row says: with probability at least 1 - alpha over the samples, the smoothed map of every input nearer than
    ``radius`` (l2) or ``linf`` (l_inf) shares at least ``beta`` of its top k with the top k of the selection samples'
    mean base map, whichever way ties of either are broken. Rows of other certificates and betas with the same k, base, bound and samples hold together with it;
    rows of another k have a failure probability of their own.

    Args:
        selection: (B, m0, n) raw maps of m0 noisy copies; they choose the top-k set.
        estimation: (B, m, n) raw maps of m other copies, independent of the first; they bound the entries.
        certificate: a name of :data:`vitfaith.certificates.registry.CERTIFICATES` that certifies maps.
        parameters: of the type that the certificate registers.
        image_ids: (B,).
        method: explainer, copied to the rows.
        dimensions: channels · height · width of the input, for l_inf.
        seed: of the random rounding of ``clopper_pearson``.

    Returns:
        Table of schema :data:`vitfaith.artifacts.schemas.CERTIFICATES`.

    Raises:
        ConfigError: for an unknown certificate, or one that needs a fixed sum with ``base="unit"``.
        InputError: for wrong shapes or a k that does not fit the map.
    """
    swap, flags = sampled_swap(selection, estimation, parameters, image_ids, seed)
    sizes = {"selection": np.shape(selection)[1], "samples": np.shape(estimation)[1]}
    return certify_swap(
        swap, flags, certificate, parameters, image_ids=image_ids, method=method, dimensions=dimensions, **sizes
    )


def certify_swap(
    swap: Swap,
    flags: Sequence[str],
    certificate: str,
    parameters: CertificateParameters,
    *,
    image_ids: Sequence[str],
    method: str,
    dimensions: int,
    selection: int,
    samples: int,
    name: str = "",
) -> pa.Table:
    """As :func:`certify_maps`, from a swap that :func:`sampled_swap` found; ``name`` replaces the certificate's."""
    traits = CERTIFICATES[certificate].traits
    if traits["certifies"] != "map":
        raise ConfigError(f"certificate '{certificate}' is not one of maps alone")
    if not isinstance(parameters, traits["single"]):
        raise ConfigError(
            f"certificate '{certificate}' takes {traits['single'].__name__}, not {type(parameters).__name__}"
        )
    if traits["probability"] and not np.isfinite(mass(parameters.base, parameters.k)):
        raise ConfigError(f"certificate '{certificate}' needs base 'share' or 'vote', not '{parameters.base}'")
    radius = np.asarray(CERTIFICATES[certificate].implementation(swap, parameters), dtype=np.float64)
    return certificate_rows(
        image_ids,
        radius,
        dimensions,
        method=method,
        certificate=name or certificate,
        **described(parameters, selection, samples),
        inside=swap.inside[:, 0],
        outside=swap.outside[:, -1],
        sound=(traits["sound"] or swap.inside.shape[1] == 1) and parameters.bound != "none",
        flag=[flag or ("" if size > 0 else "abstain") for flag, size in zip(flags, radius, strict=True)],
    )

"""Certificates of sampled maps, as a table: one row per image, certificate and norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from vitfaith.certify.base import base_map, mass
from vitfaith.certify.bounds import simultaneous_bounds
from vitfaith.certify.registry import CERTIFICATES, CertificateParameters
from vitfaith.certify.renyi import linf_radius
from vitfaith.certify.top_k import Floats, Swap, check_top_k, exact_swap, ranking, swap_values, swaps_to_break
from vitfaith.errors import ConfigError, InputError
from vitfaith.rng import derive_seed

CERTIFICATE_ROWS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("certificate", pa.string(), nullable=False),
        pa.field("variant", pa.string(), nullable=False),  # "base=vote,bound=chernoff,k=5,beta=0.8,sigma=0.1"
        pa.field("k", pa.int32(), nullable=False),
        pa.field("beta", pa.float64(), nullable=False),
        pa.field("sigma", pa.float64(), nullable=False),  # in [0, 1] pixel units
        pa.field("alpha", pa.float64(), nullable=False),  # failure probability; NaN without a confidence bound
        pa.field("samples", pa.int32(), nullable=False),  # estimation samples
        pa.field("norm", pa.string(), nullable=False),  # "l2" or "linf"
        pa.field("radius", pa.float64(), nullable=False),  # 0 where nothing is certified, NaN with flag "nan"
        pa.field("inside", pa.float64(), nullable=False),  # bound of entry k-k0+1, to recompute the Lipschitz radius
        pa.field("outside", pa.float64(), nullable=False),  # bound of entry k+k0
        pa.field("sound", pa.bool_(), nullable=False),  # a guarantee, or a number for comparison
        pa.field("flag", pa.string(), nullable=False),  # "", "nan", "constant" or "abstain"
    ]
)
"""Schema of :func:`certify_maps`."""


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
        mean = np.concatenate([ranked, bounded]).mean(axis=0)
        if np.isnan(mean).any():
            flags.append("nan")
            rows.append((np.full(k0, np.nan), np.full(k0, np.nan)))
            continue
        flags.append("constant" if mean.max() == mean.min() else "")
        if parameters.bound == "none":
            rows.append(exact_swap(mean, k, k0))
        else:
            key = derive_seed(seed, image_id, "certify rounding")
            limits = simultaneous_bounds(bounded, parameters.alpha, parameters.bound, seed=key)
            rows.append(swap_values(limits.lower, limits.upper, ranking(ranked.mean(axis=0)), k, k0))
    shape = (-1, k0)
    inside = np.array([row[0] for row in rows], dtype=np.float64).reshape(shape)
    outside = np.array([row[1] for row in rows], dtype=np.float64).reshape(shape)
    return SampledSwap(Swap(inside, outside), flags)


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
    """Certified radii of sampled maps of one explainer, two rows an image (norms l2 and linf).

    A row says: with probability at least 1 - alpha over the samples, the smoothed map of every input nearer than
    ``radius`` shares at least ``beta`` of its top k with the top k of the selection samples' mean base map. Rows of
    other certificates and betas with the same k, base, bound and samples hold together with it; rows of another k have
    a failure probability of their own.

    Args:
        selection: (B, m0, n) raw maps of m0 noisy copies; they choose the top-k set.
        estimation: (B, m, n) raw maps of m other copies, independent of the first; they bound the entries.
        certificate: a name of :data:`vitfaith.certify.registry.CERTIFICATES`.
        parameters: of the type that the certificate registers.
        image_ids: (B,).
        method: explainer, copied to the rows.
        dimensions: channels · height · width of the input, for l_inf.
        seed: of the random rounding of ``clopper_pearson``.

    Returns:
        Table of schema :data:`CERTIFICATE_ROWS`.

    Raises:
        ConfigError: for an unknown certificate, or one that needs a fixed sum with ``base="unit"``.
        InputError: for wrong shapes or a k that does not fit the map.
    """
    entry = CERTIFICATES[certificate]
    if not isinstance(parameters, entry.parameters):
        raise ConfigError(
            f"certificate '{certificate}' takes {entry.parameters.__name__}, not {type(parameters).__name__}"
        )
    if entry.traits["probability"] and not np.isfinite(mass(parameters.base, parameters.k)):
        raise ConfigError(f"certificate '{certificate}' needs base 'share' or 'vote', not '{parameters.base}'")
    swap, flags = sampled_swap(selection, estimation, parameters, image_ids, seed)
    radius = np.asarray(entry.implementation(swap, parameters), dtype=np.float64)
    k0 = swap.inside.shape[1]
    plugged_in = parameters.bound == "none"
    named = [flag or ("" if size > 0 else "abstain") for flag, size in zip(flags, radius, strict=True)]
    variant = (
        f"base={parameters.base},bound={parameters.bound},k={parameters.k},beta={parameters.beta:g},"
        f"sigma={parameters.sigma:.6g}"
    )
    count = len(image_ids)
    shared = {
        "image_id": list(image_ids),
        "method": [method] * count,
        "certificate": [certificate] * count,
        "variant": [variant] * count,
        "k": [parameters.k] * count,
        "beta": [parameters.beta] * count,
        "sigma": [parameters.sigma] * count,
        "alpha": [float("nan") if plugged_in else parameters.alpha] * count,
        "samples": [np.shape(estimation)[1]] * count,
        "inside": swap.inside[:, 0],
        "outside": swap.outside[:, -1],
        "sound": [(entry.traits["sound"] or k0 == 1) and not plugged_in] * count,
        "flag": named,
    }
    tables = [
        pa.table(shared | {"norm": [norm] * count, "radius": values})
        for norm, values in (("l2", radius), ("linf", linf_radius(radius, dimensions)))
    ]
    return pa.concat_tables([table.select(CERTIFICATE_ROWS.names).cast(CERTIFICATE_ROWS) for table in tables])

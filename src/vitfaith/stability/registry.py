"""The registry of measures that compare two maps of the same image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from vitfaith.registry import Better, Parameters, Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Maps: TypeAlias = "NDArray[np.floating[Any]]"
"""(B, rows, columns), one map per image."""

Values: TypeAlias = "NDArray[np.float64]"
"""(B,), one number per image."""

Measure: TypeAlias = Callable[[Maps, Maps, Any], Mapping[str, Values]]

STABILITY_MEASURES: Registry[Measure] = Registry("stability measure", direction=get_args(Better))
"""Entries are ``function(a, b, parameters) -> {variant: (B,) float64}`` with the trait ``direction``: "higher" where a
larger value means more similar maps. They get only finite, non-constant maps; other maps are flagged by
:mod:`vitfaith.stability.compare`."""


def one_value(parameters: Any) -> tuple[str, ...]:
    """The variants of a measure that has one value."""
    return ("",)


def measure(
    name: str,
    *,
    direction: Better,
    citation: str,
    parameters: type[Parameters] = Parameters,
    scale_dependent: bool = False,
    variants: Callable[[Any], tuple[str, ...]] | None = None,
) -> Callable[[Measure], Measure]:
    """Register ``function(a, b, parameters)`` under ``name``.

    Args:
        scale_dependent: whether a positive affine change of one map (a·map + b, a > 0) changes the value. Behind a
            smoothing, scale-dependent measures read the mean of the raw maps, and all others the mean of the scaled maps.
        variants: ``variants(parameters)`` returns the names of the values; a study is refused if a figure asks for another, or
            does not say which of several it shows. Default: they are not known before it runs.
    """
    return STABILITY_MEASURES.register(
        name,
        parameters=parameters,
        citation=citation,
        direction=direction,
        scale_dependent=scale_dependent,
        variants=variants,
    )

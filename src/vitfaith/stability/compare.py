"""Compares the maps of one method in two conditions, image by image, and flags pairs that cannot be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vitfaith.errors import InputError
from vitfaith.lazy import np, pa
from vitfaith.map_values import map_flags
from vitfaith.registry import Item
from vitfaith.stability.registry import Maps, Values

if TYPE_CHECKING:
    from numpy.typing import NDArray

OTHER_CLASS = "other class"
"""Flag of a pair of maps that explain different classes: their similarity does not describe the explainer alone."""


def compare_maps(a: Maps, b: Maps, measure: Item) -> dict[str, tuple[Values, list[str]]]:
    """Apply a measure to each pair of maps.

    Args:
        a, b: (B, rows, columns), the same images in the same order.
        measure: an item of :data:`~vitfaith.stability.registry.STABILITY_MEASURES`.

    Returns:
        variant → (values (B,) float64, B flags). A value is NaN where its flag is set: "nan" or "constant" if one of the
        maps is, "undefined" if the measure has no value for two usable maps.

    Raises:
        InputError: the shapes differ or are not (B, rows, columns).
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.ndim != 3 or a.shape != b.shape or 0 in a.shape[1:]:
        raise InputError(f"maps {a.shape} and reference maps {b.shape} must have one shape (B, rows, columns)")
    flags = [_worse(x, y) for x, y in zip(map_flags(a), map_flags(b), strict=True)]
    sound = np.array([not flag for flag in flags], dtype=bool)
    # without a usable pair the names of variants are still needed, so no row is dropped
    probe = np.arange(np.prod(a.shape[1:]), dtype=np.float64).reshape(1, *a.shape[1:])
    result = measure.implementation(
        a[sound] if sound.any() else probe, b[sound] if sound.any() else probe, measure.parameters
    )
    compared: dict[str, tuple[Values, list[str]]] = {}
    for variant, sound_values in result.items():
        values = np.full(len(a), np.nan)
        if sound.any():
            values[sound] = sound_values
        undefined = sound & ~np.isfinite(values)
        values[undefined] = np.nan
        compared[variant] = (values, ["undefined" if u else f for u, f in zip(undefined, flags, strict=True)])
    return compared


def stability_table(
    image_ids: Sequence[str],
    method: str,
    reference: str,
    maps: Maps,
    reference_maps: Maps,
    measures: Mapping[str, Item],
    other_class: NDArray[np.bool_] | None = None,
) -> pa.Table:
    """Rows of the schema STABILITY: ``maps`` compared with ``reference_maps``.

    Args:
        image_ids: B names; row i of both map arrays belongs to ``image_ids[i]``.
        method: identifier of the explainer.
        reference: name of the reference condition ("clean" or "undefended").
        maps, reference_maps: (B, rows, columns).
        measures: identifier (the column ``metric``) → measure.
        other_class: (B,) whether the two maps explain different classes. Then the value is NaN and the flag "other class",
            unless one of the maps already has a flag.

    Raises:
        InputError: the number of ids or the maps' shapes do not agree.
    """
    from vitfaith.artifacts.schemas import STABILITY

    if len(image_ids) != len(maps):
        raise InputError(f"image_ids has {len(image_ids)} names for {len(maps)} maps")
    columns: dict[str, list[object]] = {field: [] for field in STABILITY.names}
    for identifier, measure in measures.items():
        for variant, (values, flags) in compare_maps(maps, reference_maps, measure).items():
            count = len(image_ids)
            if other_class is not None:
                values = np.where(other_class, np.nan, values)
                flags = [flag or (OTHER_CLASS if moved else "") for flag, moved in zip(flags, other_class, strict=True)]
            columns["image_id"] += list(image_ids)
            columns["method"] += [method] * count
            columns["reference"] += [reference] * count
            columns["metric"] += [identifier] * count
            columns["variant"] += [variant] * count
            columns["value"] += values.tolist()
            columns["flag"] += flags
    return pa.table(columns, schema=STABILITY)


def _worse(x: str, y: str) -> str:
    return "nan" if "nan" in (x, y) else x or y

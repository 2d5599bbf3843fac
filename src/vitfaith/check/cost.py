"""Network passes of one registered item, in words."""

from __future__ import annotations

from vitfaith.check.counting import attribute_passes, small_vit
from vitfaith.registries import REGISTRIES
from vitfaith.registry import Item

SIZE, PATCH = 224, 16
COUNTED = ("one_pass", "path", "relevance")
"""Families whose passes are counted on a small ViT in a second; for other families they depend on settings that `show` prints."""


def cost_text(section: str, name: str) -> str:
    """Network passes of a metric or explainer with its default settings; an empty string where they are not counted.

    Images are 224 × 224, maps 14 × 14.
    """
    if section not in ("metrics", "explainers"):
        return ""
    entry = REGISTRIES[section][name]
    family = entry.traits.get("family", "")
    if section == "explainers" and (family not in COUNTED or entry.traits.get("model_files")):
        return ""
    item = Item(entry, entry.parameters())
    counts = _of_metric(item) if section == "metrics" else _of_explainer(item)
    words = [f"{n:,.0f} {what}{'' if n == 1 else 's'} per {unit}" for n, what, unit in counts if n]
    if not words:
        return "no pass"
    return " and ".join(words) + (", shared by all explainers of its family" if family == "one_pass" else "")


def _of_metric(item: Item) -> list[tuple[float, str, str]]:
    from vitfaith.metrics.engine.cost import forward_cost

    cost = forward_cost([item.implementation(item.parameters)], (SIZE // PATCH, SIZE // PATCH), (SIZE, SIZE))
    return [(cost.per_map, "forward", "map"), (cost.per_image, "forward", "image")]


def _of_explainer(item: Item) -> list[tuple[float, str, str]]:
    spec = {"methods": {item.name: item.spec()}, "smoothing": {"use": "none"}}
    forwards, backwards = attribute_passes(spec, small_vit((3, SIZE, SIZE), (PATCH, PATCH), 10))
    return [(forwards, "forward", "image"), (backwards, "backward", "image")]

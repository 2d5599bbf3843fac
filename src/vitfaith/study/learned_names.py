"""Checks of what a configuration says about learned explainers."""

from __future__ import annotations

from collections.abc import Mapping

from vitfaith.errors import ConfigError
from vitfaith.registry import Item
from vitfaith.study.learned import placeholder_of


def check_learned(explainers: Mapping[str, Item], metrics: Mapping[str, Item]) -> None:
    """Raise :class:`ConfigError` for a recipe that is missing, or a placeholder of an explainer without weights."""
    for id_, item in explainers.items():
        untrained = getattr(item.parameters, "training", None) is None
        if getattr(item.parameters, "weights", None) == "trained" and untrained:
            raise ConfigError(
                f"explainers.{id_}: weights are 'trained' but there is no key 'training' with a recipe; add it, or name a folder"
            )
    for id_, item in metrics.items():
        explainer = placeholder_of(item.parameters)
        if explainer is None:
            continue
        where = f"metrics.{id_}.fill.explainer"
        chosen = explainers[explainer]
        files = chosen.traits.get("model_files", ())
        if not any(getattr(chosen.parameters, name) is not None for name in files):
            raise ConfigError(
                f"{where}: '{explainer}' has no trained DiffMask; name an explainer diffmask with weights"
            )

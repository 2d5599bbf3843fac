"""Checks of what a configuration says about learned explainers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vitfaith.errors import ConfigError
from vitfaith.registries import REGISTRIES
from vitfaith.study.learned import placeholder_of

if TYPE_CHECKING:
    from vitfaith.study.load import Instance

Known = Callable[[Iterable[str], str, str], None]


def check_learned(explainers: Mapping[str, Instance], metrics: Mapping[str, Instance], known: Known) -> None:
    """Raise :class:`ConfigError` for a recipe that is missing, or names that are in no section.

    Args:
        known: ``known(names, section, where)`` raises where a name is not in the section.
    """
    for id_, item in explainers.items():
        recipe: Any = getattr(item.parameters, "training", None)
        if getattr(item.parameters, "weights", None) == "trained" and recipe is None:
            raise ConfigError(
                f"explainers.{id_}: weights are 'trained' but there is no key 'training' with a recipe; add it, or name a folder"
            )
        if recipe is not None:
            known([recipe.train_on, recipe.test_on], "datasets", f"explainers.{id_}.training")
    for id_, item in metrics.items():
        explainer = placeholder_of(item.parameters)
        if explainer is None:
            continue
        where = f"metrics.{id_}.fill.explainer"
        chosen = explainers[explainer]
        files = REGISTRIES["explainers"][chosen.name].traits.get("model_files", ())
        if not any(getattr(chosen.parameters, name) is not None for name in files):
            raise ConfigError(
                f"{where}: '{explainer}' has no trained DiffMask; name an explainer diffmask with weights"
            )

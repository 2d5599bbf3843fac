"""A plugin to start from: a file with an explainer, a metric and an attack that work."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from vitfaith.errors import ConfigError

KINDS = {"explainers": "explainer", "metrics": "metric", "attacks": "attack"}
"""Section → the end of the name of the skeleton's item in it."""


def item_names(path: Path) -> dict[str, str]:
    """Section → name of the item that the plugin at ``path`` registers there."""
    stem = re.sub(r"[^a-z0-9_]", "_", path.stem.lower())
    return {section: f"{stem}_{kind}" for section, kind in KINDS.items()}


def write_plugin(path: Path) -> list[str]:
    """Write the skeleton, with names made from the file's name.

    Args:
        path: Python file; must not exist.

    Returns:
        Lines of YAML by which a study uses it.

    Raises:
        ConfigError: the file exists, or is no Python file.
    """
    if path.suffix != ".py":
        raise ConfigError(f"--plugin: '{path}' is no Python file; give a file whose name ends with .py")
    if path.exists():
        raise ConfigError(f"--plugin: '{path}' exists; name another file")
    names = item_names(path)
    text = files("vitfaith.check").joinpath("skeleton.txt").read_text(encoding="utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace("NAME_explainer", names["explainers"])
                    .replace("NAME_metric", names["metrics"]).replace("NAME_attack", names["attacks"]), encoding="utf-8")  # fmt: skip
    return [
        f"plugins: [{path}]",
        *(line for section, name in names.items() for line in (f"{section}:", f"  {name}: {{}}")),
    ]

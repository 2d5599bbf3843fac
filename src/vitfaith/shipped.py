"""The workflow and the files that come with the package, named alike in a clone and in an installed package.

``vitfaith:models/vit_patch4.safetensors`` is a file of the folder ``resources``. Inside the process such names are paths;
specifications, provenance and parameters of rules hold the names, so that no result depends on where the package lies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from vitfaith.errors import ConfigError, did_you_mean

PREFIX = "vitfaith:"
PACKAGED = Path(__file__).resolve().parent / "_workflow"
"""Where the wheel puts the workflow; a clone has it at its root."""

T = TypeVar("T")


@cache
def workflow_folder() -> Path | None:
    """The folder with the Snakefile: in an installed package or at the root of the clone; None where neither has one."""
    for folder in (PACKAGED, Path(__file__).resolve().parents[2]):
        if (folder / "Snakefile").is_file():
            return folder
    return None


def located(value: T, where: str = "") -> T:
    """``value`` with names of shipped files made paths: a string, a path, or mappings and lists of them, at any depth.

    Args:
        where: key of ``value``, for messages; keys inside follow after a dot.

    Raises:
        ConfigError: a shipped file is named, but there is none of this name, or the package came without them.
    """
    if isinstance(value, str | Path) and str(value).startswith(PREFIX):
        folder = workflow_folder()
        key = f"{where}: " if where else ""
        if folder is None:
            raise ConfigError(
                f"{key}'{value}' names a file that is shipped with vitfaith, but none lie beside the package"
            )
        name = str(value).removeprefix(PREFIX)
        inside = not (Path(name).is_absolute() or ".." in Path(name).parts)
        if not inside or not name or not (folder / "resources" / name).exists():
            hint = did_you_mean(name, _names(folder)) if inside else ""
            raise ConfigError(f"{key}'{value}' is no file that is shipped with vitfaith{hint}")
        return type(value)(str(folder / "resources" / name))
    return _inside(value, lambda item, key: located(item, f"{where}.{key}" if where else str(key)))


def named(value: T) -> T:
    """The inverse of :func:`located`: paths of shipped files become their names."""
    folder = workflow_folder()
    if isinstance(value, str | Path) and folder is not None and str(value).startswith(f"{folder}/resources/"):
        return type(value)(PREFIX + str(value).removeprefix(f"{folder}/resources/"))
    return _inside(value, lambda item, _: named(item))


def is_shipped(path: str | Path) -> bool:
    """Whether a path belongs to a shipped file."""
    return named(str(path)).startswith(PREFIX)


def _names(folder: Path) -> list[str]:
    """Names of the shipped files and folders."""
    root = folder / "resources"
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


def _inside(value: Any, change: Callable[[Any, str | int], Any]) -> Any:
    """A mapping or list with its items changed; ``change`` is given each item and its key or place."""
    if isinstance(value, Mapping):
        return {key: change(item, key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(change(item, place) for place, item in enumerate(value))
    return value

"""Python files of a study's key ``plugins``: their import, and the place of an error in them."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path

from vitfaith.errors import ConfigError

_MODULE = "vitfaith_plugin_"
_LONGEST = 300
"""Characters of a foreign error that a message quotes."""


def plugin_module(path: Path) -> str:
    """Name under which the module of a plugin is imported."""
    return f"{_MODULE}{path.stem}"


def load_plugin(path: str | Path) -> str:
    """Import a user's Python file so that its decorators register what it defines; returns the module name.

    Raises:
        ConfigError: there is no such file, it is no Python file, or its code fails; with the line where it fails.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"plugins: file '{path}' does not exist; give a path relative to the working directory")
    if path.suffix != ".py":
        raise ConfigError(f"plugins: '{path}' is no Python file; give a file whose name ends with .py")
    name = plugin_module(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a plugin that calls sys.exit must not end the run in silence
        text = str(error) if isinstance(error, ConfigError) else _quoted(error)
        raise ConfigError(f"plugins: '{path}' cannot be imported: {text}{_line(error, path)}") from error
    return name


def _line(error: BaseException, path: Path) -> str:
    """The line of ``path`` at which ``error`` was raised, in brackets, and the file below it that raised it."""
    frames = _frames(error)
    own = [at for at, frame in enumerate(frames) if Path(frame.filename).resolve() == path.resolve()]
    if not own:
        return f" (line {line})" if (line := getattr(error, "lineno", None)) else ""
    return f" (line {frames[own[-1]].lineno}{_deeper(error, frames, own[-1])})"


def plugin_fault(error: BaseException) -> str | None:
    """File, line and text of an error that code of a plugin, or code that it called, raised; None for any other error.

    Example:
        >>> plugin_fault(ValueError("raised elsewhere")) is None
        True
    """
    plugins = {module.__file__ for name, module in sys.modules.items() if name.startswith(_MODULE)}
    frames = _frames(error)
    inside = [at for at, frame in enumerate(frames) if frame.filename in plugins]
    if not inside:
        return None
    last = frames[inside[-1]]
    return f"{_short(last.filename)}, line {last.lineno}: {_quoted(error)}{_deeper(error, frames, inside[-1])}"


def _deeper(error: BaseException, frames: list[traceback.FrameSummary], at: int) -> str:
    """Where the error comes from, if not from the frame ``at`` itself or from Python's import of a missing module."""
    if at + 1 == len(frames) or isinstance(error, ConfigError):
        return ""
    return f", raised at line {frames[-1].lineno} of {_short(frames[-1].filename)}"


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    return [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]


def _quoted(error: BaseException) -> str:
    """Type and text of a foreign error on one line."""
    text = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
    return f"{type(error).__name__}: {text if len(text) <= _LONGEST else text[:_LONGEST] + ' …'}".removesuffix(": ")


def _short(file: str) -> str:
    """A path from the working directory, or from the folder of installed packages."""
    path = Path(file)
    for folder in (Path.cwd(), *map(Path, sys.path)):
        if folder.is_absolute() and path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    return file

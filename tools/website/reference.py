"""Pages of reference that are made from the code: library, plots, plugins, commands. Imports no mkdocs.

The first three hold the directives that mkdocstrings replaces by signatures and docstrings. Nothing here imports torch.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import click
import typer
from tools.website.pages import ROOT

import vitfaith.errors
from vitfaith import register
from vitfaith.cli.main import app
from vitfaith.tables.text import escape_markdown, markdown_table

PLUGINS = """# Writing plugins

The decorators of `vitfaith.register` and the objects that a plugin receives. `vitfaith init --plugin mine.py` writes an example
of each kind.
"""

BASES = (
    "vitfaith.metrics.registry.Metric",
    "vitfaith.metrics.context.ScoreContext",
    "vitfaith.metrics.context.Request",
    "vitfaith.metrics.context.Response",
    "vitfaith.datasets.registry.Source",
    "vitfaith.registry.Parameters",
)
"""Classes that plugins inherit from or receive."""


def pages() -> dict[str, str]:
    """Address → text of every page."""
    return {
        "reference/library.md": library_page(),
        "reference/plot.md": module_page("# Plots\n", "vitfaith.api.plot", functions_of("vitfaith.api.plot")),
        "reference/plugins.md": module_page(PLUGINS, "vitfaith.register", register.__all__, BASES),
        "reference/commands.md": command_page(),
    }


def library_page() -> str:
    """The names of ``import vitfaith``: functions, classes, errors."""
    names = [name for name in vitfaith.__all__ if name not in ("plot", "register")]
    errors = [name for name in names if hasattr(vitfaith.errors, name)]
    groups = {
        "Functions": [name for name in names if name[0].islower()],
        "Classes": [name for name in names if name[0].isupper() and name not in errors],
        "Errors": errors,
    }
    lines = [
        "# Library",
        "",
        "Every name of `import vitfaith as vf`. [From Python](../library.md) introduces them by example.",
        "",
    ]
    for title, names in groups.items():
        lines += [f"## {title}", "", *directives(f"vitfaith.{name}" for name in names)]
    return "\n".join(lines)


def module_page(head: str, module: str, names: Iterable[str], more: Iterable[str] = ()) -> str:
    """The public names of one module, then ``more`` by their full names."""
    return "\n".join([head, "", *directives([*(f"{module}.{name}" for name in names), *more])])


def functions_of(module: str) -> list[str]:
    """Names of the public functions that a module defines, in their order there; it is read, not imported."""
    path = ROOT / "src" / Path(*module.split("."))
    body = ast.parse(path.with_suffix(".py").read_text(encoding="utf-8")).body
    return [node.name for node in body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]


def directives(names: Iterable[str]) -> list[str]:
    """Lines that mkdocstrings replaces."""
    return [line for name in names for line in (f"::: {name}", "")]


def command_page() -> str:
    """Every verb of the command line with its options."""
    lines = ["# Commands", "", "`vitfaith VERB --help` prints the same text.", ""]
    program = typer.main.get_command(app)
    assert hasattr(program, "commands")
    for name, command in program.commands.items():
        context = click.Context(command, info_name=f"vitfaith {name}")
        usage = command.get_usage(context).removeprefix("Usage: ")
        lines += [f"## `{name}`", "", "```text", usage, "```", "", plain(command.help or ""), ""]
        options = [
            record for p in command.params if (record := p.get_help_record(context)) and "--help" not in record[0]
        ]
        if options:
            rows = [(f"`{option}`".replace("|", "\\|"), escape_markdown(text)) for option, text in options]
            lines += [markdown_table(("argument or option", "meaning"), rows), ""]
    return "\n".join(lines)


def plain(text: str) -> str:
    """A docstring without the marks of its roles: ``:func:`~a.b``` becomes `` `b` ``."""
    text = re.sub(r":\w+:`~(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return re.sub(r":\w+:`([^`]+)`", r"`\1`", text)

"""Docstrings as Markdown: roles become links where the object has an entry, ``Example:`` becomes a section of code."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, NameResolutionError, Object

ROLE = re.compile(r":(?:func|class|meth|attr|data|mod):`(~?)([\w.]+)`")


class Roles(Extension):
    """Changes each docstring before it is parsed."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called with every module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value, obj)


def markdown(text: str, scope: Object | None = None) -> str:
    """``text`` for a renderer of Markdown; names are looked up in ``scope``, as Python would."""

    def link(match: re.Match[str]) -> str:
        short, name = match.groups()
        path = name
        if scope is not None and "vitfaith" not in name:
            try:
                path = scope.resolve(name)
            except NameResolutionError:
                path = name
        label = name.rpartition(".")[2] if short else name
        return f'<autoref identifier="{path}" optional><code>{label}</code></autoref>'

    return ROLE.sub(link, re.sub(r"^(\s*)Example:$", r"\1Examples:", text, flags=re.MULTILINE))

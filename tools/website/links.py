"""Links of the repository's Markdown files as the site needs them. Imports no mkdocs."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping

from tools.website.pages import ROOT, address

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)


def rewrite(text: str, source: str, page: str, titles: Mapping[str, str]) -> str:
    """``text`` of the file ``source`` (relative to the root) with links that are right on the page ``page``.

    A link to another page or to a file below docs is made relative to ``page``; where its text is the path, the text
    becomes the title of the other page. The site has no page for other files of the repository (source code, configurations):
    their link becomes its text and the path. Code blocks stay as they are.

    Args:
        titles: address → heading of each page.
    """

    def replaced(match: re.Match[str]) -> str:
        image, label, target = match.groups()
        if "://" in target or target.startswith(("#", "mailto:")):
            return match[0]
        target, mark, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        to = address(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        is_path = label.strip("`").removeprefix("./") in (path, target, posixpath.basename(path))
        if to is not None:
            label = titles.get(to, label) if is_path else label
            return f"{image}[{label}]({posixpath.relpath(to, posixpath.dirname(page) or '.')}{mark}{anchor})"
        if not (ROOT / path).exists():
            return match[0]  # left wrong, so that the strict build names it
        return f"`{path}`" if is_path else f"{label} (`{path}`)"

    return outside_code(text, lambda part: LINK.sub(replaced, part))


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """``text`` with ``change`` applied to what lies between fenced code blocks."""
    parts, last = [], 0
    for block in FENCE.finditer(text):
        parts += [change(text[last : block.start()]), block[0]]
        last = block.end()
    return "".join([*parts, change(text[last:])])

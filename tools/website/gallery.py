"""A page with every figure of the documentation. Imports no mkdocs."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

IMAGE = re.compile(r"!\[([^\]]*)\]\(([^()\s]+\.(?:png|svg|jpg))\)")


def figures(pages: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Address of a figure → (its description, the page that shows it); the first page counts.

    Args:
        pages: address → text, with links relative to the page.
    """
    found: dict[str, tuple[str, str]] = {}
    for page, text in pages.items():
        for label, target in IMAGE.findall(text):
            if "://" not in target:
                found.setdefault(posixpath.normpath(posixpath.join(posixpath.dirname(page), target)), (label, page))
    return found


def gallery(pages: Mapping[str, str], titles: Mapping[str, str]) -> str:
    """The page. Each figure links to the page that explains it.

    Args:
        pages: address → text, in the order in which their figures appear.
        titles: address → heading of the page.
    """
    lines = ["# Gallery", "", "Every figure of these pages. A click on a figure opens the page that explains it.", ""]
    for figure, (label, page) in figures(pages).items():
        caption = f"<figcaption>{label}<br>Page: <em>{titles[page]}</em></figcaption>"
        lines += ['<figure markdown="span">', "", f"[![{label}]({figure})]({page})", "", caption, "</figure>", ""]
    return "\n".join(lines)

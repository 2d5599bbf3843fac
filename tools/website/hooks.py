"""What mkdocs calls while it builds the site: adds pages that do not lie below docs, and repairs links."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # mkdocs loads this file by its path, from any folder

from tools.website import gallery, links, notebooks, pages, reference  # noqa: E402

ABOVE_HEADING = re.compile(r"\A\s*(?:<!--.*?-->\s*)+", re.DOTALL)
"""Comments: below them mkdocs finds no title."""

HEADING = re.compile(r"^# (.+)$", re.MULTILINE)

P_VALUE = re.compile(r"\(p = [\d.e+-]+\)")
"""Browsers would break it at the sign of its exponent."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of the site: those below docs, and the pages made here."""
    written: dict[str, str] = {}
    for page, source in pages.sources().items():
        text = (ROOT / source).read_text(encoding="utf-8")
        if source.endswith(".ipynb"):
            text, pictures = notebooks.page_of(text, Path(page).stem)
            for name, content in pictures.items():
                files.append(File.generated(config, str(Path(page).with_name(name)), content=content))
        written[page] = ABOVE_HEADING.sub("", text)
    texts = {**written, **reference.pages()}
    titles = {page: match[1] for page, text in texts.items() if (match := HEADING.search(text))}
    for page, source in pages.sources().items():
        texts[page] = links.rewrite(texts[page], source, page, titles)
    ordered = {page: texts[page] for found in pages.menu(texts).values() for page in found}
    texts["gallery.md"] = gallery.gallery(ordered, titles)
    for page, text in texts.items():
        if (old := files.get_file_from_path(page)) is not None:
            files.remove(old)
        files.append(File.generated(config, page, content=text))
    config.nav = pages.nav(texts)
    return files


def on_page_content(html: str, **_: object) -> str:
    """The page with each p value on one line."""
    return P_VALUE.sub(r'<span class="number">\g<0></span>', html)

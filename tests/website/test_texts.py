"""Markdown for the site: links, notebooks, the gallery, and forms that GitHub reads but the site's Markdown does not."""

from __future__ import annotations

import base64
import json
import posixpath
import re

import pytest
from tools.website import gallery, links, notebooks, pages

TITLES = {"library.md": "From Python", "config/index.md": "Configuration"}


@pytest.mark.parametrize(
    ("source", "page", "text", "changed"),
    [
        ("README.md", "index.md", "[From Python](docs/library.md#models)", "[From Python](library.md#models)"),
        ("README.md", "index.md", "[docs/library.md](docs/library.md)", "[From Python](library.md)"),
        ("README.md", "index.md", "![SaCo](docs/images/x.png)", "![SaCo](images/x.png)"),
        ("docs/fills.md", "fills.md", "[config/README.md](../config/README.md)", "[Configuration](config/index.md)"),
        ("docs/slurm.md", "slurm.md", "[there](../README.md#on-a-cluster)", "[there](index.md#on-a-cluster)"),
        ("docs/notebooks/a.ipynb", "notebooks/a.md", "[b](../library.md)", "[b](../library.md)"),
        ("docs/library.md", "library.md", "[one](notebooks/one_image.ipynb)", "[one](notebooks/one_image.md)"),
        ("docs/config/index.md", "config/index.md", "[all](../metrics.md)", "[all](../metrics.md)"),
        ("README.md", "index.md", "[the study](config/tiny.yaml)", "the study (`config/tiny.yaml`)"),
        ("README.md", "index.md", "[`config/tiny.yaml`](config/tiny.yaml)", "`config/tiny.yaml`"),
        ("README.md", "index.md", "[gone](config/gone.yaml)", "[gone](config/gone.yaml)"),
        ("docs/models.md", "models.md", "[x](#here) [y](https://example.org)", "[x](#here) [y](https://example.org)"),
        ("README.md", "index.md", "```\n[a](docs/library.md)\n```\n", "```\n[a](docs/library.md)\n```\n"),
    ],
)
def test_links(source: str, page: str, text: str, changed: str) -> None:
    assert links.rewrite(text, source, page, TITLES) == changed


def test_a_notebook_becomes_a_page_with_its_outputs() -> None:
    picture = base64.b64encode(b"PNG").decode()
    outputs = [
        {"text": ["3\n"]},
        {"data": {"text/html": ['<div>\n<style>x</style>\n\n<table border="1" class="dataframe"></table></div>']}},
        {"data": {"image/png": picture, "text/plain": ["<Figure>"]}},
        {"data": {"text/plain": ["'x'"]}},
    ]
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "\n", "Words."]},
        {"cell_type": "markdown", "source": ["## Maps"]},
        {"cell_type": "code", "source": ["print(3)"], "outputs": outputs},
    ]
    text, pictures = notebooks.page_of(json.dumps({"cells": cells}), "one")
    assert pictures == {"one_1.png": b"PNG"}
    assert text.split("\n\n") == [
        "# Title",
        '<a href="one.ipynb" download>Download this page as a notebook</a>',
        "Words.",
        "## Maps",
        "```python\nprint(3)\n```",
        "```text\n3\n```",
        "<div>\n<table></table></div>",
        "![Maps](one_1.png)",
        "```text\n'x'\n```\n",
    ]


def test_the_gallery_names_each_figure_once_with_its_page() -> None:
    texts = {"a.md": "![One](images/x.png)", "notebooks/b.md": "![Two](y.png) ![Again](../images/x.png)"}
    assert gallery.figures(texts) == {"images/x.png": ("One", "a.md"), "notebooks/y.png": ("Two", "notebooks/b.md")}
    page = gallery.gallery(texts, {"a.md": "A", "notebooks/b.md": "B"})
    assert "[![Two](notebooks/y.png)](notebooks/b.md)" in page
    assert page.count("images/x.png") == 1


def written(source: str) -> str:
    """A page; of a notebook its Markdown."""
    text = (pages.ROOT / source).read_text(encoding="utf-8")
    return notebooks.page_of(text, "notebook")[0] if source.endswith(".ipynb") else text


def test_every_figure_of_docs_is_in_the_gallery() -> None:
    texts = {page: links.rewrite(written(source), source, page, {}) for page, source in pages.sources().items()}
    images = {f"images/{path.name}" for path in (pages.DOCS / "images").iterdir()}
    assert images <= set(gallery.figures(texts)), "a figure that no page shows"


@pytest.mark.parametrize(("page", "source"), pages.sources().items())
def test_every_link_leads_to_a_page_or_a_file_of_docs(page: str, source: str) -> None:
    """The strict build of the site checks anchors too; this test is faster."""
    text = links.FENCE.sub("", links.rewrite(written(source), source, page, {}))
    for _, _, target in links.LINK.findall(text):
        if re.fullmatch(r"notebook_\d+\.png", target):  # stored in the notebook
            continue
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target.partition("#")[0]))
        known = "://" in target or target.startswith("#") or path in pages.sources() or (pages.DOCS / path).is_file()
        assert known, f"{source}: nothing at {target}"


@pytest.mark.parametrize("source", [path for path in pages.sources().values() if path.endswith(".md")])
def test_lists_and_tables_stand_below_an_empty_line(source: str) -> None:
    """Elsewhere the site's Markdown takes them for words of the paragraph."""
    before = ""
    for line in links.FENCE.sub("", written(source)).splitlines():
        starts = re.match(r"([-*+]|1\.) |\|", line)
        if starts and before.strip() and not re.match(r"([-*+]|\d+\.) |\s|\||#|<!--", before):
            pytest.fail(f"{source}: put an empty line above {line!r}")
        before = line

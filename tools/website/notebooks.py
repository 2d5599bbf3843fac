"""A notebook as a page of Markdown with its stored outputs; nothing is run. Imports no mkdocs."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
STYLE = re.compile(r"<style.*?</style>", re.DOTALL)
BORDER = ' border="1" class="dataframe"'
"""pandas' own look of a table, in the place of the site's."""


def page_of(text: str, name: str) -> tuple[str, dict[str, bytes]]:
    """The page of a notebook, and its pictures.

    Args:
        text: the notebook, JSON.
        name: of its file without the ending; pictures are named after it.

    Returns:
        Markdown, and file name beside the page → PNG.
    """
    parts: list[str] = []
    heading = ""
    pictures: dict[str, bytes] = {}
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            heading = (HEADING.findall(source) or [heading])[-1]
        elif source.strip():
            parts.append(f"```python\n{source}\n```")
            parts += [shown for output in cell["outputs"] if (shown := _output(output, name, heading, pictures))]
    title, _, rest = parts[0].partition("\n")
    parts[0] = f'{title}\n\n<a href="{name}.ipynb" download>Download this page as a notebook</a>\n{rest}'
    return "\n\n".join(parts) + "\n", pictures


def _output(output: dict[str, Any], name: str, heading: str, pictures: dict[str, bytes]) -> str:
    """Markdown of the richest form of an output below ``heading``; a picture is added to ``pictures``."""
    if "text" in output:
        return _block("".join(output["text"]))
    data = output.get("data", {})
    if "image/png" in data:
        file = f"{name}_{len(pictures) + 1}.png"
        pictures[file] = base64.b64decode("".join(data["image/png"]))
        return f"![{heading}]({file})"
    if "text/html" in data:
        lines = STYLE.sub("", "".join(data["text/html"])).replace(BORDER, "").splitlines()
        return "\n".join(line for line in lines if line.strip())
    return _block("".join(data.get("text/plain", [])))


def _block(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""

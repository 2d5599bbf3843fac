"""The notebooks of the documentation run to their end, and show what they promise."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.workflow.conftest import ROOT, Workflow

FOLDER = ROOT / "docs" / "notebooks"
RESULTS = '"../../results"'


def run(name: str, **replace: str) -> list[nbformat.NotebookNode]:
    """The code cells of a notebook after a run in a kernel of its own, with texts in them replaced."""
    notebook = nbformat.read(FOLDER / name, as_version=4)
    for old, new in replace.items():
        cells = [cell for cell in notebook.cells if old in cell.source]
        assert cells, f"{name} has no {old}"
        for cell in cells:
            cell.source = cell.source.replace(old, new)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": FOLDER}}).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cells: list[nbformat.NotebookNode], kind: str) -> list[str]:
    """What the cells show of one MIME type."""
    return [output.data[kind] for cell in cells for output in cell.outputs if kind in output.get("data", {})]


def test_one_image() -> None:
    cells = run("one_image.ipynb")
    assert len(shown(cells, "image/png")) == 2
    printed = "".join(output.text for cell in cells for output in cell.outputs if output.output_type == "stream")
    assert "sneaker with probability" in printed
    assert "class predicted under attack" in printed


def test_read_a_study(finished_study: Workflow) -> None:
    cells = run("read_a_study.ipynb", **{RESULTS: repr(str(finished_study.folder / "results"))})
    assert len(shown(cells, "image/png")) == 2
    assert "transformer_mm" in shown(cells, "text/plain")[-1]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_stored_notebook_was_run_in_order(path: Path) -> None:
    counts = [cell.execution_count for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), "run it from its first cell to its last, then save it"

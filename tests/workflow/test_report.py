"""The report that Snakemake makes of a finished study."""

from __future__ import annotations

import re
import zipfile

from tests.workflow.conftest import Workflow


def test_report_shows_each_figure_with_its_counts(study: Workflow) -> None:
    study.snakemake("--report", "report.zip")
    with zipfile.ZipFile(study.folder / "report.zip") as archive:
        pages = [name for name in archive.namelist() if name.endswith("report.html")]
        assert len(pages) == 1
        texts = "".join(archive.read(n).decode() for n in archive.namelist() if n.endswith((".html", ".js")))
    for figure in study.config["experiments"]["tiny"]["figures"]:
        assert f"{figure}.png" in texts
    assert "Wu et al. 2024 (arXiv 2404.01415)" in texts
    assert '"": [' not in texts, "a folder without a name"
    # the first page begins with the leaderboard and the main figure, not with the graph of rules
    first = texts[texts.index("Faithfulness of explanations of Vision Transformers") :]
    assert "SaCo" in first[: first.index("</svg>")]
    assert "max-width: 100%" in first, "figures that are wider than their column lie under the graph of rules"
    # the leaderboard's caption, from the tables: data, images, intervals, seed
    for part in (r"n = \d+ images", "Seed 7", "tiny", "clean"):
        assert re.search(part, texts), part

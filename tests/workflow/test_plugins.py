"""The plugins of docs/extend.md, one of every kind: their study runs to its end, and a change runs what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.workflow.conftest import ROOT, Workflow, copy_of_the_workflow, made_once, private_copy
from vitfaith import register

CHECK = '''
import pyarrow as pa

from vitfaith.register import check


@check("my_check", citation="mine", explanations="0")
def nothing_changed(subject, parameters):
    """A check without explanations."""
    rows = [(i, m) for m in subject.maps for i in subject.image_ids]
    return pa.table(
        {
            "image_id": [i for i, _ in rows],
            "method": [m for _, m in rows],
            "reference": ["itself"] * len(rows),
            "step": pa.array([0] * len(rows), pa.int16()),
            "metric": ["same"] * len(rows),
            "variant": [""] * len(rows),
            "value": [1.0] * len(rows),
            "flag": [""] * len(rows),
        }
    )
'''

KINDS = ("explainer", "metric", "attack", "smoothing", "dataset", "fill", "measure", "figure")
PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")


def files_of_the_page() -> dict[str, str]:
    """Name → text of the files that the page shows; the first line of each names it."""
    found = re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)
    assert len(found) == len(dict(found))
    return dict(found)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """The study of docs/extend.md with a sanity check beside it, run to its end; do not change it."""
    return Workflow(made_once(tmp_path_factory, "plugins", run_the_page))


def run_the_page(folder: Path) -> None:
    """Run that study in a new copy of the workflow."""
    workflow = copy_of_the_workflow(folder)
    files = files_of_the_page()
    study = yaml.safe_load(files.pop("my_study.yaml"))
    for name, text in (files | {"my_check.py": CHECK}).items():
        (workflow.folder / name).write_text(text)
    study["plugins"].append("my_check.py")
    study["sanity"] = {"my_check": {}, "random_logit": {"measures": ["same_half"]}}
    study["experiments"]["all"]["sanity"] = ["my_check", "random_logit"]
    workflow.write_config(study)
    workflow.snakemake()


def test_the_page_has_a_file_of_every_kind() -> None:
    assert {*files_of_the_page()} == {"my_study.yaml", *(f"my_{kind}.py" for kind in KINDS)}
    decorators = {name for name in register.__all__ if name[0].islower()}
    assert {re.search(r"^@(\w+)\(", text, re.MULTILINE)[1] for text in files_of_the_page().values() if "@" in text} == (  # type: ignore[index]
        decorators - {"check"}
    )


def test_a_study_of_plugins_runs_to_its_end(finished: Workflow) -> None:
    results = finished.folder / "results"
    scores = pd.read_parquet(results / "scores")
    assert set(scores["metric"]) == {"mean_fall", "on_white"}
    assert set(scores["method"]) == {"random", "gradient_norm", "squared"}
    assert set(scores["smoothing"]) == {"none", "random_brightness"}
    assert scores["value"].notna().all()
    assert (results / "figures" / "all" / "dots.png").is_file()
    assert set(pd.read_parquet(results / "sanity")["check"]) == {"my_check", "random_logit"}
    assert not finished.planned()


@pytest.mark.parametrize(
    ("name", "old", "new", "again", "kept"),
    [
        ("my_explainer.py", "pool2d(norm,", "pool2d(1 * norm,", {"attribute", "score", "stability"}, {"attack", "denoise", "shard"}),
        ("my_metric.py", ".mean(-1)", ".sum(-1)", {"score"}, {"attribute", "stability", "attack"}),
        ("my_smoothing.py", "2 * draw - 1", "draw", {"denoise", "predict", "attribute"}, {"attack", "shard"}),
        ("my_figure.py", "mean over images", "mean", {"figures"}, {"tables", "score"}),
        ("my_figure.py", '"""All means as dots, one row per method."""', '"""Dots."""', set(), {"figures", "tables"}),
    ],
)  # fmt: skip
def test_what_runs_again(
    finished: Workflow, tmp_path: Path, name: str, old: str, new: str, again: set[str], kept: set[str]
) -> None:
    changed = private_copy(finished, tmp_path)
    path = changed.folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    planned = {rule for rule, count in changed.planned().items() if count}
    assert again <= planned
    assert not planned & kept


def test_list_and_show_know_the_plugins_of_a_study(finished: Workflow) -> None:
    def printed(*words: str) -> str:
        command = [sys.executable, "-m", "vitfaith", *words, "--study", "config/tiny.yaml"]
        return subprocess.run(
            command, cwd=finished.folder, env=finished.environment, capture_output=True, text=True, check=True
        ).stdout

    assert "gradient_norm" in printed("list", "explainers")
    shown = printed("show", "mean_fall")
    assert "steps from the whole image to nothing" in shown
    assert "my_metric.py" in shown

"""The code of the how-to pages runs: in the tiny study's folder, and as a study of its own."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pandas as pd
import pytest
import typer
import yaml
from typer.core import TyperGroup

from tests.workflow.conftest import ROOT, Workflow
from vitfaith.cli.main import app
from vitfaith.study.load import load_study

READ_ONLY = {"list", "show", "cite", "plan", "status", "verify", "trust", "power", "table"}
"""Commands of the pages that a test may run on a finished study."""


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def run_python(page: str) -> dict[str, Any]:
    """What the Python blocks of a page define, run one after the other."""
    names: dict[str, Any] = {}
    for code in blocks(page, "python"):
        exec(compile(code, f"docs/{page}", "exec", dont_inherit=True), names)
    return names


def test_the_answers_run(study: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study.folder)
    names = run_python("faq.md")
    assert len(names["frame"]) == len(names["scores"]) > 0
    assert names["change"].abs().max() == 0


def commands(*pages: str) -> list[list[str]]:
    """The words of every `vitfaith` line of the pages, without variables before it and remarks behind."""
    lines = [line for page in pages for block in blocks(page, "bash") for line in block.splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return [found[found.index("vitfaith") + 1 :] for found in words if "vitfaith" in found]


@pytest.mark.parametrize("words", commands("faq.md", "extend.md"), ids=" ".join)
def test_the_commands_exist(words: list[str], finished_study: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished_study.folder)
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    command = group.commands[words[0]]
    words = [{"my_study.yaml": "config/tiny.yaml"}.get(word, word) for word in words]
    words = [re.sub("run_[ab]/results", "results", word) for word in words]
    command.make_context(words[0], words[1:])  # knows every option and argument
    if words[0] in READ_ONLY and "--study" not in words:
        with pytest.raises(SystemExit) as caught:
            app(words)
        assert not caught.value.code


def test_every_yaml_of_the_answers_loads(finished_study: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished_study.folder)
    for text in blocks("faq.md", "yaml"):
        config = finished_study.config
        for section, items in yaml.safe_load(text).items():
            config[section] |= items
        load_study(config)


def test_maps_of_captum_join_a_study(study: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study.folder)
    names = run_python("external.md")
    config = study.config
    for text in blocks("external.md", "yaml"):
        for section, items in yaml.safe_load(text).items():
            config[section] |= items
    study.write_config(config)
    place = "dataset=tiny/model=vit_patch4/attack=clean/smoothing=none/explained=clean_prediction/family=external"
    study.snakemake("--", f"results/scores/{place}/shard-000.parquet")
    found = pd.read_parquet(study.folder / "results" / "scores" / place).query("metric == 'saco'")
    library = names["scores"].set_index("image_id")["value"]
    assert set(found["method"]) == {"mine"}
    assert found.set_index("image_id")["value"].to_dict() == pytest.approx(library.to_dict(), abs=1e-6)

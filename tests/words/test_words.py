"""No file gains a phrase that readers stumble over, and the list of phrases finds what it is for and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.words.phrases import GOOD, PHRASES, Phrase
from tests.words.prose import ROOT, files, prose, python
from tests.words.ratchet import allowed, lower, stumbles, stumbles_in


@pytest.mark.parametrize("phrase", PHRASES, ids=lambda phrase: phrase.bad)
def test_a_phrase_finds_its_sentence(phrase: Phrase) -> None:
    assert phrase.regex.search(phrase.bad.lower())


@pytest.mark.parametrize("sentence", GOOD)
def test_good_sentences_have_no_stumble(sentence: str) -> None:
    assert list(stumbles_in(sentence)) == []


def test_a_phrase_may_run_over_a_line_and_into_the_next_comment() -> None:
    source = '"""10 forwards a\n    map."""\n\n# it needs a server\n# of its own\nx = 1\n'
    found = [hit.instead for line, text in python(source) for hit in stumbles_in(text, line)]
    assert found == ["your own …", "… per image"]


def test_help_texts_errors_tables_and_notebooks_are_read() -> None:
    names = {path.as_posix() for path in files()}
    assert names > {
        "README.md",
        "config/README.md",
        "rules/score.smk",
        "workflow/Snakefile",
        "docs/notebooks/one_image.ipynb",
    }
    words = " ".join(text for _, text in prose(Path("src/vitfaith/cli/options.py")))
    assert "auto takes a GPU" in words


def test_no_file_has_more_stumbles_than_before() -> None:
    """When this fails, choose other words; where a phrase is right, add it to ``GOOD`` and narrow the pattern."""
    limits = allowed()
    problems = []
    for path in files():
        found = stumbles(path)
        limit = limits.get(path.as_posix(), 0)
        if len(found) > limit:
            problems.append(f"{path}: {len(found)} phrases, {limit} allowed")
            problems += [f"  line {line}: …{words}… → {instead}" for line, words, instead in found]
    assert not problems, "\n".join(problems)


def test_limits_are_of_files_that_exist() -> None:
    assert [path for path in allowed() if not (ROOT / path).is_file()] == []


def test_limits_only_fall() -> None:
    assert lower({"a": 3, "b": 2, "c": 1}, {"a": 1, "b": 5, "d": 9}) == {"a": 1, "b": 2}

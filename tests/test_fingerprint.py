"""Fingerprints change with logic and with nothing else."""

from __future__ import annotations

import pytest

from vitfaith.fingerprint import digest_of_source, fingerprint, reached_modules

SOURCE = '''"""Module."""
def f(x):
    """Doc."""
    return x + 1  # comment
'''


@pytest.mark.parametrize(
    "edited",
    [
        SOURCE.replace("# comment", "# another comment"),
        SOURCE.replace('"""Doc."""', '"""Another text."""'),
        SOURCE.replace('    """Doc."""\n', ""),
        SOURCE.replace("x + 1", "(x\n        + 1)"),
    ],
)
def test_comments_docstrings_and_formatting_do_not_count(edited: str) -> None:
    assert edited != SOURCE
    assert digest_of_source(edited) == digest_of_source(SOURCE)


@pytest.mark.parametrize("edited", [SOURCE.replace("+ 1", "+ 2"), SOURCE.replace("f(x)", "g(x)"), SOURCE + "y = 1\n"])
def test_logic_counts(edited: str) -> None:
    assert digest_of_source(edited) != digest_of_source(SOURCE)


def test_imports_are_followed_also_inside_functions_but_not_for_type_checking() -> None:
    assert "vitfaith.explainers.passes.capture" in reached_modules(
        ["vitfaith.explainers.passes.context"]
    )  # inside a property
    assert "vitfaith.figures.drawing.data" not in reached_modules(["vitfaith.figures.registry"])  # under TYPE_CHECKING


def test_stop_keeps_the_registries_out() -> None:
    reached = reached_modules(["vitfaith.stages.attribute"], stop=["vitfaith.registries"])
    assert "vitfaith.figures.drawing.style" not in reached
    assert "vitfaith.models.classifier" in reached


def test_a_stage_does_not_depend_on_explainers_it_does_not_use() -> None:
    stage = ["vitfaith.stages.attribute"]
    without = fingerprint(stage, stop=["vitfaith.registries"])
    with_method = fingerprint([*stage, "vitfaith.explainers.attention"], stop=["vitfaith.registries"])
    assert without != with_method

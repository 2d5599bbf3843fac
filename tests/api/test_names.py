"""The public names: where they are, that they cost nothing until they are used, and what exists."""

from __future__ import annotations

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import vitfaith as vf
from vitfaith.fingerprint import reached_modules

ROOT = Path(vf.__file__).parent


def test_importing_the_package_costs_nothing() -> None:
    code = (
        "import time; start = time.perf_counter(); import vitfaith, sys; seconds = time.perf_counter() - start\n"
        "assert not {'torch', 'pandas', 'numpy', 'pydantic', 'timm'} & set(sys.modules); dir(vitfaith)\n"
        "assert 'torch' not in sys.modules; print(seconds)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(found.stdout) < 0.2


def test_every_name_is_found_and_shadows_no_module() -> None:
    assert set(vf.__all__) == {*vf._WHERE, *vf._MODULES}
    modules = {p.stem for p in ROOT.iterdir() if p.suffix == ".py" or p.is_dir()} - {"register"}
    assert not modules & set(vf.__all__)
    for name in vf.__all__:
        assert getattr(vf, name) is not None
        assert name in dir(vf)
    with pytest.raises(AttributeError, match="has no attribute 'explian'"):
        vf.explian  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If))
    seen = {alias.name: n.module for n in block.body if isinstance(n, ast.ImportFrom) for alias in n.names}
    seen |= {str(a.asname): a.name for n in block.body if isinstance(n, ast.Import) for a in n.names}
    assert seen == {**vf._WHERE, **vf._MODULES}


def test_nobody_inside_imports_from_the_package_itself_and_no_stage_reaches_the_public_names() -> None:
    for file in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and node.module == "vitfaith"), file
            assert not (isinstance(node, ast.Import) and "vitfaith" in {a.name for a in node.names}), file
    stages = [f"vitfaith.stages.{p.stem}" for p in (ROOT / "stages").glob("*.py") if p.stem != "__init__"]
    reached = reached_modules(stages)
    assert "vitfaith.models.classifier" in reached
    assert "vitfaith" not in reached
    assert not [module for module in reached if module.startswith(("vitfaith.api", "vitfaith.register."))]


@pytest.mark.parametrize(
    "module", sorted({m for m in (*vf._WHERE.values(), "vitfaith.api.plot") if m.startswith("vitfaith.api")})
)
def test_the_examples_in_docstrings_run(module: str) -> None:
    found = doctest.testmod(importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert not found.failed


@pytest.mark.parametrize("name", [name for name in vf.__all__ if name.islower() and name not in vf._MODULES])
def test_every_function_has_an_example(name: str) -> None:
    assert ">>>" in (getattr(vf, name).__doc__ or "")


def test_available_and_describe() -> None:
    assert vf.available("metrics", "irof") == ["irof"]
    assert "blur" in vf.available("fills")
    text = vf.describe("explainers", "smoothgrad")
    assert text.startswith("smoothgrad (explainers, path)\n\nGradient of the logit, averaged over noisy copies")
    assert "samples" in text
    assert "Adebayo et al., 2018" in text
    with pytest.raises(vf.ConfigError, match=r"unknown section 'metric' \(did you mean 'metrics'\?\)"):
        vf.available("metric")
    with pytest.raises(vf.ConfigError, match=r"unknown metric 'sacos' \(did you mean 'saco'\?\)"):
        vf.describe("metrics", "sacos")

"""A forgotten device argument is noticed on a GPU that is none."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.devices.deletions import PACKAGE, _Deletion, run, sites

WITHIN = ("explainers/rise.py", "explainers/smoothgrad.py")


def test_deleted_devices_are_caught(tmp_path: Path) -> None:
    """A few files; the whole package by ``python -m tests.devices.deletions``."""
    found = run(tmp_path, ["explainer rise", "explainer smoothgrad"], 1, WITHIN)
    assert len(found) == 5
    assert {str(site): result for site, result in found.items() if result != "caught"} == {}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("torch.zeros(3, device=x.device)", "torch.zeros(3)"),
        ("x.new_zeros(3, device=d)", "x.new_zeros(3)"),
        ("x.to(device, torch.float32)", "x.to(torch.float32)"),
        ("x.to(images)", "x"),
        ("upload(x, device)", "x"),
        ("x.double().cpu().numpy()", "x.double().numpy()"),
    ],
)
def test_what_is_deleted(before: str, after: str) -> None:
    path = PACKAGE / "rng.py"
    tree = _Deletion(path, 0).visit(ast.parse(f"def f():\n    return {before}"))
    assert ast.unparse(tree) == f"def f():\n    return {after}"


@pytest.mark.parametrize(
    "kept", ["x.to(torch.float32)", "x.to(y.dtype)", "run(device=device)", "torch.empty(3, device='meta')"]
)
def test_what_is_no_device_argument(kept: str) -> None:
    deletion = _Deletion(PACKAGE / "rng.py")
    deletion.visit(ast.parse(f"def f():\n    return {kept}"))
    assert deletion.sites == []


def test_sites_are_found_in_the_whole_package() -> None:
    found = sites()
    assert len(found) > 150
    assert len({(site.path, site.number) for site in found}) == len(found)

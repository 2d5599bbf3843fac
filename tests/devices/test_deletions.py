"""A forgotten device argument is noticed on a GPU that is none."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.devices.deletions import equivalent, run
from tests.devices.sites import PACKAGE, Deletion, optional_devices, sites, without_device

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
        ("x.to(images)", "x.to(images.dtype)"),
        ("x.to(place)", "x"),
        ("upload(x, device)", "x"),
        ("x.double().cpu().numpy()", "x.double().numpy()"),
        ("load_classifier(spec, weights, device)", "load_classifier(spec, weights)"),
        ("Denoiser.load(path, device=device)", "Denoiser.load(path)"),
    ],
)
def test_what_is_deleted(before: str, after: str) -> None:
    call = ast.parse(before, mode="eval").body
    source = "place = torch.device(device)"
    while isinstance(call, ast.Call) and without_device(call, source) is None:
        assert isinstance(call.func, ast.Attribute)  # x.double().cpu().numpy(): inner calls
        call = call.func.value
    assert isinstance(call, ast.Call)
    rest = without_device(call, source)
    assert rest is not None
    assert before.replace(ast.unparse(call), ast.unparse(rest)) == after


@pytest.mark.parametrize(
    "kept",
    ["x.to(torch.float32)", "x.to(y.dtype)", "run(device=device)", "torch.empty(3, device='meta')", "nn.Module.to(network.to(2))"],
)  # fmt: skip
def test_what_is_no_device_argument(kept: str) -> None:
    call = ast.parse(kept, mode="eval").body
    assert isinstance(call, ast.Call)
    assert without_device(call, "") is None


def test_sites_are_found_in_the_whole_package() -> None:
    found = sites()
    assert len(found) > 200
    assert len({(site.path, site.number) for site in found}) == len(found)
    for site in found[::10]:
        deletion = Deletion(site.path, site.number)
        before, after = (
            ast.unparse(tree) for tree in (ast.parse(deletion.source), deletion.visit(ast.parse(deletion.source)))
        )
        assert before != after
    assert {"load_classifier", "place", "train_denoiser"} <= set(optional_devices())


def test_deletions_that_change_nothing_are_there_and_have_a_reason() -> None:
    there = {(site.where, site.text) for site in sites()}
    assert set(equivalent()) - there == set()
    assert [place for place, why in equivalent().items() if len(why) < 20] == []
    assert (PACKAGE / "transfer.py").exists()

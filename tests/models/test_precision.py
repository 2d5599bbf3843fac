"""Jobs and public functions compute in full float32, also where torch would take TF32; the caller's settings come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.conftest import tiny_vit
from vitfaith.api.inputs import ready
from vitfaith.cli.options import OUT
from vitfaith.cli.stage import OnDevice, OverShard, Stage
from vitfaith.models.precision import forward_precision


@pytest.fixture
def reduced() -> Iterator[None]:
    """TF32 allowed everywhere, as torch allows it for convolutions on its own."""
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = True
    yield
    assert allowed() == (True, True)
    products.allow_tf32, convolutions.allow_tf32 = before


def allowed() -> tuple[bool, bool]:
    """Whether matrix products and convolutions may be TF32."""
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("kind", [OnDevice, OverShard])
def test_a_job_computes_in_float32(
    kind: type[Stage], reduced: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitfaith.cli.stage.run_in_parts", lambda run, inputs, outputs, **_: run(inputs, outputs))
    seen = []
    stage = kind("verb", "", "", {"out": OUT})
    machine = {"gpus": 0, "device": "auto", "part_size": 0, "batch_size": 1}
    given = {"spec": "{}", "code": "", "out": tmp_path / "out.parquet", **machine}
    stage.run(given, lambda **_: seen.append(allowed()))
    assert seen == [(False, False)]


def test_a_public_function_computes_in_float32(reduced: None) -> None:
    with ready(tiny_vit()):
        assert allowed() == (False, False)


def test_scoring_may_choose_tf32(reduced: None) -> None:
    with forward_precision("float32", "cpu"), forward_precision("tf32", "cpu"):
        assert allowed() == (True, True)

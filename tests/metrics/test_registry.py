"""The example in the module of the registry of metrics is a metric that works."""

from __future__ import annotations

import textwrap

import pytest
import torch

import vitfaith as vf
from tests.conftest import tiny_vit
from vitfaith.metrics import registry
from vitfaith.metrics.registry import METRICS


def test_the_example_is_the_mean_of_its_curve(images: torch.Tensor) -> None:
    assert registry.__doc__ is not None
    code = registry.__doc__.split("automatically)::\n")[1].split("\nThe page docs/extend.md")[0]
    names: dict[str, object] = {"__name__": "example"}
    try:
        exec(compile(textwrap.dedent(code), "example", "exec", dont_inherit=True), names)
        model = tiny_vit()
        maps = vf.explain(model, images, "random")
        curve = ("morf_mean", {"fill": "image_mean", "steps": 4})
        scores = vf.score(model, images, maps, ["my_metric", curve]).set_index("metric")["value"]
    finally:
        METRICS._entries.pop("my_metric", None)
    assert scores["my_metric"].tolist() == pytest.approx(scores["morf_mean"].tolist())

"""Items of one's own, registered from a program that has read no registry before."""

from __future__ import annotations

import subprocess
import sys

import pytest

import vitfaith.register

FIRST = """
import sys
from vitfaith.register import Metric, Parameters, {name}
assert "torch" not in sys.modules
"""

WHOLE = '''
from vitfaith.register import Metric, Parameters, explainer, metric

class Settings(Parameters):
    """Settings of a plugin."""

    power: int = 1

@metric("peak", direction="none", citation="mine", parameters=Settings)
class Peak(Metric):
    """The largest value of the map."""

    def read(self, context, responses):
        return {"": context.maps.amax((2, 3)) ** self.parameters.power}

@explainer("corner", family="perturbation", class_specific=False, citation="mine", hierarchical=True)
def corner(context, parameters):
    """One corner of the image."""
    maps = context.images.new_zeros(len(context.images), *context.classifier.grid)
    maps[:, 0, 0] = 2
    return maps

import torch
import vitfaith as vf

assert vf.available("metrics", "peak") == ["peak"] and vf.available("explainers", "corner") == ["corner"]
assert "deletion_auc" in vf.available("metrics")
model = vf.wrap(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3)), mean=[0.5] * 3, std=[1] * 3, input_size=8)
images = torch.rand(2, 3, 8, 8)
scores = vf.score(model, images, vf.explain(model, images, "corner"), ("peak", {"power": 3}))
assert scores["value"].tolist() == [8, 8]
assert vf.register.metric is metric
'''


@pytest.mark.parametrize("name", vitfaith.register.__all__)
def test_a_decorator_can_be_the_first_import(name: str) -> None:
    subprocess.run([sys.executable, "-c", FIRST.format(name=name)], check=True)


def test_a_plugin_is_scored() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", WHOLE], capture_output=True, text=True)
    assert not done.returncode, done.stderr


def test_every_kind_has_its_decorator() -> None:
    contract = {"explainer", "metric", "Metric", "attack", "smoothing", "dataset", "fill", "measure", "figure"}
    assert contract <= set(vitfaith.register.__all__)

"""State of a killed training: weights, multipliers, optimisers and log in one safetensors file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitfaith.artifacts.weights import write_weights
from vitfaith.errors import ArtifactError
from vitfaith.explainers.diffmask.network import DiffMask
from vitfaith.explainers.diffmask.steps import Step
from vitfaith.models.checkpoint import read_checkpoint

_COUNT = "lookahead_step"
"""Where Lookahead keeps the number of its steps, the same in all groups of an optimiser."""
_LOG = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far a training is.

    Attributes:
        step: steps done.
        log: rows so far.
        best: smallest held-out kept share within the margin so far; infinity before.
        waited: looks at the held-out images since.
    """

    step: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)
    best: float = float("inf")
    waited: int = 0


def save_progress(path: Path, key: str, network: DiffMask, stepper: Step, progress: Progress) -> None:
    """Write everything that the next step depends on; ``key`` identifies the settings."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors["multiplier"] = stepper.multiplier
    counts = []
    for i, optimiser in enumerate(stepper.optimisers):
        counts.append(optimiser.param_groups[0].get(_COUNT, 0))
        for number, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{number}.{name}": value for name, value in state.items()}
    facts = {
        "key": key,
        "step": progress.step,
        "log": progress.log,
        "best": None if progress.best == float("inf") else progress.best,
        "waited": progress.waited,
        "counts": counts,
    }
    kept = {name: value.detach().clone() for name, value in tensors.items()}  # tensors that share memory are refused
    write_weights(kept, path, {"vitfaith": json.dumps(facts)})


def load_progress(path: Path, key: str, network: DiffMask, stepper: Step) -> Progress:
    """Continue from ``path`` if it exists and belongs to ``key``; a file of other settings is ignored.

    Raises:
        ArtifactError: the file is damaged.
    """
    if not path.is_file():
        return Progress()
    try:
        found = read_checkpoint(path)
        facts = found.description
        if facts["key"] != key:
            _LOG.warning("'%s' is of other settings; training starts from the beginning", path)
            return Progress()
        _restore(network, stepper, found.state, facts["counts"])
        best = float("inf") if facts["best"] is None else float(facts["best"])
        return Progress(int(facts["step"]), list(facts["log"]), best, int(facts["waited"]))
    except (ArtifactError, KeyError, ValueError, RuntimeError) as error:
        raise ArtifactError(
            f"'{path}' cannot be resumed from ({error}); delete it to train from the beginning"
        ) from error


def _restore(network: DiffMask, stepper: Step, state: Mapping[str, Tensor], counts: list[int]) -> None:
    network.load_state_dict(
        {name.removeprefix("network."): value for name, value in state.items() if name.startswith("network.")}
    )
    with torch.no_grad():
        stepper.multiplier.copy_(state["multiplier"])
    for i, optimiser in enumerate(stepper.optimisers):
        whole = optimiser.state_dict()
        parts: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            if name.startswith(f"optimiser.{i}."):
                _, _, number, own = name.split(".", 3)
                parts.setdefault(int(number), {})[own] = value
        groups = [group | ({_COUNT: counts[i]} if _COUNT in group else {}) for group in whole["param_groups"]]
        optimiser.load_state_dict({"state": parts, "param_groups": groups})

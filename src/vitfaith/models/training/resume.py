"""State of a killed training: weights, their average, the optimiser and the log in one safetensors file."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitfaith.artifacts.weights import write_weights
from vitfaith.errors import ArtifactError
from vitfaith.models.checkpoint import read_checkpoint

_LOG = logging.getLogger(__name__)
_RANDOM = "random"


@dataclass(frozen=True)
class Checkpoint:
    """A file from which a killed training continues, to the same bits on the same device.

    Attributes:
        path: the file; written after each epoch, removed by who saves the result.
        key: identifies the settings that it belongs to, see :func:`key_of`.
    """

    path: Path
    key: str

    def save(
        self, networks: Mapping[str, nn.Module], optimiser: torch.optim.Optimizer, log: list[dict[str, Any]]
    ) -> None:
        """Write everything that the next epoch depends on; networks by name, the log with one row per epoch."""
        tensors = {f"{name}.{k}": v for name, network in networks.items() for k, v in network.state_dict().items()}
        for number, state in optimiser.state_dict()["state"].items():
            tensors |= {
                f"optimiser.{number}.{name}": value for name, value in state.items() if isinstance(value, Tensor)
            }
        tensors[_RANDOM] = torch.get_rng_state()
        kept = {
            name: value.detach().clone() for name, value in tensors.items()
        }  # tensors that share memory are refused
        write_weights(kept, self.path, {"vitfaith": json.dumps({"key": self.key, "log": log})})

    def load(self, networks: Mapping[str, nn.Module], optimiser: torch.optim.Optimizer) -> list[dict[str, Any]]:
        """Restore what the file holds and return its log; empty where there is no file, or one of other settings.

        Raises:
            ArtifactError: the file is damaged.
        """
        if not self.path.is_file():
            return []
        try:
            found = read_checkpoint(self.path)
            if found.description["key"] != self.key:
                _LOG.warning("'%s' is of other settings; training starts from the beginning", self.path)
                return []
            for name, network in networks.items():
                network.load_state_dict(_below(f"{name}.", found.state))
            states: dict[int, dict[str, Tensor]] = {}
            for name, value in _below("optimiser.", found.state).items():
                number, own = name.split(".", 1)
                states.setdefault(int(number), {})[own] = value
            optimiser.load_state_dict({**optimiser.state_dict(), "state": states})
            torch.set_rng_state(found.state[_RANDOM])
            return list(found.description["log"])
        except (ArtifactError, KeyError, ValueError, RuntimeError) as error:
            raise ArtifactError(
                f"'{self.path}' cannot be resumed from ({error}); delete it to train from the beginning"
            ) from error


def key_of(*facts: Any) -> str:
    """Sixteen hexadecimal digits of JSON values: distinguishes trainings whose checkpoints must not be mixed up."""
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=8).hexdigest()


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

"""Adam with a Lookahead (Zhang, Lucas, Hinton & Ba, NeurIPS 2019), which the released training uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Groups = Sequence[dict[str, Any]]


class LookaheadAdam(torch.optim.Adam):
    """Every ``every`` steps the weights move back to ``share`` of the way from where they last were.

    Slow weights φ ← φ + share·(θ − φ), then θ ← φ. They are part of each parameter's state, so ``state_dict`` has them.
    """

    def __init__(self, parameters: Groups, *, lr: float, every: int = 6, share: float = 0.5) -> None:
        super().__init__(list(parameters), lr=lr, betas=(0.9, 0.999))
        self.every, self.share, self.count = every, share, 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step of Adam, and the look back where it is due."""
        # kept aside until Adam has made its own entries, which it makes only for parameters without any
        starts = {p: p.detach().clone() for p in self._all() if "slow" not in self.state.get(p, {})}
        result = super().step(closure)
        for parameter, start in starts.items():
            self.state[parameter]["slow"] = start
        self.count += 1
        if self.count % self.every == 0:
            for parameter in self._all():
                slow = self.state[parameter]["slow"]
                parameter.copy_(slow.lerp_(parameter, self.share))
        return result

    def _all(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

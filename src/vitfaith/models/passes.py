"""Counting what is really spent: images that went forward through a network, and images that went backward."""

from __future__ import annotations

from types import TracebackType

import torch
from torch import Tensor, nn


class PassCounter:
    """Counts images through ``networks`` while the ``with`` block runs; the hooks are removed at its end.

    Attributes:
        forwards: images (rows of the first argument) that were passed forward.
        backwards: images whose output received a gradient.
    """

    def __init__(self, *networks: nn.Module) -> None:
        self.networks = networks
        self.forwards = 0
        self.backwards = 0

    def __enter__(self) -> PassCounter:
        self._handles = [network.register_forward_hook(self._count) for network in self.networks]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def _count(self, _module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        rows = len(inputs[0])
        self.forwards += rows
        if torch.is_tensor(output) and output.requires_grad:
            output.register_hook(lambda _gradient: self._count_backward(rows))

    def _count_backward(self, rows: int) -> None:
        self.backwards += rows

"""Counting what is really spent: images that went forward through a network, and images that went backward."""

from __future__ import annotations

from types import TracebackType

import torch
from torch import Tensor, nn


class PassCounter:
    """Counts images through ``network`` while the ``with`` block runs; the hook is removed at its end.

    Attributes:
        forwards: images (rows of the first argument) that were passed forward.
        backwards: images whose output received a gradient.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.forwards = 0
        self.backwards = 0

    def __enter__(self) -> PassCounter:
        self._handle = self.network.register_forward_hook(self._count)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.remove()

    def _count(self, _module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        rows = len(inputs[0])
        self.forwards += rows
        if torch.is_tensor(output) and output.requires_grad:
            output.register_hook(lambda _gradient: self._count_backward(rows))

    def _count_backward(self, rows: int) -> None:
        self.backwards += rows

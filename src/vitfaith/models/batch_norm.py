"""Gradients through batch normalisation in evaluation mode that do not depend on how they lie in memory.

torch 2.15 on a CPU gives another gradient for one image than for the same image in a batch where the gradient that arrives is
a transposed view, as behind the patch embeddings of XCiT. A copy in the usual order is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def straight_gradients(network: nn.Module) -> Iterator[None]:
    """Inside, what batch norms of ``network`` return passes its gradient on in the usual order; nothing where none is recorded."""
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm)] if torch.is_grad_enabled() else []
    handles = [norm.register_forward_hook(_straighten) for norm in norms]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _straighten(_module: nn.Module, _inputs: object, output: Tensor) -> None:
    if output.requires_grad:
        output.register_hook(torch.Tensor.contiguous)

"""Copies of tensors between CPU and GPU memory without waiting; all copies go through this module.

A copy from or to pinned memory is queued behind the work that the GPU already has, and the CPU goes on at once; any other
copy makes the CPU wait until the queue is empty. On a CPU nothing is copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from vitfaith.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, device


def upload(tensor: Tensor, to: device | str) -> Tensor:
    """``tensor`` on the device ``to``, without waiting for the work that a GPU still has; itself where it is there already."""
    place = torch.device(to)
    if place.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(place, non_blocking=True)
    return tensor.to(place)


class Download:
    """A tensor on its way to the CPU; its copy is queued when this is made."""

    def __init__(self, tensor: Tensor) -> None:
        self._copy = tensor
        self._done: torch.cuda.Event | None = None
        if tensor.is_cuda:
            self._copy = tensor.to("cpu", non_blocking=True)  # into pinned memory
            self._done = torch.cuda.Event()
            self._done.record()

    def get(self) -> Tensor:
        """The tensor on the CPU, waiting for its copy alone and not for work that was queued later."""
        if self._done is not None:
            self._done.synchronize()
        return self._copy


def arriving(batches: Iterable[tuple[slice, Tensor]]) -> Iterator[tuple[slice, Tensor]]:
    """Rows and their tensors on the CPU, one batch late: the next one is prepared while a GPU computes the one before."""
    waiting: tuple[slice, Download] | None = None
    for rows, tensor in batches:
        coming = rows, Download(tensor)
        if waiting is not None:
            yield waiting[0], waiting[1].get()
        waiting = coming
    if waiting is not None:
        yield waiting[0], waiting[1].get()

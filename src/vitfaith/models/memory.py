"""Handling of exhausted memory: the only place where batches are halved."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import TypeVar

from vitfaith.errors import InputError
from vitfaith.lazy import torch

R = TypeVar("R")


_NO_ROOM = ("out of memory", "can't allocate memory", "not enough memory")
_TOO_MANY = ("canuse32bitindexmath", "32-bit index", "int_max elements")
"""Of a batch of more than 2³¹ numbers, which some of CUDA's functions refuse to count."""


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether ``error`` says that the device or the host has no memory left, or cannot count so large a batch."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or any(phrase in text for phrase in (*_NO_ROOM, *_TOO_MANY))


def spare_memory(device: torch.device) -> int:
    """Bytes that this process may still take on a GPU: what is free there, within the process's own limit."""
    free, total = torch.cuda.mem_get_info(device)
    taken, held = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
    share = getattr(torch.cuda, "get_per_process_memory_fraction", None)  # older torch does not say
    limit = total if share is None else int(share(device) * total)
    return max(0, min(free + held - taken, limit - taken))


class BatchSize:
    """The most rows that a computation takes at once.

    Attributes:
        size: halved for good when memory runs out, so that later batches do not run out again.
    """

    def __init__(self, size: int) -> None:
        """Raises :class:`InputError` for a size below 1."""
        if size < 1:
            raise InputError(f"batch_size is {size}; give at least 1")
        self.size = size


def in_batches(
    count: int, limit: BatchSize, work: Callable[[int, int], R], *, copies: bool = False
) -> Iterator[tuple[slice, R]]:
    """``work(start, stop)`` over 0 … ``count`` in order, at most ``limit.size`` rows at once, fewer when memory runs out.

    A batch that does not fit is begun again with half of its rows, so ``work`` must leave nothing behind when it fails,
    and no result may depend on the batch.

    Args:
        limit: what is left of it serves the caller's next batches.
        copies: ``work`` makes copies of its rows, up to ``limit.size`` of them, so that a batch of one row can become
            smaller too.

    Yields:
        The rows, and what ``work`` returned for them.

    Raises:
        RuntimeError: memory runs out with the smallest batch; other errors of ``work`` are raised as they are.
    """
    start = 0
    while start < count:
        stop = min(start + limit.size, count)
        try:
            found = work(start, stop)
        except RuntimeError as error:
            smallest = limit.size == 1 if copies else stop - start == 1
            if smallest or not is_out_of_memory(error):
                raise
        else:
            yield slice(start, stop), found
            start = stop
            continue
        # Outside the handler, so that the traceback no longer holds the failed batch.
        limit.size = (limit.size if copies else stop - start) // 2
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

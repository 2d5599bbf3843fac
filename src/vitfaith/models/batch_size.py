"""The batch size with which a network is fastest on a device: measured once, remembered for later jobs."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from vitfaith.artifacts.store import atomic_path
from vitfaith.errors import ArtifactError, ConfigError

_LOG = logging.getLogger(__name__)

ON_CPU = 256
"""Used without measuring: larger batches leave the caches and gain nothing on CPUs."""
CEILING = 4096
"""Largest batch that is tried."""
GAIN = 1.05
"""A doubled batch must be this much faster per image to be worth its memory."""
REPEATS = 3


def fastest_batch_size(
    run: Callable[[int], None],
    *,
    is_out_of_memory: Callable[[RuntimeError], bool],
    ceiling: int = CEILING,
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """Double the batch while that gains throughput and memory lasts.

    Half of the memory stays free: after running out at N, N / 4 is returned at most, because later batches of other
    stages keep more beside the network's own activations.

    Args:
        run: does one batch of the given size to its end (with a device's queue drained).
        is_out_of_memory: whether an error says that memory ran out.

    Raises:
        ConfigError: not even one image fits.
    """
    best, best_rate, size = 0, 0.0, 1
    while size <= ceiling:
        try:
            run(size)  # warm-up
            seconds = []
            for _ in range(REPEATS):
                start = clock()
                run(size)
                seconds.append(clock() - start)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if size == 1:
                raise ConfigError(
                    "not one image fits into the device's memory; use a smaller model or device: cpu"
                ) from error
            return max(1, min(best, size // 4))
        rate = size / min(seconds)
        if best and rate < GAIN * best_rate:
            return best
        best, best_rate, size = size, rate, 2 * size
    return best


def remembered(key: Mapping[str, Any], file: Path, measure: Callable[[], int]) -> int:
    """The number kept under ``key`` in the JSON ``file``; measured and kept where there is none.

    Concurrent jobs measure once: the file is locked meanwhile. A damaged file is begun anew; where the folder cannot be
    written, every job measures.
    """
    name = json.dumps(key, sort_keys=True)
    lock = FileLock(file.with_suffix(".lock"))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        _LOG.warning("the batch size cannot be remembered in '%s' (%s)", file, error)
        return measure()
    try:
        try:
            known = dict(json.loads(file.read_text()))
        except (OSError, ValueError, TypeError):
            known = {}
        if not isinstance(known.get(name), int):
            known[name] = measure()
            _LOG.info("batch size %d measured for %s", known[name], name)
            try:
                with atomic_path(file) as temporary:
                    temporary.write_text(json.dumps(known, indent=1, sort_keys=True))
            except (ArtifactError, OSError) as error:
                _LOG.warning("the batch size cannot be remembered in '%s' (%s)", file, error)
        return int(known[name])
    finally:
        lock.release()

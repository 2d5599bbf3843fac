"""One GPU for one job: slots guarded by file locks, also between concurrent runs; without a GPU the CPU."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_runtime_path

from vitfaith.errors import ConfigError

DRIVER = Path("/proc/driver/nvidia/gpus")
"""One entry per GPU if NVIDIA's driver is loaded."""


def visible_gpus() -> list[str]:
    """Ids of the GPUs that this process may use, from CUDA_VISIBLE_DEVICES or else from the driver."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [part.strip() for part in given.split(",") if part.strip() and part.strip() != "-1"]
    return [str(i) for i in range(len(list(DRIVER.iterdir())))] if DRIVER.is_dir() else []


@contextmanager
def gpu_slot(ids: Sequence[str], folder: Path, poll_seconds: float = 0.2) -> Iterator[str]:
    """Hold one of the GPUs ``ids``, waiting until one is free; a lock ends with its process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    locks = {id_: FileLock(folder / f"gpu-{id_.replace('/', '_')}.lock") for id_ in ids}
    while True:
        for id_, lock in locks.items():
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            try:
                yield id_
            finally:
                lock.release()
            return
        time.sleep(poll_seconds)


@contextmanager
def job_device(gpus: int, asked: str = "auto") -> Iterator[str]:
    """The torch device of a job that was given ``gpus`` GPUs: ``cuda`` with its own GPU, or ``cpu``.

    Under SLURM the cluster has chosen the GPU already. Must be entered before torch starts CUDA.

    Args:
        asked: ``auto`` (a GPU if the job has one), ``cpu``, or ``cuda``.

    Raises:
        ConfigError: a GPU is insisted on and there is none, or one was given and NVIDIA's driver is not loaded.
    """
    ids = visible_gpus() if gpus > 0 and asked != "cpu" else []
    if not ids and asked == "cuda":
        raise ConfigError("compute.device is cuda, but this job has no GPU; ask for one, or set compute.device: auto")
    if not ids:
        yield "cpu"
        return
    if not DRIVER.is_dir():
        raise ConfigError(
            f"the job was given GPU {', '.join(ids)}, but NVIDIA's driver is not loaded on this machine; set compute.device: cpu"
        )
    if "SLURM_JOB_ID" in os.environ:
        yield "cuda"
        return
    with gpu_slot(ids, user_runtime_path("vitfaith", ensure_exists=True) / "gpu-slots") as chosen:
        os.environ["CUDA_VISIBLE_DEVICES"] = chosen
        yield "cuda"

"""A shard's work in parts of a few images each. Finished parts are kept, and a killed job's retry continues after them.

Every stage works image by image, so a job over a shard equals jobs over its slices. A job that receives a signal to
stop (SIGTERM, as SLURM does at the time limit, SIGINT, as the terminal does on Ctrl-C, or SIGUSR1) finishes the
current part and ends; at a second SIGINT it ends at once. A killed job only loses the current part.
"""

from __future__ import annotations

import glob
import hashlib
import logging
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from vitfaith.artifacts.lock import is_worked_on, job_lock
from vitfaith.artifacts.provenance import merge
from vitfaith.artifacts.slices import Sliced, ids_of, write_slices
from vitfaith.artifacts.store import read_any, read_provenance, write_tables, writing
from vitfaith.errors import ArtifactError, VitfaithError
from vitfaith.lazy import pq

Paths = Mapping[str, Path]

_LOG = logging.getLogger(__name__)
_LEFT = re.compile(r"\.(?P<stem>.+)\.(parts|lock)|\.(?P<temporary>.+\..+)\.[a-z0-9_]{8}")
"""Names of parts, locks and temporary files; see :func:`~vitfaith.artifacts.store.atomic_path`."""


class StoppedEarlyError(VitfaithError):
    """A job received a signal and stopped between two parts; finished parts are kept, and a retry continues."""

    repeats = False


def run_in_parts(
    run: Callable[[Paths, Paths], None], inputs: Paths, outputs: Paths, *, part_size: int, settings: str
) -> None:
    """Call ``run(inputs, outputs)`` on slices of ``part_size`` images and join what it writes.

    Args:
        run: reads the Parquet files ``inputs`` and writes the Parquet files ``outputs``, image by image.
        inputs: files with a column ``image_id``; the first one determines the images and their order.
        outputs: files to write. Parts are kept in a hidden folder beside the first one until all are there.
        part_size: images per part; a shard of at most this size runs at once, on the files themselves; so does any shard for 0.
        settings: everything else that the outputs depend on; parts from other settings or inputs are discarded.

    A second process with the same job waits for the first, and does nothing if the first has finished.

    Raises:
        StoppedEarlyError: a signal arrived; the parts that were finished are kept.
    """
    work = _digest(inputs, settings, part_size)
    with job_lock(list(outputs.values()), work) as finished:
        if finished:
            _LOG.info("finished by the other process")
            return
        remove_temporaries(outputs.values())
        _run(run, inputs, outputs, part_size, _folder(outputs, work))
        shutil.rmtree(_parts_folder(outputs), ignore_errors=True)


def run_alone(run: Callable[[], None], outputs: Sequence[Path], work: str | None = None) -> None:
    """Call ``run()`` when no other process does the job that writes ``outputs``.

    Args:
        outputs: files of the job; its lock lies beside the first one.
        work: all that the outputs depend on; where the other process had the same, its result is taken. None runs always.
    """
    with job_lock(outputs, work or f"{socket.gethostname()} {os.getpid()}") as finished:
        if finished:
            _LOG.info("finished by the other process")
            return
        remove_temporaries(outputs)
        run()


def remove_temporaries(paths: Iterable[Path]) -> None:
    """Remove what killed processes left of files that they were about to write; nobody else may write ``paths``."""
    for path in paths:
        for left in path.parent.glob(f".{glob.escape(path.name)}.????????"):
            left.unlink(missing_ok=True)


def remove_leftovers(results: Path) -> list[Path]:
    """Remove parts, locks and temporary files of outputs that are complete and that no process works on; returns them."""
    removed = []
    for left in sorted(results.rglob(".*")):
        match = _LEFT.fullmatch(left.name)
        if match is None:
            continue
        name = glob.escape(match["temporary"]) if match["temporary"] else f"{glob.escape(match['stem'])}.*"
        targets = [path for path in left.parent.glob(name) if path.is_file()]
        if not targets or is_worked_on(targets[0]):
            continue
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)
        removed.append(left)
    return removed


def _run(run: Callable[[Paths, Paths], None], inputs: Paths, outputs: Paths, part_size: int, folder: Path) -> None:
    ids = ids_of(next(iter(inputs.values())))
    if part_size == 0 or len(ids) <= part_size:
        run(inputs, outputs)
        return
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    slices = [ids[i : i + part_size] for i in range(0, len(ids), part_size)]
    parts = [{name: folder / f"{i:05d}-{name}.parquet" for name in outputs} for i in range(len(slices))]
    missing = [i for i, part in enumerate(parts) if not all(map(_is_whole, part.values()))]
    if len(missing) < len(parts):
        _LOG.info("%d of %d images are kept from an earlier try", len(ids) - _size(slices, missing), len(ids))
    files = {name: Sliced(path) for name, path in inputs.items()}
    began, left = time.monotonic(), _size(slices, missing)
    with _signals() as stopped:
        for done, i in enumerate(missing):
            if stopped:
                kept = len(ids) - _size(slices, missing[done:])
                raise StoppedEarlyError(
                    f"stopped by a signal with {kept} of {len(ids)} images done; the next try continues from there"
                )
            cut = {name: folder / f"{i:05d}-{name}.slice" for name in inputs}
            with writing(folder):
                write_slices(files, slices[i], cut)
            run(cut, parts[i])
            for path in cut.values():
                path.unlink()
            finished = _size(slices, missing[: done + 1])
            rate = finished / max(time.monotonic() - began, 1e-9)
            _LOG.info(
                "%d/%d images, %.3g images/s, %.0f s left",
                len(ids) - left + finished,
                len(ids),
                rate,
                (left - finished) / rate,
            )
    for name, path in outputs.items():
        _join([part[name] for part in parts], path)


def _is_whole(part: Path) -> bool:
    """Whether a part exists and is readable; a damaged part is recomputed."""
    if not part.is_file():
        return False
    try:
        read_any(part)
    except ArtifactError as error:
        _LOG.warning("%s: computed again", error)
        return False
    return True


def _size(slices: list[list[str]], chosen: list[int]) -> int:
    return sum(len(slices[i]) for i in chosen)


def _digest(inputs: Paths, settings: str, part_size: int) -> str:
    """Digest of all that the outputs and their parts depend on."""
    digest = hashlib.blake2b(f"{settings}\0{part_size}".encode(), digest_size=8)
    for name, path in sorted(inputs.items()):
        with path.open("rb") as handle:
            digest.update(name.encode() + hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def _parts_folder(outputs: Paths) -> Path:
    # Hidden: dataset readers such as pandas pass over names that begin with a dot.
    target = next(iter(outputs.values()))
    return target.parent / f".{target.stem}.parts"


def _folder(outputs: Paths, work: str) -> Path:
    """The folder of the parts of this work; parts of other settings or inputs are removed."""
    folder = _parts_folder(outputs) / work
    for other in folder.parent.glob("*"):
        if other != folder:
            shutil.rmtree(other)
    return folder


def _join(parts: list[Path], out: Path) -> None:
    """Write the rows of all parts to one file, with one part in memory at a time."""
    facts = [read_provenance(part, checked=False) for part in parts]
    schema = pq.read_schema(parts[0]).remove_metadata()
    write_tables(map(read_any, parts), out, schema, merge(facts))


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Note SIGTERM, SIGUSR1 and the first SIGINT in the list instead of dying of them."""
    seen: list[int] = []

    def note(number: int, _frame: object) -> None:
        if number == signal.SIGINT and number in seen:
            raise KeyboardInterrupt
        seen.append(number)
        _LOG.warning("signal %s: stopping after the part at hand", signal.Signals(number).name)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

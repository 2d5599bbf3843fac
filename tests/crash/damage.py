"""Results that are cut off or have a flipped bit: whoever reads them says so, and deleting the file heals it."""

from __future__ import annotations

import random
from pathlib import Path

from tests.crash.study import Job, Process, Study
from tests.crash.trials import ends_well, kind, last_line
from vitfaith.errors import REPEATS


@kind(weight=4)
def truncated(study: Study, folder: Path, rng: random.Random) -> str:
    """A result is cut off at a random length; the next job that reads it names it."""
    path = _copy_and_choose(study, folder, rng)
    content = path.read_bytes()
    return _found_and_healed(study, path, content[: rng.randrange(len(content))], folder, rng)


@kind(weight=4)
def bit_flipped(study: Study, folder: Path, rng: random.Random) -> str:
    """One bit of a result is flipped; the next job that reads it names it."""
    path = _copy_and_choose(study, folder, rng)
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return _found_and_healed(study, path, bytes(content), folder, rng)


@kind(weight=2)
def verified(study: Study, folder: Path, rng: random.Random) -> str:
    """Any file of the results is cut off or has a flipped bit; ``vitfaith verify`` names it."""
    study.copy(folder)
    path = folder / rng.choice(sorted(study.reference))
    content = bytearray(path.read_bytes())
    if rng.random() < 0.5:
        content = content[: rng.randrange(len(content))]
    else:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    _replace(path, bytes(content))
    process = Process(Job(("verify", "results"), (), ()), folder, folder / "verify.log")
    if process.wait() != 1 or str(path.relative_to(folder)) not in process.text():
        return f"verify ended with {process.code} and does not name '{path.relative_to(folder)}'"
    return ""


def _copy_and_choose(study: Study, folder: Path, rng: random.Random) -> Path:
    """A result that jobs read, in a copy of the study."""
    study.copy(folder)
    return folder / rng.choice([name for name in sorted(study.reference) if study.readers(name)])


def _replace(path: Path, content: bytes) -> None:
    path.unlink()  # it is a link to the file of the study
    path.write_bytes(content)


def _found_and_healed(study: Study, path: Path, content: bytes, folder: Path, rng: random.Random) -> str:
    """Put ``content`` into ``path`` and do a job that reads it; then delete the file and do its job and the reader's again."""
    name = str(path.relative_to(folder))
    _replace(path, content)
    job = rng.choice(study.readers(name))
    process = Process(job, folder, folder / "reader.log")
    code, line = process.wait(), last_line(process)
    if code != REPEATS:
        return f"{job.stage} ended with {code} on a damaged '{name}'"
    if "Traceback" in process.text() or not line.startswith("error: ") or name not in line:
        return f"{job.stage} does not name the damaged file in one line: {line}"
    path.unlink()
    again = Process(study.producer(name), folder, folder / "producer.log")
    if again.wait() != 0:
        return f"{study.producer(name).stage} ended with {again.code}: {last_line(again)}"
    return ends_well(study, job, folder)

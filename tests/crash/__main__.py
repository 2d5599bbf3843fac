"""``python -m tests.crash N [--seed S] [--kinds a,b]``: N trials; prints survived/tried per kind, also after Ctrl-C;
exit code 1 if any did not."""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pyarrow.dataset  # noqa: F401 - jobs are forks of this process: what it has loaded they need not load

import tests.crash.damage
import tests.crash.disk
import tests.crash.flows  # noqa: F401
from tests.crash.study import Study
from tests.crash.trials import KINDS


def shares(total: int, kinds: list[str]) -> dict[str, int]:
    """How many trials each kind gets of ``total``, by weight; every kind gets one."""
    weights = {name: KINDS[name].weight for name in kinds}
    counts = {name: max(1, total * weight // sum(weights.values())) for name, weight in weights.items()}
    first = max(counts, key=lambda name: weights[name])
    counts[first] = max(1, counts[first] + total - sum(counts.values()))
    return counts


def in_turn(counts: dict[str, int]) -> list[tuple[str, int]]:
    """(kind, number) of all trials, the kinds one after the other in turn, so that a run that is stopped has some of each."""
    return sorted(
        ((name, i) for name, count in counts.items() for i in range(count)), key=lambda t: t[1] / counts[t[0]]
    )


def preload() -> None:
    """Load what stages import; nothing is computed, as torch cannot go on in a fork after that."""
    import torch

    import vitfaith.cli.main
    import vitfaith.figures
    import vitfaith.stages.attack
    import vitfaith.stages.attribute
    import vitfaith.stages.denoise
    import vitfaith.stages.figures
    import vitfaith.stages.page
    import vitfaith.stages.predict
    import vitfaith.stages.score
    import vitfaith.stages.shard
    import vitfaith.stages.stability
    import vitfaith.stages.tables  # noqa: F401

    torch.set_num_threads(1)


def cpu() -> str:
    """Name of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def main() -> int:
    """Run the trials that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("trials", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of {', '.join(KINDS)}")
    options = parser.parse_args()
    kinds = options.kinds.split(",")
    unknown = [name for name in kinds if name not in KINDS]
    if unknown:
        parser.error(f"no kind '{unknown[0]}'; known: {', '.join(KINDS)}")
    preload()
    began, results = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="crash-") as place, suppress(KeyboardInterrupt):
        study = Study.make(Path(place) / "study")
        print(f"{len(study.jobs)} jobs, {len(study.reference)} files in {time.monotonic() - began:.0f} s", flush=True)
        for name, number in in_turn(shares(options.trials, kinds)):
            key, folder = f"{options.seed}/{name}/{number}", Path(place) / "trial"
            folder.mkdir()
            wrong = KINDS[name].does(study, folder, random.Random(key))
            results.append((name, not wrong))
            if wrong:
                print(f"FAILED {key}: {wrong[-600:]}", flush=True)
            shutil.rmtree(folder)
    print(f"\nprocessor: {cpu()}, {os.cpu_count()} cores\n\n| kind | survived/tried |\n|---|---|")
    for name in [*kinds, "all"]:
        ends = [survived for kind, survived in results if name in (kind, "all")]
        print(f"| {name} | {sum(ends)}/{len(ends)} |")
    print(f"seed {options.seed}, {time.monotonic() - began:.0f} s")
    return int(not all(survived for _, survived in results))


if __name__ == "__main__":
    sys.exit(main())

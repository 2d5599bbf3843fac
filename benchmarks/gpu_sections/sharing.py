"""Two jobs on one device at once: whether both finish, and what they do together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from benchmarks.gpu_sections.setup import ROOT, Case, Row, Setup

from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS


def cases(setup: Setup) -> Iterator[Case]:
    """One process, then two, each scoring for the same time."""
    seconds = 1.0 if setup.small else 10.0
    alone: Row = {}

    def one() -> Row:
        alone.update(_together(setup, 1, seconds))
        return alone

    yield "one process", one
    yield "two processes at once", partial(_two, setup, seconds, alone)


def _two(setup: Setup, seconds: float, alone: Row) -> Row:
    row = _together(setup, 2, seconds)
    if alone.get("maps/s"):
        row["of one"] = round(row["maps/s"] / alone["maps/s"], 2)
    return row


def _together(setup: Setup, count: int, seconds: float) -> Row:
    """Start ``count`` processes, which begin to measure when all are ready."""
    go = setup.folder / f"go-{count}"
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", setup.device, "--worker", str(seconds)]
    environment = {
        **os.environ, "VITFAITH_WORKERS": str(go), "PYTHONPATH": os.pathsep.join(p or "." for p in sys.path)
    }  # fmt: skip
    jobs = []
    for index in range(count):
        own = environment | {"VITFAITH_WORKER": str(index), "VITFAITH_COUNT": str(count)}
        jobs.append(
            subprocess.Popen(
                [*command, *(["--small"] if setup.small else [])],
                cwd=ROOT, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
    try:
        outputs = [job.communicate(timeout=seconds + 120) for job in jobs]
    finally:
        for job in jobs:
            job.kill()
    failed = [err for job, (_, err) in zip(jobs, outputs, strict=True) if job.returncode]
    if failed:
        return {"result": f"error: {len(failed)} of {count} processes failed: {failed[0].strip()[-300:]}"}
    found = [json.loads(out.strip().splitlines()[-1]) for out, _ in outputs]
    rates = [row["maps"] / row["seconds"] for row in found]
    row: Row = {"result": "ok", "maps/s": round(sum(rates), 2), "each": ", ".join(f"{rate:.1f}" for rate in rates)}
    return row | {"GiB": max((r["GiB"] or 0) for r in found)}


def work(setup: Setup, seconds: float) -> Row:
    """What one of the processes does: maps that it scored, and in which time."""
    classifier = setup.vit("ViT-Ti")
    images = setup.images(4, classifier.input_shape)
    ids = [str(i) for i in range(len(images))]
    targets = torch.zeros(len(images), dtype=torch.int64)
    maps = {f"m{i}": torch.rand(len(images), *classifier.grid) for i in range(10)}
    metrics = {"saco": METRICS.item("saco")}

    def score() -> None:
        evaluate(classifier, images, targets, ids, maps, metrics, batch_size=128)

    score()
    _wait_for_others()
    begin, done = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        score()
        setup.synchronize()
        done += len(images) * len(maps)
    return {"maps": done, "seconds": time.perf_counter() - begin, "GiB": setup.peak()}


def _wait_for_others() -> None:
    go = os.environ.get("VITFAITH_WORKERS")
    if not go:
        return
    Path(f"{go}-{os.environ['VITFAITH_WORKER']}").touch()
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if all(Path(f"{go}-{index}").exists() for index in range(int(os.environ["VITFAITH_COUNT"]))):
            return
        time.sleep(0.02)

"""Every explainer on every backbone: python -m benchmarks.backbones; writes docs/backbones.md and the tests' table.

With --explainers or --backbones a part, whose verdicts join those in --json; nothing else is written then.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from benchmarks.machine import processor_name
from tests.explainers.backbones import BACKBONES
from tests.explainers.judge import ENTRIES, Verdict, judge
from tools import backbones_page


def column(task: tuple[str, tuple[str, ...]]) -> list[Verdict]:
    """All verdicts of one backbone."""
    torch.set_num_threads(1)
    name, explainers = task
    return [judge(explainer, name) for explainer in explainers]


def write(path: Path, part: list[Verdict]) -> None:
    """Put the verdicts into the file, in place of earlier ones of the same pairs."""
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    known = {(row["backbone"], row["explainer"]): row for row in rows} | {
        (v.backbone, v.explainer): v.row() for v in part
    }
    path.write_text(json.dumps(list(known.values()), indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Run the matrix, print its counts, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=Path("results/backbones.json"))
    parser.add_argument("--explainers", nargs="*", default=[])
    parser.add_argument("--backbones", nargs="*", default=[])
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    explainers = tuple(options.explainers or (entry.name for entry in ENTRIES))
    tasks = [(name, explainers) for name in options.backbones or BACKBONES]
    options.json.parent.mkdir(parents=True, exist_ok=True)
    found: list[Verdict] = []
    with ProcessPoolExecutor(options.workers) as pool:
        for part in pool.map(column, tasks):
            found += part
            write(options.json, part)
            print(part[0].backbone, dict(Counter(verdict.state for verdict in part)), flush=True)
    print(dict(Counter(verdict.state for verdict in found)))
    if not (options.explainers or options.backbones):
        backbones_page.write(json.loads(options.json.read_text(encoding="utf-8")), processor_name())
    for verdict in found:
        if verdict.state in ("ERROR", "WRONG"):
            print(f"{verdict.state:6} {verdict.backbone:26} {verdict.explainer:26} {verdict.why[:140]}")


if __name__ == "__main__":
    main()

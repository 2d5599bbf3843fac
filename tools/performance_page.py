"""The measured table of docs/performance.md: every ratio from one run on this machine, which the table names.

python tools/performance_page.py            measure (6 minutes on two quiet cores) and write the table
python tools/performance_page.py --quick    a smoke test in which nothing is measured well; prints the table
python tools/performance_page.py --part denoising    one part; prints its rows

Ratios are of times of this process on one thread, whose parts take turns, so that other load changes them little.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
START, END = "<!-- measured: made by tools/performance_page.py -->", "<!-- end -->"
HEAD = "| what | float32 | bfloat16 | aim | command |\n| --- | ---: | ---: | ---: | --- |\n"
Row = tuple[str, str, str, str, str]


def attribution(quick: bool) -> Iterator[Row]:
    """The shared pass."""
    from benchmarks import attribute as bench

    command = "`python -m benchmarks.attribute`"
    for name, images in bench.MODELS.items():
        rows = bench.measure(bench.Work(name, 1 if quick else images), 1 if quick else 3)
        best = {line: seconds for line, _, _, seconds in rows}
        bare, model = best[bench.BARE], name.removesuffix("_patch16_224")
        half = best[bench.ALL + bench.HALF] / bare
        yield (
            f"all one-pass explainers / bare forward + backward in float32, {model}",
            f"{best[bench.ALL] / bare:.2f}",
            f"{half:.2f}",
            "≤ 1.3",
            command,
        )
        packages = best[bench.PACKAGES] / best[bench.OURS]
        yield (
            f"packages one by one / our shared pass, {len(bench.COMMON)} methods, {model}",
            f"{packages:.1f}",
            "",
            "≥ 4",
            command,
        )
        faster = bare / best[bench.BARE + bench.HALF]
        yield f"bare forward + backward, float32 / bfloat16, seconds, {model}", "1", f"{faster:.2f}", "", command


def scores(quick: bool) -> Iterator[Row]:
    """Metrics against bare forwards, a loop and packages."""
    from benchmarks import score as bench

    for setting, methods in {"vit-ti": 5, "vit-s": 2}.items():
        command = f"`python benchmarks/score.py --setting {setting} --methods {methods}`"
        work = bench.prepared(setting, "cpu", 1 if quick else None, 1 if quick else methods, 32)
        found = bench.ratios(bench.measure(bench.lines_of(work), "cpu", 1 if quick else 2))
        half = found["saco / bare"] * found["saco, bfloat16 / float32"]
        yield (
            f"SaCo (K = 10), throughput / its forwards alone in float32, {setting}",
            f"{found['saco / bare']:.2f}",
            f"{half:.2f}",
            "≥ 0.9",
            command,
        )
        loop = found["loop / saco"]
        yield (
            f"one-image-at-a-time SaCo loop / ours, seconds, {setting}",
            f"{loop:.2f}",
            f"{loop * found['saco, bfloat16 / float32']:.2f}",
            "",
            command,
        )
        yield (
            f"torchcam + quantus / ours for deletion, insertion and pixel flipping, seconds ({found['forwards']:.2f} times as many "
            f"forwards), {setting}",
            f"{found['packages / curves']:.2f}", f"{found['packages / curves, bfloat16']:.2f}", "≥ 2.5; 4", command,
        )  # fmt: skip
        yield (
            f"scoring, float32 / bfloat16, seconds, {setting}",
            "1",
            f"{found['curves, bfloat16 / float32']:.2f}",
            "",
            command,
        )


def denoising(quick: bool) -> Iterator[Row]:
    """Smoothing against bare U-Net calls."""
    from benchmarks import denoise as bench

    from vitfaith.denoisers.denoiser import Denoiser

    denoiser = Denoiser.load(ROOT / "resources" / "denoisers" / "fashion_mnist")
    _, ours, bare = bench.measure(denoiser, "calibrated", *((2, 2, 4, 1) if quick else (32, 8, 256, 7)))
    yield (
        "denoising in one step, throughput / bare U-Net",
        f"{bare / ours:.2f}",
        "",
        "≥ 0.95",
        "`python benchmarks/denoise.py`",
    )


def training(quick: bool) -> Iterator[Row]:
    """DiffMask."""
    from benchmarks import diffmask as bench

    for name in ("vit_patch4", "vit_patch2"):
        ratio = bench.measure(name, "cpu", 4 if quick else 64, 1 if quick else 5)
        what = f"DiffMask training, throughput / two forwards and one backward, {name}"
        yield what, f"{ratio:.2f}", "", "≥ 0.85", "`python benchmarks/diffmask.py`"


PARTS = {part.__name__: part for part in (attribution, denoising, training, scores)}


def table(parts: Iterable[str], quick: bool) -> str:
    """The table of some parts, with the machine above it."""
    from benchmarks.shared import processor

    from vitfaith.models.fast.memory import keep_freed_memory

    torch.set_num_threads(1)
    keep_freed_memory()
    rows = []
    for part in parts:
        for row in PARTS[part](quick):
            print(" | ".join(row), file=sys.stderr, flush=True)
            rows.append("| " + " | ".join(row) + " |")
    return f"Measured on: {processor()}.\n\n{HEAD}" + "\n".join(rows)


def main() -> int:
    """Write the page, or print the table of a quick run or of a part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--part", choices=PARTS)
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    found = table([given.part] if given.part else PARTS, given.quick)
    if given.quick or given.part:
        print(found)
        return 0
    text = PAGE.read_text()
    before, _, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"{PAGE} lacks the lines '{START}' and '{END}'")
    PAGE.write_text(f"{before}{START}\n\n{found}\n\n{END}{after}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

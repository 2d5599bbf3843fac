"""The Markdown page of ``benchmarks/gpu.py``, made from its JSON alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.gpu_sections.setup import Row

HEAD = """# What things cost on a GPU

Made by `{command}` in {minutes:.1f} minutes on one machine. Networks that the repository does not have (ViT-Ti to ViT-L at 224
px, the U-Net of 553 million parameters at 256 px) have random weights: times do not depend on them. Times are wall clock with the device's
queue emptied before and after, after a warm-up, medians of runs that take turns with what they are compared to.
"""
INTRODUCTIONS = {
    "stages": "Each stage as its job runs it, from file to file, on the GPU and on the CPU, from the same inputs. The row shows "
    "the column that differs most. *In tolerance* is the share of values within the tolerance.",
    "correctness": "Each registered item on the GPU and on the CPU, from the same inputs: the shipped ViT on Fashion-MNIST. "
    "Maps are in units of their largest magnitude. A row is ok where 99 % of a map's values, 95 % of a metric's, 90 % of an attack's "
    "pixels (and all decisions whether the model is fooled) are in the tolerance: where two values nearly tie, rounding "
    "decides a rank or a sign. Matrix products and convolutions run in float32 on both, as jobs run them, but for the "
    "row that says TF32.",
    "library": "Functions of `import vitfaith` with a network on the GPU and images on the CPU, and all on the CPU.",
    "further": "Settings, networks and arguments that the rows above pass by, on the GPU and on the CPU.",
    "training": "The numbers that are trained, after the same few steps on the GPU and on the CPU.",
    "batch sizes": "*Fastest*: what a job without `batch_size` finds by itself. Where a number of GiB is named, the process may take that much "
    "beside the weights, and is asked for far too large a batch: it is halved until it fits.",
    "throughput": "*/ bare* is the throughput divided by that of the bare forward and backward passes of the same number, in the same "
    "precision, in full batches.",
    "memory": "One process, the same work again and again.",
    "two processes": "Each process scores SaCo of 10 methods with ViT-Ti; both start to measure at the same moment.",
}


def is_bad(row: Row) -> bool:
    """Whether a row differs or failed."""
    return str(row.get("result", "")).startswith(("differs", "error"))


def text(facts: Mapping[str, Any]) -> str:
    """The page of ``facts``: machine, command, minutes, and tables of rows."""
    parts = [HEAD.format(command=facts["command"], minutes=facts["minutes"]), _machine(facts["machine"])]
    for name, rows in facts["tables"].items():
        if rows:
            parts += [f"## {name.capitalize()}\n", INTRODUCTIONS.get(name, "") + "\n", _summary(rows), _table(rows)]
    return "\n".join(parts)


def _machine(found: Mapping[str, Any]) -> str:
    lines = ["| machine | |", "|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in found.items() if key != "packages"]
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    return "\n".join([*lines, f"| packages | {packages} |", ""])


def _summary(rows: Sequence[Row]) -> str:
    bad = [row for row in rows if is_bad(row)]
    fine = sum(1 for row in rows if row.get("result", "ok") == "ok")
    return f"{fine} of {len(rows)} rows ok, {len(bad)} differ or failed, {len(rows) - fine - len(bad)} not measured.\n"


def _table(rows: Sequence[Row]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row if key not in ("trace", "took")))
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += ["| " + " | ".join(_shown(row.get(column)) for column in columns) + " |" for row in rows]
    return "\n".join([*lines, ""])


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value).replace("|", "\\|")

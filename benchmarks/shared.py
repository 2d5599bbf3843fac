"""What several benchmarks ask of the registry."""

from __future__ import annotations

import re

import torch
from benchmarks.machine import cpuinfo, processor_name

from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.registry import Entry


def one_pass() -> list[Entry]:
    """Explainers that share one pass and work on any model; those with files trained for one model are left out."""
    return [e for e in EXPLAINERS if e.traits["family"] == "one_pass" and not e.traits.get("model_files")]


def processor() -> str:
    """The processor's name with family and model, its instruction set as torch sees it, and whether it multiplies bfloat16."""
    text = cpuinfo()
    family, model = (
        found[1] if (found := re.search(rf"^{key}\s*: (.*)$", text, re.MULTILINE)) else "?"
        for key in ("cpu family", "model")
    )
    half = "with" if "avx512_bf16" in text else "without"
    return (
        f"{processor_name()} (family {family}, model {model}), "
        f"{torch.backends.cpu.get_cpu_capability()}, {half} AVX512-BF16; torch {torch.__version__.split('+')[0]}, one thread"
    )

"""docs/backbones.md and the table of refusals that the tests compare with, from verdicts of benchmarks/backbones.py."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.explainers.backbones import BACKBONES
from tests.explainers.judge import ENTRIES, TABLE

PAGE = Path(__file__).parents[1] / "docs" / "backbones.md"
Rows = Sequence[dict[str, Any]]

HEAD = """# Explainers × backbones

Every explainer is right on a backbone, or refuses it by name and says what to use instead. {counts}, of {explainers} explainers (all
except `external`, whose maps come from a file) and {backbones} backbones. The backbones are tiny random networks of timm: small oblong images where the architecture takes them, every
parameter moved off its start, layer scales of both signs.

*Right* means that maps equal a slow textbook form where the tests have one (`tests/explainers/textbook`), and that every law
holds that applies to the pair:

| law | what must hold |
|---|---|
| batch | an image has the same map alone and in a batch |
| folded | multiplying LayerScale, or the γ of BEiT, EVA and CaiT, into the layer before changes no map |
| heads | reordering the heads changes no map |
| respelled | the same network written with unfused attention, one projection in place of three, or packed gated MLPs gives the same map |
| transposed | the transposed image, on a network with transposed kernels and positions, gives the transposed map |
| norms | without norms, post-norm and pre-norm blocks are the same network and give the same map |
| order | for a method that drops tokens: the logits do not change when patch tokens and their positions are shuffled, so no block depends on where a token stands |
| planted | on a network that sees a single patch, the map is 0 everywhere else (gradients at pixels, occlusion, Shapley values) |

This page is generated: `python -m benchmarks.backbones` runs the whole matrix and writes it. The tests run a quarter of the pairs.
A check of a study (`vitfaith check`) rehearses each explainer on each model, and `vitfaith.explain` gives the same text.

Explainers that need no ViT run on any classifier: {easy}. Their maps lie on the grid of the patch embedding; for a
model without one (ResNet), set `patch` in its section, or `patch_size` in `vitfaith.wrap`.
"""


def page(rows: Rows, processor: str) -> str:
    """The page, from one row for each pair."""
    counts = {state: sum(row["state"] == state for row in rows) for state in ("works", "refused", "ERROR", "WRONG")}
    text = ", ".join(f"{number} {'work' if state == 'works' else state}" for state, number in counts.items())
    easy = ", ".join(f"`{entry.name}`" for entry in ENTRIES if entry.traits["hierarchical"])
    parts = [
        HEAD.format(counts=f"Pairs: {text}", explainers=len(ENTRIES), backbones=len(BACKBONES), easy=easy),
        "## By backbone\n\n| id | family | works | refused |\n|---|---|---|---|",
        *(_backbone(name, [row for row in rows if row["backbone"] == name]) for name in BACKBONES),
        "\n## By explainer\n\nPasses and seconds per image, measured with the small settings of the tests "
        f"(3 steps, 8 samples, 6 masks) on tiny networks ({processor}).\n\n"
        "| explainer | works on | forwards | backwards | seconds |\n|---|---|---|---|---|",
        *(_explainer(entry.name, [row for row in rows if row["explainer"] == entry.name]) for entry in ENTRIES),
        "\n## Why\n\nOne refusal of each kind; names of blocks and numbers differ between backbones.\n\n"
        "| refusal | explainers | backbones |\n|---|---|---|",
        *_reasons(rows),
    ]
    return "\n".join(parts) + "\n"


def _backbone(name: str, rows: Rows) -> str:
    refused = [row for row in rows if row["state"] == "refused"]
    works = sum(row["state"] == "works" for row in rows)
    told = ", ".join(row["explainer"] for row in refused) or "–"
    if not works:
        told = f"all: {_cell(refused[0]['why'])}"
    return f"| `{name}` | {BACKBONES[name].family} | {works} | {told} |"


def _explainer(name: str, rows: Rows) -> str:
    ran = [row for row in rows if row["state"] == "works"]
    if not ran:
        return f"| `{name}` | 0 | | | |"

    def middle(key: str) -> float:
        return median(row[key] for row in ran)

    return f"| `{name}` | {len(ran)} | {middle('forwards'):.0f} | {middle('backwards'):.0f} | {middle('seconds'):.2g} |"


def _reasons(rows: Rows) -> list[str]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["state"] == "refused":
            found[_kind(row["why"], row["explainer"])].append(row)
    lines = []
    for some in sorted(found.values(), key=len, reverse=True):
        explainers = list(dict.fromkeys(row["explainer"] for row in some))
        backbones = list(dict.fromkeys(row["backbone"] for row in some))
        lines.append(f"| {_cell(some[0]['why'])} | {_few(explainers)} | {_few(backbones)} |")
    return lines


def _kind(text: str, explainer: str) -> str:
    """A refusal without what differs between models and explainers."""
    text = text.partition("these explainers are not defined for it")[0].replace(explainer, "")
    return re.sub(r"\b[A-Z]\w+|'[^']*'|[\d×(), ]+|\w+\.\w+", "", text)[:60]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def write(rows: Rows, processor: str) -> None:
    """Write the page and the table."""
    PAGE.write_text(page(rows, processor), encoding="utf-8")
    refused = {
        name: [row["explainer"] for row in rows if row["backbone"] == name and row["state"] == "refused"]
        for name in BACKBONES
    }
    lines = [f" {json.dumps(name)}: {json.dumps(explainers)}" for name, explainers in refused.items()]
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")

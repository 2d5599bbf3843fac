"""How stable training a DiffMask is: several seeds of dual ascent beside the released rule, for any model of any study.

Run: python tools/diffmask_stability.py OUT [--config config/config.yaml] [--explainer diffmask] [--model vit_patch4] [--seeds 5]
     [--steps 300] [--rules dual released]
Trains from the explainer's recipe, keeps each log as OUT/{rule}.{seed}.parquet (those that are there are not trained again), prints a
table and draws OUT/curves.png.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from diffmask_curves import draw
from provenance import core_seconds, keep_seconds, line

from vitfaith.artifacts.schemas import DIFFMASK_LOG
from vitfaith.datasets.opening import open_source
from vitfaith.errors import VitfaithError
from vitfaith.explainers.diffmask.recipe import OFFICIAL, DiffMaskRecipe
from vitfaith.explainers.diffmask.train import train_diffmask
from vitfaith.models.load import load_classifier
from vitfaith.study.load import load_study, read_yaml
from vitfaith.tables.text import markdown_table

RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "dual": ("dual ascent", {}),
    "released_fast": (
        "released rule, our rates and start",
        {"mode": "official", "objective": "log_probability", "multiplier": 20.0},
    ),
    "released": ("released rule, its own settings", OFFICIAL),
}


def train(given: argparse.Namespace) -> None:
    """All rules and seeds that have no log yet."""
    study = load_study(read_yaml(given.config))
    item, section = study.explainers[given.explainer], study.models[given.model]
    recipe: Any = getattr(item.parameters, "training", None)
    if recipe is None:
        raise SystemExit(f"explainers.{given.explainer} has no training recipe")
    model = load_classifier(section.model_dump(mode="json"), Path(str(section.weights)), given.device)
    sources = (open_source(study.datasets[name][0].spec()) for name in (recipe.train_on, recipe.test_on))
    images, held_out = (source.read(np.arange(len(source.labels))) for source in sources)
    given.out.mkdir(parents=True, exist_ok=True)
    for rule in given.rules:
        for seed in range(given.seeds):
            path = given.out / f"{rule}.{seed}.parquet"
            if path.is_file():
                continue
            changes = {**RULES[rule][1], "seed": seed, "steps": given.steps, "epochs": 10_000}
            settings = DiffMaskRecipe(**{**recipe.model_dump(), **changes})
            start = time.process_time()
            try:
                _, log = train_diffmask(model, images, held_out, settings)
            except VitfaithError as error:
                print(f"{rule}, seed {seed}: {error}")
                log = []
            keep_seconds(given.out, f"{rule}.{seed}", time.process_time() - start)
            pq.write_table(pa.Table.from_pylist(log, schema=DIFFMASK_LOG), path)


def table(given: argparse.Namespace) -> str:
    """Markdown: where each rule ends, over its seeds; diverged means not finite, or a held-out KL above five margins."""
    head = ["rule", "seeds", "held-out KL", "kept share", "agreement", "λ at the end", "diverged", "nothing masked"]
    rows = []
    for rule in given.rules:
        logs = [pd.read_parquet(given.out / f"{rule}.{seed}.parquet") for seed in range(given.seeds)]
        last = pd.DataFrame([log.iloc[-1] for log in logs if len(log)])

        def span(column: str, found: pd.DataFrame = last) -> str:
            return f"{found[column].min():.3g} … {found[column].max():.3g}"

        diverged = len(logs) - len(last) + int((last.test_kl > 0.5).sum())
        spans = [span(column) for column in ("test_kl", "test_kept_share", "test_agreement", "multiplier")]
        rows.append([RULES[rule][0], len(logs), *spans, diverged, int((last.test_kept_share > 0.98).sum())])
    return markdown_table(head, rows)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--config", type=Path, default=Path("config/config.yaml"))
    parser.add_argument("--explainer", default="diffmask")
    parser.add_argument("--model", default="vit_patch4")
    parser.add_argument("--rules", nargs="+", choices=list(RULES), default=["dual", "released_fast", "released"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    train(given)
    facts = [f"seeds 0 to {given.seeds - 1} of the training", f"{given.steps} steps", "ranges over the seeds"]
    print(f"{line('diffmask', facts, core_seconds(given.out))}\n")
    print(table(given))
    logs = {r: {s: pd.read_parquet(given.out / f"{r}.{s}.parquet") for s in range(given.seeds)} for r in given.rules}
    curves = {RULES[rule][0]: {seed: log for seed, log in found.items() if len(log)} for rule, found in logs.items()}
    draw(curves, "step", "step", DiffMaskRecipe().margin, given.out / "curves.png")


if __name__ == "__main__":
    main()

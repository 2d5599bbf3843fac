"""The dataset card of a benchmark: what is inside, read by people and by the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from vitfaith.api.results import PER_IMAGE
from vitfaith.artifacts.store import atomic_path
from vitfaith.sharing.layout import BOARD, CARD, IMAGES, ORIGIN, STUDY, SUMS
from vitfaith.tables.collect import CONDITION

_HOLDS = {
    "scores": "one number for each image, method, metric and condition",
    "curves": "answers of the network along each perturbation curve",
    "maps": "attribution maps on the patch grid",
    "stability": "similarity of maps to maps of the clean image",
    "sanity": "similarity of maps to maps of changed networks, classes or images",
    "certificates": "certified radii",
    "predictions": "labels and the network's answers",
}

_TEXT = """---
pretty_name: {name}
tags: [explainability, faithfulness, vision-transformer, vitfaith]
configs:
{configs}
---
# {name}

Attribution maps of Vision Transformers and how faithful they are, as a study of [vitfaith](study.yaml) found it. Another explanation
method can be measured under the same conditions and joins the leaderboard.

## What is inside

| table | rows | holds |
|---|---|---|
{tables}
| `{images}` | {digests} | a digest of each image; the images themselves belong to their dataset |
| `{origin}` | {files} | settings, code, versions and processor of each file |
| `{study}` | | the study: datasets, models, attacks, explainers, metrics |
| `tables/` | | means, tests and costs of each experiment |

Conditions (datasets × models × attacks × smoothings × explained classes): {conditions}. Methods: {methods}. Metrics: {metrics}.

```python
import vitfaith as vf

scores = vf.read(".")  # or pandas.read_parquet("scores")
print(vf.leaderboard(scores))
```

## Join

`maps.parquet` has the columns `image_id` and `map` (numbers row by row, of the patch grid or of the image's size), and `dataset`, `model`,
`attack`, `smoothing`, `explained` where there are several. In this folder:

```bash
vitfaith add my_maps.parquet --study . --name my_method
```

Data and weights that {study} names by a path are looked for in this folder.

## Licence

Not stated yet. The maps and scores are the authors' to license. Images are not included.

## Checks

`sha256sum --check {sums}` in this folder. The leaderboard, {board}, is made from `scores/` and {sums} lists it too.
"""


def write_card(folder: Path, board: pd.DataFrame) -> None:
    """Write README.md of the benchmark in ``folder``; ``board`` is its leaderboard."""
    paths = {name: part for name, (part, _) in PER_IMAGE.items() if (folder / part).is_dir()}
    rows = {name: sum(map(_rows, (folder / part).rglob("*.parquet"))) for name, part in paths.items()}
    configs = [f'  - config_name: {name}\n    data_files: "{part}/**/*.parquet"' for name, part in paths.items()]

    def listed(column: str) -> str:
        return ", ".join(f"`{one}`" for one in sorted(board[column].astype(str).unique()))

    text = _TEXT.format(
        name="Faithfulness on " + " and ".join(sorted(board["dataset"].astype(str).unique())),
        configs="\n".join(configs),
        tables="\n".join(f"| `{part}/` | {rows[name]:,} | {_HOLDS[name]} |" for name, part in paths.items()),
        digests=f"{_rows(folder / IMAGES):,}",
        files=f"{_rows(folder / ORIGIN):,}",
        conditions=len(board.drop_duplicates(CONDITION)),
        methods=listed("method"),
        metrics=listed("metric"),
        images=IMAGES, origin=ORIGIN, study=STUDY, sums=SUMS, board=BOARD,
    )  # fmt: skip
    with atomic_path(folder / CARD) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _rows(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows)

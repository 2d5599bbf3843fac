"""Write docs/robustness.md: whether each claim of the findings survives other choices, from the results of config/robustness.yaml.

Run after that study, in its folder:
    python tools/robustness.py [results] [--stamps FOLDER] [--folds FOLDER] > docs/robustness.md
FOLDER is that of `vitfaith reproduce stamps`, and of `tools/stamps_crossfit.py`; without them the column of the resolution is not tested.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pandas as pd
import yaml
from findings_tables import read
from robustness_claims import (
    CLAIMS,
    OLDER,
    Reading,
    certificates_cover,
    dds_keeps,
    diffmask_faithful,
    localisation_follows,
    older_fail,
    raise_saco,
    random_is_zero,
    support,
)
from robustness_ties import rescored

from vitfaith.compare.folder import read_folds
from vitfaith.tables.text import markdown_table

STUDY = Path(__file__).resolve().parents[1] / "config" / "robustness.yaml"
COLUMNS = (
    "as published",
    "tie key",
    "group arrangement",
    "K",
    "fill",
    "in-domain network",
    "seed",
    "model",
    "resolution",
)
DEPENDS_NOT = {
    "dds": {"tie key", "group arrangement", "fill", "in-domain network"},
    "certified": {"tie key", "group arrangement", "fill", "in-domain network"},
}
"""Claim → choices that its number cannot depend on."""
NATURAL = "112 px, natural images"
Readings = dict[str, dict[str, Callable[[], Reading]]]
"""Column → name of the choice → how to read the claim under it."""


def plain(scores: pd.DataFrame, saco: str = "saco", k: int = 10, suffix: str = "") -> pd.DataFrame:
    """The scores of one choice under plain names: ``saco`` at K groups, and the older metrics with ``suffix``."""
    names = {saco: "saco", **{metric + suffix: metric for metric in OLDER}}
    return at(scores[scores["metric"].isin(names)], k).replace({"metric": names})


def others(rows: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """The rows of images that ``known`` does not have: a larger subset of a data set holds the smaller one."""
    return rows[~rows["image_id"].isin(known["image_id"])]


def at(scores: pd.DataFrame, k: int) -> pd.DataFrame:
    """The rows of variants with K groups, and of metrics without groups."""
    return scores[scores["variant"].isin([f"k={k}", "", "auroc"])]


def of_saco(tables: Path, results: Path, natural: pd.DataFrame | None) -> dict[str, dict[str, pd.DataFrame]]:
    """Column → choice → scores, for the claims about SaCo and the older metrics."""
    scores = partial(read, tables, name="scores")
    choices = scores("choices")
    found = {
        "as published": {"": plain(choices)},
        "tie key": {"other key": plain(rescored(results, STUDY, "fashion_mnist", "vit_patch4"))},
        "group arrangement": {
            "equal groups, K = 7": plain(choices, "saco_k", 7),
            "sums of groups": plain(choices, "saco_sum"),
        },
        "K": {f"K = {k}": plain(choices, "saco_k", k) for k in (5, 20)},
        "fill": {fill: plain(choices, f"saco_{fill}", suffix=f"_{fill}") for fill in ("black", "blur")},
        "in-domain network": {"knows removed patches": plain(scores("indomain"))},
        "seed": {"other images": plain(others(scores("images"), choices))},
        "model": {"vit_patch2": plain(scores("model"))},
    }
    if natural is not None:
        found["resolution"] = {NATURAL: plain(natural)}
    return found


def of_diffmask(tables: Path, results: Path) -> Readings:
    """DiffMask's readings: both fills at once, and single other fills."""
    choices = read(tables, "choices", "scores")

    def both(scores: pd.DataFrame, k: int = 10, suffix: str = "") -> Callable[[], Reading]:
        metrics = {fill: f"saco_{fill}{suffix}" for fill in ("placeholder", "noise")}
        return partial(diffmask_faithful, at(scores, k), metrics)

    single = {"image mean": "saco", "black": "saco_black", "blur": "saco_blur"}
    return {
        "as published": {"": both(choices)},
        "tie key": {"other key": both(rescored(results, STUDY, "fashion_mnist", "vit_patch4"))},
        "group arrangement": {
            "equal groups, K = 7": both(choices, 7, "_k"),
            "sums of groups": both(choices, suffix="_sum"),
        },
        "K": {f"K = {k}": both(choices, k, "_k") for k in (5, 20)},
        "fill": {fill: partial(diffmask_faithful, at(choices, 10), {fill: metric}) for fill, metric in single.items()},
        "in-domain network": {"knows removed patches": both(read(tables, "indomain", "scores"))},
        "seed": {"other images": both(others(read(tables, "images", "scores"), choices))},
        "model": {"vit_patch2": both(read(tables, "model", "scores"))},
    }


def of_dds(tables: Path, stamps: Path | None) -> Readings:
    """Readings of attacks with and without DDS."""

    def kept(folder: Path, experiment: str, model: str, k: str = "k=0.2", beside: str = "") -> Callable[[], Reading]:
        predictions, overlap = (
            read(folder, experiment, name).query("model == @model") for name in ("predictions", "stability")
        )
        if beside:
            known = read(folder, beside, "predictions")
            predictions, overlap = others(predictions, known), others(overlap, known)
        chosen = overlap.query("metric == 'top_k_overlap' and variant == @k and reference == 'clean'")
        return partial(dds_keeps, predictions, chosen)

    found: Readings = {
        "as published": {"": kept(tables, "attacked", "vit_patch4")},
        "K": {f"top {k} %": kept(tables, "attacked", "vit_patch4", f"k={k / 100:g}") for k in (5, 10)},
        "seed": {"other images": kept(tables, "attacked_images", "vit_patch4", beside="attacked")},
        "model": {"vit_patch2": kept(tables, "attacked", "vit_patch2")},
    }
    if stamps is not None:
        found["resolution"] = {NATURAL: kept(stamps, "robustness", "vit_small")}
    return found


def of_certificates(tables: Path) -> Readings:
    """Readings of certified radii beside the length of the attack on the same model."""

    def covered(certified: str, attacked: str, model: str, k: int = 5) -> Callable[[], Reading]:
        rows = read(tables, certified, "certificates").query("model == @model and k == @k")
        if certified != "certified":
            rows = others(rows, read(tables, "certified", "certificates"))
        attacks = read(tables, attacked, "attacks").query("model == @model and attack == 'pgd'")
        return partial(certificates_cover, rows, float(attacks["mean_l2"].iloc[0]))

    return {
        "as published": {"": covered("certified", "attacked", "vit_patch4")},
        "K": {"k = 10": covered("certified", "attacked", "vit_patch4", 10)},
        "seed": {"other images": covered("certified_images", "attacked_images", "vit_patch4")},
        "model": {"vit_patch2": covered("certified", "attacked", "vit_patch2")},
    }


def of_localisation(tables: Path, results: Path, natural: pd.DataFrame | None) -> Readings:
    """Readings where the right map is known."""
    located = read(tables, "located", "scores")
    known = located[located["metric"] == "localisation_auroc"]

    def follows(
        scores: pd.DataFrame, saco: str = "saco_cells", k: int = 9, truth: str = "localisation_auroc"
    ) -> Callable[[], Reading]:
        return partial(localisation_follows, at(scores, k).replace({"metric": {saco: "saco"}}), truth)

    found: Readings = {
        "as published": {"": follows(located)},
        "tie key": {"other key": follows(pd.concat([rescored(results, STUDY, "planted_cell", "reader"), known]))},
        "group arrangement": {"sums of groups": follows(located, "saco_cells_sum")},
        "K": {"K = 5": follows(located, k=5)},
        "fill": {"black": follows(located, "saco_cells_black")},
        "in-domain network": {"knows removed patches": follows(read(tables, "located_indomain", "scores"))},
        "seed": {"other images": follows(read(tables, "located_images", "scores"))},
        "model": {"counter": follows(read(tables, "located_counting", "scores"), truth="admissible_mask")},
    }
    if natural is not None:
        found["resolution"] = {NATURAL: follows(natural, "saco", 10)}
    return found


def natural_scores(stamps: Path | None, folds: Path | None) -> pd.DataFrame | None:
    """Scores of natural images: of all folds, else of the study of one split, else none."""
    if folds is not None:
        return read_folds(sorted(folds.glob("fold_*/results")), {})
    return None if stamps is None else read(stamps, "explainers", "scores")


def readings(results: Path, stamps: Path | None, folds: Path | None) -> dict[str, dict[str, dict[str, Reading]]]:
    """Claim → column → choice → reading; arguments as in :func:`main`."""
    tables = results / "tables"
    natural = natural_scores(stamps, folds)
    scores = of_saco(tables, results, natural)
    simple = {"random": random_is_zero, "older": older_fail, "raise": raise_saco}
    asked: dict[str, Readings] = {
        name: {
            column: {choice: partial(claim, frame) for choice, frame in choices.items()}
            for column, choices in scores.items()
        }
        for name, claim in simple.items()
    }
    asked["dds"] = of_dds(tables, stamps)
    asked["certified"] = of_certificates(tables)
    asked["diffmask"] = of_diffmask(tables, results)
    asked["localisation"] = of_localisation(tables, results, natural)
    return {
        claim: {column: {name: read_now() for name, read_now in choices.items()} for column, choices in columns.items()}
        for claim, columns in asked.items()
    }


def cell(claim: str, column: str, found: Mapping[str, Reading]) -> str:
    """A cell of the table: the reading of a column with the smallest margin."""
    if not found:
        return "–" if column in DEPENDS_NOT.get(claim, ()) else "not tested"
    name, worst = min(found.items(), key=lambda item: support(item[1]))
    verdict = "survives" if worst.survives else "**does not**"
    return f"{verdict}: {worst.text}" + (f" ({name})" if len(found) > 1 else "")


def verdict(found: Mapping[str, Mapping[str, Mapping[str, Reading]]]) -> str:
    """The first paragraph: which claims survive everything tested, and what breaks the others."""
    lines = []
    for place, (claim, columns) in enumerate(found.items(), 1):
        broken = [c for c in COLUMNS if any(not reading.survives for reading in columns.get(c, {}).values())]
        tested = sum(bool(columns.get(c)) for c in COLUMNS)
        if "as published" in broken:
            state = f"does not hold as published; {tested - len(broken)} of {tested} columns support it"
        else:
            state = (
                f"holds; not robust to {', '.join(broken)}" if broken else f"survives all {tested - 1} tested choices"
            )
        lines.append(f"{place}. {CLAIMS[claim]} **{state[0].upper()}{state[1:]}.**")
    return "\n".join(lines)


def details(found: Mapping[str, Mapping[str, Mapping[str, Reading]]]) -> Iterator[list[str]]:
    """Rows of the table of all readings."""
    for place, columns in enumerate(found.values(), 1):
        for column in COLUMNS:
            for choice, reading in columns.get(column, {}).items():
                state = "survives" if reading.survives else "does not"
                yield [str(place), column, choice, reading.text, str(reading.n), state, reading.remark]


def smaller(results: Path) -> str:
    """Says so where the run has fewer images than its study asks for."""
    asked = yaml.safe_load(STUDY.read_text(encoding="utf-8"))["datasets"]
    sizes = {name: (read(results / "tables", experiment, "scores")["image_id"].nunique(), asked[name].get("images", asked[name].get("grids")))
             for name, experiment in (("fashion_mnist", "choices"), ("few", "certified"), ("planted_cell", "located"))}  # fmt: skip
    less = [f"{found} of {wanted} images of `{name}`" for name, (found, wanted) in sizes.items() if found != wanted]
    return f"**A smaller run of that study: {', '.join(less)}.**\n\n" if less else ""


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"))
    parser.add_argument("--stamps", type=Path)
    parser.add_argument("--folds", type=Path)
    given = parser.parse_args()
    results = given.results
    stamps = None if given.stamps is None else given.stamps / "results" / "tables"
    found = readings(results, *(folder if folder and folder.is_dir() else None for folder in (stamps, given.folds)))
    order = {claim: found[claim] for claim in CLAIMS}
    table = [
        [f"{place}. {claim}", *(cell(claim, column, columns.get(column, {})) for column in COLUMNS)]
        for place, (claim, columns) in enumerate(order.items(), 1)
    ]
    print(
        "# Do the claims survive other choices?\n\n"
        "Written by `uv run vitfaith reproduce robustness`: the study `config/robustness.yaml`, then `tools/robustness.py`. Each claim is a "
        "statement that `tools/robustness_claims.py` tests.\n\n"
        f"{smaller(results)}{verdict(order)}\n\n## One choice changed at a time\n\n"
        "Each cell has the number that decides, with its 95 % interval over images. A claim survives where the whole interval supports it; of "
        "several choices in a column, the cell shows the one that supports it least. – : the number cannot depend on this choice.\n\n"
        f"{markdown_table(['claim', *COLUMNS], table)}\n\n"
        "Claims 1 to 6: `vit_patch4` on Fashion-MNIST, fill `image_mean`, K = 10; claim 7: a planted cell, K = 9. *Tie key*: the same maps scored under another "
        "key, which orders ties, places larger groups and draws noise. *Group arrangement*: equal groups, or groups weighted by sums. *In-domain network*: fine-tuned on "
        "images without a random share of their patches. *Seed*: other images, so other random maps, attacks and noise. *Resolution*: natural "
        "images of 112 px, where that study was run.\n\n## All readings\n\n"
        + markdown_table(["claim", "choice", "", "number", "n", "verdict", "remark"], list(details(order)))
    )  # fmt: skip


if __name__ == "__main__":
    main()

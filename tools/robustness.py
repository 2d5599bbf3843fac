"""Write docs/robustness.md: whether each claim of the findings survives other choices, from the results of config/robustness.yaml.

Run after that study, in its folder:
    python tools/robustness.py [results] [--stamps FOLDER] [--folds FOLDER] > docs/robustness.md
FOLDER is that of `vitfaith reproduce stamps`, and of `tools/stamps_crossfit.py`; without them the column of the resolution is not tested.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from findings_tables import listed, share
from provenance import changed, made
from robustness_claims import CLAIMS, Reading, support
from robustness_run import STUDY, Run

from vitfaith.tables.text import markdown_table

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
Columns = Mapping[str, Mapping[str, Reading]]
"""Column → name of the choice → reading of a claim."""
DEPENDS_NOT = {
    "dds": {"tie key", "group arrangement", "fill", "in-domain network"},
    "certified": {"tie key", "group arrangement", "fill", "in-domain network"},
}
"""Claim → choices that its number cannot depend on."""


def cell(claim: str, column: str, found: Mapping[str, Reading]) -> str:
    """A cell of the table: the reading of a column with the smallest margin."""
    if not found:
        return "–" if column in DEPENDS_NOT.get(claim, ()) else "not tested"
    name, worst = min(found.items(), key=lambda item: support(item[1]))
    verdict = "survives" if worst.survives else "**does not**"
    return f"{verdict}: {worst.text}" + (f" ({name})" if len(found) > 1 else "")


def broken_by(columns: Columns) -> list[str]:
    """Columns with a reading that does not support the claim."""
    return [c for c in COLUMNS if any(not reading.survives for reading in columns.get(c, {}).values())]


def summary(found: Mapping[str, Columns]) -> str:
    """The first paragraph: how many claims hold as published, which survive every tested choice, and which do not."""
    tested = {place: columns for place, columns in enumerate(found.values(), 1) if columns.get("as published")}
    broken = {place: broken_by(columns) for place, columns in tested.items()}
    hold = [place for place, choices in broken.items() if "as published" not in choices]
    robust = [place for place in hold if not broken[place]]
    fragile = [f"{place} (to {listed(broken[place])})" for place in hold if broken[place]]
    fail = [place for place in tested if place not in hold]
    told = [
        f"As published, {share(len(hold), len(tested))} tested claims hold on these data.",
        f"{_claims(robust)} every tested choice." if robust else "No claim survives every tested choice.",
        *([f"Not robust to all choices: {listed(fragile)}."] if fragile else []),
        *([f"Not supported as published: {listed(list(map(str, fail)))}."] if fail else []),
    ]
    return " ".join(told)


def _claims(places: list[int]) -> str:
    one = len(places) == 1
    return f"Claim{'' if one else 's'} {listed(list(map(str, places)))} survive{'s' if one else ''}"


def verdict(found: Mapping[str, Columns]) -> str:
    """The claims as a list: which survive everything tested, and what breaks the others."""
    lines = []
    for place, (claim, columns) in enumerate(found.items(), 1):
        broken, tested = broken_by(columns), sum(bool(columns.get(c)) for c in COLUMNS)
        if not columns.get("as published"):
            state = "not tested"
        elif "as published" in broken:
            state = f"does not hold as published; {tested - len(broken)} of {tested} columns support it"
        else:
            state = (
                f"holds; not robust to {', '.join(broken)}" if broken else f"survives all {tested - 1} tested choices"
            )
        lines.append(f"{place}. {CLAIMS[claim]} **{state[0].upper()}{state[1:]}.**")
    return "\n".join(lines)


def details(found: Mapping[str, Columns]) -> Iterator[list[str]]:
    """Rows of the table of all readings."""
    for place, columns in enumerate(found.values(), 1):
        for column in COLUMNS:
            for choice, reading in columns.get(column, {}).items():
                state = "survives" if reading.survives else "does not"
                yield [str(place), column, choice, reading.text, str(reading.n), state, reading.remark]


def smaller(run: Run) -> str:
    """Says so where the run has fewer images or experiments than its study asks for."""
    asked = yaml.safe_load(STUDY.read_text(encoding="utf-8"))
    missing = [name for name in asked["experiments"] if not (run.results / "tables" / f"experiment={name}").is_dir()]
    less = [f"without the experiments {', '.join(missing)}"] if missing else []
    for dataset, experiment in (("fashion_mnist", "choices"), ("few", "certified"), ("planted_cell", "located")):
        if experiment not in missing:
            wanted = asked["datasets"][dataset].get("images", asked["datasets"][dataset].get("grids"))
            found = run.table(experiment)["image_id"].nunique()
            less += [f"{found} of {wanted} images of `{dataset}`"] if found != wanted else []
    return f"**A smaller run of that study: {', '.join(less)}.**\n\n" if less else ""


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"))
    parser.add_argument("--stamps", type=Path)
    parser.add_argument("--folds", type=Path)
    given = parser.parse_args()
    stamps = None if given.stamps is None else given.stamps / "results" / "tables"
    run = Run(given.results, *(folder if folder and folder.is_dir() else None for folder in (stamps, given.folds)))
    found = run.readings()
    order = {claim: found[claim] for claim in CLAIMS}
    table = [
        [f"{place}. {claim}", *(cell(claim, column, columns.get(column, {})) for column in COLUMNS)]
        for place, (claim, columns) in enumerate(order.items(), 1)
    ]
    print(
        f"# Do the claims survive other choices?\n\n{summary(order)} A claim holds where the whole interval of its number supports it.\n\n"
        f"{made('robustness', given.results, intervals='95 % bootstrap intervals over images')}\n\n"
        "Each claim is a statement that `tools/robustness_claims.py` tests.\n\n"
        f"{smaller(run)}{verdict(order)}\n\n## One choice changed at a time\n\n"
        "Each cell has the number that decides, with its 95 % interval over images. A claim survives where the whole interval supports it; of "
        "several choices in a column, the cell shows the one that supports it least. – : the number cannot depend on this choice.\n\n"
        f"{markdown_table(['claim', *COLUMNS], table)}\n\n"
        "Claims 1 to 6: `vit_patch4` on Fashion-MNIST, fill `image_mean`, K = 10; claim 7: a planted cell, K = 9. *Tie key*: the same maps scored under another "
        "key, which orders ties, places larger groups and draws noise. *Group arrangement*: equal groups, or groups weighted by sums. *In-domain network*: fine-tuned on "
        "images without a random share of their patches. *Seed*: other images, so other random maps, attacks and noise. *Resolution*: natural "
        "images of 112 px, where that study was run.\n\n## All readings\n\n"
        + markdown_table(["claim", "choice", "", "number", "n", "verdict", "remark"], list(details(order)))
        + (f"\n{text.rstrip()}" if (text := changed("robustness")) else "")
    )  # fmt: skip


if __name__ == "__main__":
    main()

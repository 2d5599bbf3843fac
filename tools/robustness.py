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
from robustness_claims import CLAIMS
from robustness_reading import Reading, support
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
NOTES = """As published: `vit_patch4` on Fashion-MNIST. Claims 1 to 3 have the fill `image_mean` and K = 10, claim 6 the fills placeholder and noise and
K = 10. Claim 4 has PGD of 8/255 and the top 20 % of patches, claim 5 the top 5 patches. Claim 7 has a planted cell and K = 9.

- *Tie key*: the same maps scored under another key, which orders ties, places larger groups and draws noise.
- *Group arrangement*: equal groups, which need K = 7 (it divides the 49 patches), or groups weighted by sums.
- *Fill*: of claim 6 each other fill alone.
- *In-domain network*: fine-tuned on images without a random share of their patches. It has no placeholder, so claim 6 is read behind noise alone.
- *Seed*: other images, so other random maps, attacks and noise; of claim 7 other images alone.
- *Model*: of claim 7 the counting task, which has another network and another truth.
- *Resolution*: natural images of 112 px, so also another network and other data; claim 4 has a weaker attack there.

[Findings](findings.md) asks for more than these claims do: random maps within ±0.03, a gain of older metrics also by the interval of the mean
difference, and a gain in each comparison of the 2 × 2."""
NEITHER_RANKED_NOR_FILLED = frozenset({"tie key", "group arrangement", "fill"})
DEPENDS_NOT = {"dds": NEITHER_RANKED_NOR_FILLED, "certified": NEITHER_RANKED_NOR_FILLED}
"""Claim → choices that its number cannot depend on."""
BOLD = {"contradicted": "**contradicted**"}


def cell(claim: str, column: str, found: Mapping[str, Reading]) -> str:
    """A cell of the table: the reading of a column with the smallest margin, of the defined ones."""
    if not found:
        return "–" if column in DEPENDS_NOT.get(claim, ()) else "not tested"
    defined = {name: reading for name, reading in found.items() if reading.state != "undefined"}
    name, worst = min((defined or found).items(), key=lambda item: support(item[1]))
    if not defined:
        return "not compared" if worst.remark.startswith("not compared") else "undefined"
    return f"{BOLD.get(worst.state, worst.state)}: {worst.text}" + (f" ({name})" if len(found) > 1 else "")


def states(columns: Columns) -> dict[str, str]:
    """Column → ``contradicted`` where one of its readings is, else ``open`` where one is, else ``survives``; without undefined ones."""
    found = {}
    for column in COLUMNS:
        known = {reading.state for reading in columns.get(column, {}).values()} - {"undefined"}
        if known:
            found[column] = next(state for state in ("contradicted", "open", "survives") if state in known)
    return found


def named(columns: Columns, state: str) -> list[str]:
    """The columns with a state, without the published choice; of several choices those with the state are named."""
    found = []
    for column in (column for column, known in states(columns).items() if known == state and column != "as published"):
        choices = [choice for choice, reading in columns[column].items() if reading.state == state]
        found.append(f"{column} {', '.join(choices)}" if len(columns[column]) > 1 else column)
    return found


def against(columns: Columns, words: Mapping[str, str]) -> list[str]:
    """What speaks against a claim: the words for a state, and the columns that have it."""
    return [f"{word} {listed(found)}" for state, word in words.items() if (found := named(columns, state))]


def summary(found: Mapping[str, Columns]) -> str:
    """The first paragraph: how many claims hold as published, which survive every tested choice, and which do not."""
    every = dict(enumerate(found.values(), 1))
    tested = {place: states(columns) for place, columns in every.items()}
    tested = {place: known for place, known in tested.items() if "as published" in known}
    published = {
        state: [place for place, known in tested.items() if known["as published"] == state]
        for state in ("survives", "open", "contradicted")
    }
    robust = [
        place
        for place in published["survives"]
        if len(tested[place]) > 1 and set(tested[place].values()) == {"survives"}
    ]
    fragile = [place for place in published["survives"] if place not in robust]
    told = [
        f"As published, {share(len(published['survives']), len(tested))} tested claims hold on these data"
        f"{_and('open', published['open'])}{_and('contradicted', published['contradicted'])}.",
        f"{_claims(robust)} every tested choice." if robust else "No claim survives every tested choice.",
    ]
    for place in fragile:
        broken = against(every[place], {"contradicted": "contradicted by", "open": "left open by"})
        told += [f"Claim {place} holds as published and is {listed(broken)}."] if broken else []
    return " ".join(told)


def _and(state: str, places: list[int]) -> str:
    """How many claims are in a state as published, and which."""
    verb = "is" if len(places) == 1 else "are"
    return f"; {len(places)} {verb} {state} ({', '.join(map(str, places))})" if places else ""


def _claims(places: list[int]) -> str:
    one = len(places) == 1
    return f"Claim{'' if one else 's'} {listed(list(map(str, places)))} survive{'s' if one else ''}"


def verdict(found: Mapping[str, Columns]) -> str:
    """The claims as a list: which survive everything tested, and what breaks the others."""
    lines = []
    for place, (claim, columns) in enumerate(found.items(), 1):
        known = states(columns)
        others = {column: state for column, state in known.items() if column != "as published"}
        supporting = sum(state == "survives" for state in known.values())
        parts = against(columns, {"contradicted": "contradicted by", "open": "open for"})
        if "as published" not in known:
            state = "not tested"
        elif known["as published"] != "survives":
            text = "contradicted as published" if known["as published"] == "contradicted" else "open as published"
            state = f"{text}; {supporting} of {len(known)} columns support it in all their readings"
        elif not others:
            state = "holds as published; no other choice is tested"
        else:
            state = f"holds; {'; '.join(parts)}" if parts else f"survives all {len(others)} tested choices"
        lines.append(f"{place}. {CLAIMS[claim]} **{state[0].upper()}{state[1:]}.**")
    return "\n".join(lines)


def details(found: Mapping[str, Columns]) -> Iterator[list[str]]:
    """Rows of the table of all readings."""
    for place, columns in enumerate(found.values(), 1):
        for column in COLUMNS:
            for choice, reading in columns.get(column, {}).items():
                yield [str(place), column, choice, reading.text, str(reading.n), reading.state, reading.remark]


def smaller(run: Run) -> str:
    """Says so where the run has fewer images or experiments than its study asks for."""
    asked = yaml.safe_load(STUDY.read_text(encoding="utf-8"))
    missing = [name for name in asked["experiments"] if not (run.results / "tables" / f"experiment={name}").is_dir()]
    less = [f"without the experiments {', '.join(missing)}"] if missing else []
    for experiment, settings in asked["experiments"].items():
        if experiment not in missing:
            datasets = [asked["datasets"][name] for name in settings["datasets"]]
            wanted = sum(dataset.get("images", dataset.get("grids")) for dataset in datasets)
            found = run.table(experiment)["image_id"].nunique()
            less += [f"{found} of {wanted} images in `{experiment}`"] if found != wanted else []
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
    line = made(
        "robustness",
        given.results,
        intervals="95 % bootstrap intervals over images",
        count="n of each reading in the last table",
    )
    print(
        f"# Do the claims survive other choices?\n\n{summary(order)} A claim survives a choice where the whole interval of its number agrees, is "
        "contradicted where the whole interval disagrees, and is open where the interval lies on both sides.\n\n"
        f"{line}\n\nEach claim is a statement that `tools/robustness_claims.py` tests.\n\n"
        f"{smaller(run)}{verdict(order)}\n\n## One choice changed at a time\n\n"
        "Each cell has the number that decides, with its 95 % interval over images; of several choices in a column, the cell shows the one with the "
        "least support. *As published* is explained below the table. – : the number cannot depend on this choice.\n\n"
        f"{markdown_table(['claim', *COLUMNS], table)}\n\n{NOTES}\n\n## All readings\n\n"
        + markdown_table(["claim", "choice", "", "number", "n (of cut-outs where these are several images)", "state", "remark"], list(details(order)))
        + (f"\n{text.rstrip()}" if (text := changed("robustness")) else "")
    )  # fmt: skip


if __name__ == "__main__":
    main()

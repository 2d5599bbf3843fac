"""Print the table of docs/trust.md on the counting task, as `vitfaith trust` does, with a line of provenance above it.

Run after `snakemake --configfile config/trust.yaml`:
    python tools/trust_study.py [results] [--figure FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from provenance import made

from vitfaith.compare.trusted import draw, trust_of_folders, trust_text

CHOSEN = {"dataset": "counted_cells"}
TRUTH = ["admissible_mask auroc"]


def main() -> None:
    """Print the line and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"))
    parser.add_argument("--figure", type=Path, help="draw the table into this file")
    given = parser.parse_args()
    table = trust_of_folders(given.results, CHOSEN, TRUTH, {})
    if given.figure:
        draw(table, given.figure)
    print(f"{made('trust', given.results)}\n\n{trust_text(table, 'markdown')}", end="")


if __name__ == "__main__":
    main()

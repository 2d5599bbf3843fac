"""``python -m tests.fuzz N [SEED]``: N mutated inputs for configurations, datasets and external maps each."""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

from tests.fuzz.targets import GROUPS, TARGETS


def main() -> int:
    """Try and print; the exit status is 1 where an error was no VitfaithError."""
    given = [int(value) for value in sys.argv[1:]]
    count, start = given[0] if given else 2000, given[1] if len(given) > 1 else 0
    failed = 0
    for group in GROUPS:
        names = [name for name in TARGETS if name.startswith(group)]
        total: Counter[str] = Counter()
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    outcomes = TARGETS[name](Path(folder), -(-count // len(names)), start)
                except Exception:
                    failed += 1
                    traceback.print_exc()
                    print(f"{name}: not clear", flush=True)
                    continue
            total += outcomes
            print(f"{name}: {outcomes.total()} tried, {outcomes['refused']} refused, all clear", flush=True)
        print(f"{group}: {total.total()} tried and clear, {total['refused']} of them refused", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

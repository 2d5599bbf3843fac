"""Refused submissions: which pass by themselves, and how long to wait for them."""

from __future__ import annotations

import re
from collections.abc import Iterator

_PASSES = re.compile(
    r"MaxSubmit|MaxJobs?(Count|Limit|PU|PA)|job submit limit|temporarily unable|Resource temporarily unavailable"
    r"|timed out|Unable to contact|Connection (refused|reset|timed)|Zero Bytes|Transport endpoint|try again",
    re.IGNORECASE,
)
_LIMIT = re.compile("MaxSubmit|MaxJob|job submit limit|temporarily unable", re.IGNORECASE)

FIRST = 10.0
LONGEST = 300.0
IN_ALL = 6 * 3600.0
"""Seconds of the first pause, of the longest, and of all together. Each pause is twice the one before."""


def passes(message: str) -> bool:
    """Whether what sbatch said will end without anybody changing the job: a full queue, or a controller that is away."""
    return _PASSES.search(message) is not None


def advice(message: str) -> str:
    """Advice for a temporary refusal."""
    if _LIMIT.search(message):
        return (
            "the cluster takes no more jobs of yours for now. `jobs:` in the profile should be below your MaxSubmitJobs: "
            "sacctmgr show assoc user=$USER format=account,maxjobs,maxsubmitjobs,qos; sacctmgr show qos "
            "format=name,maxsubmitjobsperuser"
        )
    return "the cluster does not answer"


def pauses(first: float = FIRST) -> Iterator[float]:
    """Seconds to wait before each further try; ends when they amount to :data:`IN_ALL`."""
    spent, pause = 0.0, first
    while spent < IN_ALL:
        yield pause
        spent += pause
        pause = min(2 * pause, LONGEST)


def sentence(message: str) -> str:
    """The message of sbatch within the plugin's report of a failed submission."""
    found = re.search(r"The error message was '(.*?)'\.?\n", message + "\n", re.DOTALL)
    text = found.group(1) if found else message
    return "; ".join(dict.fromkeys(line.removeprefix("sbatch: error: ").strip() for line in text.strip().splitlines()))

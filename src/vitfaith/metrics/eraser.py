"""Comprehensiveness and sufficiency as ERASER defines them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vitfaith.metrics.common import LevelParameters, ReadOut, aopc, read_outs
from vitfaith.metrics.engine.requests import Grid, KeptShares, Shares

ERASER = "DeYoung et al., ERASER, ACL 2020"


class ShareParameters(LevelParameters):
    """Shares of the features that count as the rationale; at least one feature (⌈share·P⌉)."""

    shares: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.01, 0.05, 0.1, 0.2, 0.5), min_length=1, description="shares of the features that count as the rationale"
    )

    @property
    def grid(self) -> Grid:
        """Removal of the shares."""
        return Shares(self.shares)


class KeptShareParameters(ShareParameters):
    """Shares of the features that are kept; at least one feature (⌈share·P⌉)."""

    @property
    def grid(self) -> Grid:
        """Removal of everything but the shares."""
        return KeptShares(self.shares)


read_outs(
    __name__,
    ShareParameters,
    ReadOut(
        "comprehensiveness",
        "Mean fall of the target's probability when the most relevant share of the features is removed.\n\n"
        "The mean is over the shares, as in ERASER's code; its paper's formula divides by one more.",
        ("morf",),
        aopc,
        direction="higher",
        value_range="[−1, 1]",
        formula="mean over shares q of p(0) − p(top q removed)",
        citation=ERASER,
    ),
)

read_outs(
    __name__,
    KeptShareParameters,
    ReadOut(
        "sufficiency",
        "Mean fall of the target's probability when only the most relevant share of the features is kept.\n\n"
        "The sufficiency of Dasgupta et al. (ICML 2022) is a different measure, between images; vitfaith does not have it.",
        ("lerf",),
        aopc,
        direction="lower",
        value_range="[−1, 1]",
        formula="mean over shares q of p(0) − p(all but top q removed)",
        citation=ERASER,
    ),
)

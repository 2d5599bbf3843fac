"""What a comparison with something from outside is."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Pair = tuple[Tensor, Tensor]
"""Ours and the oracle's, of one shape."""


@dataclass(frozen=True)
class Oracle:
    """One comparison: of what, with what, what that is (for the table), to which relative error."""

    subject: str
    source: str
    remark: str
    tolerance: float
    pair: Callable[[], Pair]

    def __str__(self) -> str:
        return f"{self.subject}-{self.source}-{self.remark}"

    def errors(self) -> tuple[float, float]:
        """Largest absolute difference, and the same relative to the largest magnitude of the oracle's output."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # packages warn of their own settings
            found, expected = self.pair()
        assert found.shape == expected.shape
        expected = expected.detach()
        assert bool((expected.flatten() != expected.flatten()[0]).any()), "an oracle that answers nothing"
        absolute = float((found.to(expected) - expected).abs().max())
        return absolute, absolute / float(expected.abs().max())

    def error(self) -> float:
        """The relative one, which ``tolerance`` bounds."""
        return self.errors()[1]

"""The smoothings: noise, samples and mode, one row each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from vitfaith.noise import certified_noise
from vitfaith.smoothings.registry import SMOOTHINGS


def smoothing_table(specs: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Settings of each smoothing: ``kind`` (registered name), ``mode``, ``noise``, ``sigma`` and ``samples``.

    No smoothing has σ = 0, no law of noise and one sample; a smoothing of a user's own that has no such setting has NaN and 0.
    """
    rows = []
    for name, spec in specs.items():
        smoothing = SMOOTHINGS.from_spec(spec)
        none, parameters = smoothing.name == "none", smoothing.parameters
        rows.append(
            {
                "smoothing": name,
                "kind": smoothing.name,
                "mode": str(getattr(parameters, "mode", "")),
                "noise": "" if none else certified_noise(parameters),
                "sigma": 0.0 if none else float(getattr(parameters, "sigma", float("nan"))),
                "samples": 1 if none else int(getattr(parameters, "samples", 0)),
            }
        )
    return pd.DataFrame(rows, columns=["smoothing", "kind", "mode", "noise", "sigma", "samples"])

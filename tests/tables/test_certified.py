"""The law of the noise and the l1 radius beside the stored radii."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vitfaith.tables.certified import with_norms
from vitfaith.tables.smoothings import smoothing_table

SPECS = {
    "none": {"use": "none"},
    "plain": {"use": "dds", "sigma": 0.25, "samples": 4, "denoiser": "d"},
    "flat": {"use": "dds", "sigma": 0.25, "samples": 4, "denoiser": "d", "noise": "uniform"},
}


def test_l1_by_hand() -> None:
    rows = pd.DataFrame(
        {
            "smoothing": ["plain", "flat", "flat", "flat", "flat"],
            "certificate": ["votes", "votes", "votes", "votes", "other"],
            "radius": [0.6, 0.6, 0.0, np.nan, 0.6],
            "linf": [0.1, 0.1, 0.0, np.nan, 0.1],
        }
    )
    norms = {"votes": {"gaussian": "l2", "uniform": "l1"}, "other": {"gaussian": "l2", "uniform": "l2"}}
    found = with_norms(rows, SPECS, norms)
    assert found["noise"].tolist() == ["gaussian", *["uniform"] * 4]
    np.testing.assert_allclose(found["l1"], [0.6, 3.6, 0.0, np.nan, 0.6])  # d = 36
    assert with_norms(rows.iloc[:0], SPECS, {}).empty
    assert with_norms(rows.iloc[:0].drop(columns="smoothing"), SPECS, {}).empty
    assert with_norms(rows.astype({"smoothing": "category"}), SPECS, norms)["noise"].tolist() == found["noise"].tolist()


def test_smoothings_name_the_law_of_their_noise() -> None:
    assert smoothing_table(SPECS)["noise"].tolist() == ["", "gaussian", "uniform"]

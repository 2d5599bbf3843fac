"""The table of curves: one row a step, also where images differ in the share that a step replaces."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vitfaith.tables.collect import CONDITION
from vitfaith.tables.curves import curve_table

WHERE = dict(zip(CONDITION, ("d", "m", "clean", "none", "clean_prediction"), strict=True))


def rows(curve: str, shares: list[list[float]]) -> pd.DataFrame:
    """Rows of the table curves: shares (images, steps), probabilities that tell image and step."""
    image, step = np.indices(np.shape(shares)).reshape(2, -1)
    columns = {"image_id": [f"image-{i}" for i in image], "method": "a", "curve": curve, "variant": "v", "step": step}
    values = {"fraction": np.ravel(shares).astype(np.float32), "probability": image + 10.0 * step, "kl": 0.5 * image}
    return pd.DataFrame({**WHERE, **columns, **values})


def test_one_row_a_step_with_the_mean_share() -> None:
    """Groups of 4 and 5 of 9 features: in which order hangs on the image."""
    groups = rows("groups", [[4 / 9, 5 / 9], [5 / 9, 4 / 9], [5 / 9, 4 / 9]])
    morf = rows("morf", [[0.1, 0.3]] * 3)
    table = curve_table(pd.concat([groups, morf]), resamples=50)
    assert len(table) == 2 * 2 * 2
    assert set(table.n) == {3}
    part = table[(table.quantity == "probability") & (table.curve == "groups")].sort_values("step")
    assert part.fraction.tolist() == pytest.approx([14 / 27, 13 / 27])
    assert part["mean"].tolist() == [1.0, 11.0]
    equal = table[(table.quantity == "kl") & (table.curve == "morf")].sort_values("step")
    assert equal.fraction.dtype == np.float32
    assert equal.fraction.tolist() == np.array([0.1, 0.3], np.float32).tolist()
    assert equal["mean"].tolist() == [0.5, 0.5]


def test_images_with_fewer_superpixels_leave_the_last_steps() -> None:
    curves = pd.concat([rows("morf", [[0, 0.5, 1.0]]), rows("morf", [[0, 1.0]]).assign(image_id="image-1")])
    table = curve_table(curves, resamples=50)
    part = table[table.quantity == "probability"].sort_values("step")
    assert part.n.tolist() == [2, 2, 1]
    assert part.fraction.tolist() == [0, 0.75, 1]

"""The table that a stability job writes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from vitfaith.artifacts.schemas import STABILITY
from vitfaith.errors import ConfigError, InputError
from vitfaith.stability.compare import stability_table
from vitfaith.stability.registry import STABILITY_MEASURES


def test_one_row_for_each_image_metric_and_variant() -> None:
    rng = np.random.default_rng(0)
    maps, reference = rng.random((3, 2, 2)), rng.random((3, 2, 2))
    maps[1] = 1.0
    measures = {
        "overlap": STABILITY_MEASURES.item("top_k_overlap", k=(1, 0.5)),
        "rank": STABILITY_MEASURES.item("spearman"),
    }
    table = stability_table(["a", "b", "c"], "rollout", "clean", maps, reference, measures)
    assert table.schema == STABILITY
    frame = table.to_pandas()
    assert list(zip(frame.metric, frame.variant, frame.image_id, strict=True)) == [
        (metric, variant, image)
        for metric, variant in [
            ("overlap", "k=1"),
            ("overlap", "k=0.5"),
            ("overlap", "k=1 ceiling"),
            ("overlap", "k=0.5 ceiling"),
            ("overlap", "k=1 chance"),
            ("overlap", "k=0.5 chance"),
            ("rank", ""),
        ]
        for image in "abc"
    ]
    assert (frame.method == "rollout").all()
    assert (frame.reference == "clean").all()
    assert (frame.flag == np.where(frame.image_id == "b", "constant", "")).all()
    assert (frame.value.isna() == (frame.flag != "")).all()


@pytest.mark.parametrize("count", [0, 2])
def test_no_row_is_lost_when_no_map_is_sound(count: int) -> None:
    ids = ["a", "b"][:count]
    measures = {"overlap": STABILITY_MEASURES.item("top_k_overlap", k=(1, 2, 3))}
    table = stability_table(ids, "m", "clean", np.ones((count, 2, 2)), np.ones((count, 2, 2)), measures)
    assert table.num_rows == 9 * count  # three overlaps, their ceilings and chance levels
    assert set(table["flag"].to_pylist()) <= {"constant"}
    assert pa.compute.all(pa.compute.is_nan(table["value"])).as_py() in (True, None)


def test_errors_name_the_argument() -> None:
    with pytest.raises(InputError, match="image_ids has 1 names for 2 maps"):
        stability_table(["a"], "m", "clean", np.ones((2, 2, 2)), np.ones((2, 2, 2)), {})
    with pytest.raises(ConfigError, match="did you mean 'spearman'"):
        stability_table(
            ["a"], "m", "r", np.ones((1, 2, 2)), np.ones((1, 2, 2)), {"x": STABILITY_MEASURES.item("spaerman")}
        )


def test_pairs_that_explain_different_classes_are_flagged() -> None:
    maps = np.random.default_rng(3).random((3, 2, 2))
    maps[2] = 1.0
    moved = np.array([False, True, True])
    measures = {"rank": STABILITY_MEASURES.item("spearman")}
    frame = stability_table(["a", "b", "c"], "rollout", "clean", maps, maps, measures, moved).to_pandas()
    assert frame.flag.tolist() == ["", "other class", "constant"]
    assert frame.value.fillna(-9).round(6).tolist() == [1.0, -9.0, -9.0]

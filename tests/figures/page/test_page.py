"""The page's data: every number of the tables, pictures that are the pixels, nothing that can break out of it."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.figures.page import toy
from vitfaith.errors import ArtifactError
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.page.charts import charts
from vitfaith.figures.page.library import library
from vitfaith.figures.page.sample import LETTERS, bit_text, map_texts, sample_data
from vitfaith.fingerprint import fingerprint
from vitfaith.stages.page import run_page


@pytest.fixture
def page(tmp_path: Path) -> Path:
    toy.write_tables(tmp_path)
    run_page(toy.SPEC, "", tmp_path, tmp_path / "page.html")
    return tmp_path / "page.html"


def data_of(page: Path) -> dict[str, Any]:
    held = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert held
    return dict(json.loads(held.group(1)))


def unpacked(table: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(
        {n: c if isinstance(c, list) else [c["levels"][i] for i in c["codes"]] for n, c in table.items()}
    )


def decoded(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,")))))


def sample(**changed: Any) -> dict[str, Any]:
    frames = {n.removeprefix("sample_"): pd.DataFrame(rows) for n, rows in toy.sampled().items()}
    return sample_data(**frames, style=Style(), total=9, **changed)


def test_the_page_holds_the_tables(page: Path) -> None:
    data = data_of(page)
    assert data["experiment"] == "toy </script><b>"
    assert "toy </script>" not in page.read_text()
    board = unpacked(data["board"])
    summary = pd.read_parquet(page.with_name("summary.parquet"))
    assert board["mean"].tolist() == pytest.approx(summary["mean"].tolist())
    pairs = unpacked(data["pairs"])
    conditions = pd.read_parquet(page.with_name("conditions.parquet"))
    for column in ("difference", "low", "high", "p_adjusted"):
        assert pairs[column].tolist() == pytest.approx(conditions[column].tolist())
    curves = unpacked(data["curves"])
    assert len(curves) == 2 * 3 * 5
    assert curves["high"].isna().all()


def test_stars_are_adjusted_over_the_tests_against_random(page: Path) -> None:
    """Two methods against Random in each column: the smaller p times two."""
    board = unpacked(data_of(page)["board"])
    rows = board[(board.attack == "clean") & (board.metric == "saco")].set_index("method")
    assert rows.p_adjusted["rollout"] == pytest.approx(0.0008)
    assert rows.p_adjusted["raw_attention"] == pytest.approx(0.3)
    assert np.isnan(rows.p_adjusted["random"])


def test_explained_classes_are_compared_too(tmp_path: Path) -> None:
    toy.write_tables(tmp_path)
    keys = {
        **toy.HERE,
        "attack": "clean",
        "opponent": "prediction",
        "method": "rollout",
        "metric": "saco",
        "variant": "",
    }
    numbers = {"n": 8, "difference": 0.25, "low": 0.1, "high": 0.4, "p_adjusted": 0.01}
    pd.DataFrame([{**keys, **numbers}]).to_parquet(tmp_path / "explained.parquet")
    run_page(toy.SPEC, "", tmp_path, tmp_path / "page.html")
    row = unpacked(data_of(tmp_path / "page.html")["pairs"]).iloc[-1]
    assert (row.axis, row.other, row.difference) == ("explained", "prediction", 0.25)


def test_images_come_in_the_order_of_the_draw(page: Path) -> None:
    data = data_of(page)["sample"]
    assert [image["name"] for image in data["images"]] == ["image-2", "image-0", "image-1"]
    assert data["drawn"] == {"number": 3, "asked": 3, "total": 9, "reason": False}
    assert len(data["entries"]) == 6
    condition, image, picture, target, prediction, probability, maps = data["entries"][1]
    assert data["conditions"][condition] == ["toy", "vit", "pgd", "none", "clean_prediction"]
    assert (image, target, prediction, probability) == (0, 2, 1, 0.7)
    np.testing.assert_array_equal(decoded(data["pictures"][picture]), toy.PIXELS)
    rows, columns, text, broken, scores = maps[data["methods"].index("rollout")]
    assert (rows, columns, text) == (2, 2, "AV" + "q/")
    assert broken == {"patch zero k=4": [4, bit_text(toy.BROKEN)]}
    assert scores == [0.7, 0.7]
    assert data["scores"] == ["saco\x01k=4\x01", "deletion_auc\x01\x01"]


def test_a_map_without_contrast_has_no_colours() -> None:
    entry = next(e for e in sample()["entries"] if e[1] == 2)
    assert {one[2] for one in entry[6]} == {""}
    assert entry[6][0][3] == {}
    assert entry[6][0][4] == [None, None]


def test_names_of_classes() -> None:
    found = sample()
    assert found["classes"] == {"toy\x01vit": {"0": "shirt", "1": "sandal"}}
    assert [image["label"] for image in found["images"]] == ["class 2", "shirt", "sandal"]


def test_each_picture_is_embedded_once(page: Path) -> None:
    data = data_of(page)["sample"]
    assert len(set(data["pictures"])) == len(data["pictures"]) == page.read_text().count("data:image/png") == 1


def test_images_that_do_not_fit_are_left_out_from_the_end() -> None:
    whole = len(json.dumps(sample()["entries"]))
    fewer = sample(room=whole * 2 // 3)
    assert fewer["drawn"] == {"number": 1, "asked": 3, "total": 9, "reason": True}
    assert [image["name"] for image in fewer["images"]] == ["image-2"]
    assert {entry[1] for entry in fewer["entries"]} == {0}
    assert sample(room=0)["drawn"]["number"] == 0


def test_letters_of_maps_and_bits() -> None:
    assert map_texts(np.array([[0.0, 1, 0.5, 1 / 63], [5, 5, 5, 5], [np.nan, 0, 1, 2]])) == ["A/gB", "", ""]
    assert bit_text([True] + 5 * [False] + [True]) == LETTERS[32] + LETTERS[32]
    assert bit_text([]) == ""


def test_charts_are_valid_and_scripts_stay_inside_their_element(page: Path) -> None:
    import vl_convert

    for name, chart in charts().items():  # Altair checks each against its schema when it is made
        assert vl_convert.vegalite_to_vega(chart | {"width": 300}), name
    assert "</script" not in library()
    text = page.read_text()
    assert text.count("<script") == text.count("</script") == 3
    text = text.replace(library(), "")
    assert not re.search(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(?!data:)', text), "the page reaches outside"
    assert "default-src 'none'" in text


def test_templates_count_as_code(monkeypatch: pytest.MonkeyPatch) -> None:
    from vitfaith import fingerprint as module

    before = fingerprint(["vitfaith.figures.page.charts"]), fingerprint(["vitfaith.statistics.paired"])
    known = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: known(path) + (b"!" if path.name == "board.js" else b""))
    module._digest_of_data.cache_clear()
    after = fingerprint(["vitfaith.figures.page.charts"]), fingerprint(["vitfaith.statistics.paired"])
    module._digest_of_data.cache_clear()
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_equal_tables_give_equal_bytes(page: Path) -> None:
    again = page.with_name("again.html")
    run_page(toy.SPEC, "", page.parent, again)
    assert page.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("name", ["summary", "conditions", "sample_pairs"])
def test_a_missing_table_is_named(name: str, tmp_path: Path) -> None:
    toy.write_tables(tmp_path)
    (tmp_path / f"{name}.parquet").unlink()
    with pytest.raises(ArtifactError, match=rf"{name}\.parquet.*run the tables stage"):
        run_page(toy.SPEC, "", tmp_path, tmp_path / "page.html")

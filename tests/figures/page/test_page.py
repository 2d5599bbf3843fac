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

from vitfaith.errors import ArtifactError
from vitfaith.stages.page import run_page

SPEC: dict[str, Any] = {
    "experiment": "toy </script><b>",
    "seed": 3,
    "statistics": {"confidence": 0.9, "resamples": 100, "coverage": 0.9},
    "directions": {"saco": "higher", "deletion_auc": "lower"},
    "style": {},
}
METHODS = {"random": 0.0, "raw_attention": 0.2, "rollout": 0.5}
HERE = {"dataset": "toy", "model": "vit", "smoothing": "none", "explained": "clean_prediction"}
PIXELS = np.arange(16, dtype=np.uint8).reshape(1, 4, 4) * 16


def write_tables(folder: Path) -> None:
    """Tables of two conditions, two metrics and three methods."""
    summary, curves, gallery = [], [], []
    for attack, sign in (("clean", 1), ("pgd", -0.4)):
        for method, mean in METHODS.items():
            value = sign * mean if method == "rollout" else mean
            keys = {**HERE, "attack": attack, "method": method}
            for metric, number in (("saco", value), ("deletion_auc", 0.1 + mean)):
                row = {"metric": metric, "variant": "k=10" if metric == "saco" else "", "reference": ""}
                bounds = {"mean": number, "low": number - 0.1, "high": number + 0.1, "n": 8, "flagged": 1}
                own = {"compared": True, "asked": 9, "n_own": 8, "mean_own": number}
                summary.append(keys | row | bounds | own)
            for step in range(5):
                line = {"curve": "morf", "variant": "steps=4", "step": step, "fraction": step / 4}
                probability = 0.9 - mean * step / 4
                shown = {
                    "mean": probability,
                    "low": probability - 0.1,
                    "high": np.nan,
                    "n": 8,
                    "compared": True,
                    "quantity": "probability",
                }
                curves.append(keys | line | shown)
            for i, role in enumerate(("best", "median", "worst")):
                picture = {"channels": 1, "height": 4, "width": 4, "pixels": PIXELS.tobytes()}
                values = np.zeros(4) if role == "worst" else np.array([0.0, 1, 2, 3])
                told = {"target": 1, "prediction": i, "prediction_probability": 0.7, "saco": np.nan, "role": role}
                told["prediction_name"] = "sandal" if i else None
                gallery.append(
                    keys | picture | told | {"image_id": f"image-{i}", "rows": 2, "columns": 2, "map": values}
                )
    for name, rows in (("summary", summary), ("curves", curves), ("gallery", gallery)):
        pd.DataFrame(rows).to_parquet(folder / f"{name}.parquet")


def data_of(page: Path) -> dict[str, Any]:
    held = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert held
    return dict(json.loads(held.group(1)))


def decoded(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,")))))


def test_the_page_holds_the_tables(tmp_path: Path) -> None:
    write_tables(tmp_path)
    run_page(SPEC, "", tmp_path, tmp_path / "page.html")
    data = data_of(tmp_path / "page.html")
    assert data["experiment"] == "toy </script><b>"
    assert "toy </script>" not in (tmp_path / "page.html").read_text()
    summary = pd.read_parquet(tmp_path / "summary.parquet")
    assert [row["mean"] for row in data["board"]] == pytest.approx(summary["mean"].tolist())
    assert len(data["curves"]) == 6
    assert data["curves"][0]["high"] == [None] * 5
    entry = next(e for e in data["gallery"] if e["role"] == "best" and e["attack"] == "pgd")
    pictures = data["pictures"]
    np.testing.assert_array_equal(decoded(pictures[entry["picture"]])[..., 0], PIXELS[0])
    shown = decoded(pictures[entry["maps"]["rollout"]["picture"]])
    assert shown.shape == (2, 2, 3)
    assert len(np.unique(shown.reshape(4, 3), axis=0)) == 4
    worst = next(e for e in data["gallery"] if e["role"] == "worst")
    assert (decoded(pictures[worst["maps"]["random"]["picture"]]) == 204).all(), (
        "a constant map looks like one with contrast"
    )
    assert worst["maps"]["random"]["saco"] is None
    assert {e["name"] for e in data["gallery"]} == {"class 0", "sandal"}


def test_each_picture_is_embedded_once(tmp_path: Path) -> None:
    """Two conditions and three images show one picture, one map, and one grey square."""
    write_tables(tmp_path)
    run_page(SPEC, "", tmp_path, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    data = data_of(tmp_path / "page.html")
    assert len(data["gallery"]) == 6
    assert len(set(data["pictures"])) == len(data["pictures"]) == text.count("data:image/png") == 3


def test_equal_tables_give_equal_bytes(tmp_path: Path) -> None:
    write_tables(tmp_path)
    for name in ("a.html", "b.html"):
        run_page(SPEC, "", tmp_path, tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"summary\.parquet.*run the tables stage"):
        run_page(SPEC, "", tmp_path, tmp_path / "page.html")

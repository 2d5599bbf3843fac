"""Tables of a toy experiment: two attacks, two metrics, three methods, three images of two pixels' worth of classes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

SPEC: dict[str, Any] = {
    "experiment": "toy </script><b>",
    "images": 9,
    "seed": 3,
    "statistics": {"confidence": 0.9, "resamples": 100, "coverage": 0.9},
    "directions": {"saco": "higher", "deletion_auc": "lower"},
    "style": {},
}
METHODS = {"random": 0.0, "raw_attention": 0.2, "rollout": 0.5}
HERE = {"dataset": "toy", "model": "vit", "smoothing": "none", "explained": "clean_prediction"}
UNITS = {"saco": "k=4", "deletion_auc": ""}
PIXELS = np.arange(16, dtype=np.uint8).reshape(4, 4) * 16
BROKEN = [True, False, False, False, False, True]


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def mean_of(attack: str, method: str, metric: str) -> float:
    mean = METHODS[method] * (-0.4 if attack == "pgd" and method == "rollout" else 1)
    return 0.1 + METHODS[method] if metric == "deletion_auc" else mean


def measured() -> dict[str, list[dict[str, Any]]]:
    """Summary, tests and curves."""
    summary, statistics, conditions, curves = [], [], [], []
    for attack, other in (("clean", "pgd"), ("pgd", "clean")):
        for method in METHODS:
            keys = {**HERE, "attack": attack, "method": method}
            for metric, variant in UNITS.items():
                unit, mean = {"metric": metric, "variant": variant, "reference": ""}, mean_of(attack, method, metric)
                bounds = {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "n": 8, "flagged": 1}
                summary.append({**keys, **unit, **bounds, "compared": True, "asked": 9, "n_own": 8, "mean_own": mean})
                found = {"n": 8, "difference": mean, "low": mean - 0.1, "high": mean + 0.1, "statistic": 1.0}
                statistics += [
                    {**keys, **unit, **found, "opponent": rival, "p": 0.0004 if method == "rollout" else 0.3, "p_adjusted": 1.0}
                    for rival in METHODS
                    if rival != method
                ]  # fmt: skip
                change = mean - mean_of(other, method, metric)
                tests = {"difference": change, "low": change - 0.1, "high": change + 0.1, "statistic": 1.0, "n": 8}
                p = 0.004 if change else 1.0
                conditions.append({**keys, **unit, **tests, "axis": "attack", "other": other, "p": p, "p_adjusted": p})
            for step in range(5):
                probability = 0.9 - METHODS[method] * step / 4
                line = {"curve": "morf", "variant": "steps=4", "step": step, "fraction": step / 4, "n": 8}
                shown = {"mean": probability, "low": probability - 0.1, "high": np.nan}
                curves.append({**keys, **line, **shown, "compared": True, "quantity": "probability"})
    return {"summary": summary, "statistics": statistics, "conditions": conditions, "curves": curves}


def sampled() -> dict[str, list[dict[str, Any]]]:
    """Three images, in the order of the draw: image-2, image-0, image-1; image-1 has maps without contrast."""
    maps, scores, pairs, pictures = [], [], [], []
    for attack in ("clean", "pgd"):
        for draw, i in enumerate((2, 0, 1)):
            place = {**HERE, "attack": attack, "image_id": f"image-{i}"}
            label = {"label": i, "label_name": ["shirt", "sandal", None][i], "height": 4, "width": 4}
            pictures.append({**place, **label, "picture": png(PIXELS)})
            for method, mean in METHODS.items():
                keys = {**place, "method": method, "draw": draw}
                prediction = 1 if attack == "pgd" else i
                told = {"target": i, "target_name": label["label_name"], "prediction": prediction,
                        "prediction_name": ["shirt", "sandal", None][prediction], "prediction_probability": 0.7}  # fmt: skip
                values = np.zeros(4) if i == 1 else np.array([0.0, 1, 2, 3]) + i
                maps.append({**keys, **told, "rows": 2, "columns": 2, "map": values})
                for metric, variant in UNITS.items():
                    value = np.nan if i == 1 else mean + i / 10
                    scores.append({**keys, "metric": metric, "variant": variant, "value": value})
                if i != 1:
                    pairs.append({**keys, "variant": "patch zero k=4", "groups": 4, "broken": BROKEN})
    return {"sample": maps, "sample_scores": scores, "sample_pairs": pairs, "sample_pictures": pictures}


def write_tables(folder: Path) -> None:
    """The toy's tables as Parquet files."""
    for name, rows in {**measured(), **sampled()}.items():
        pd.DataFrame(rows).to_parquet(folder / f"{name}.parquet")
    columns = [
        *HERE,
        "attack",
        "opponent",
        "method",
        "metric",
        "variant",
        "n",
        "difference",
        "low",
        "high",
        "p_adjusted",
    ]
    pd.DataFrame(columns=columns).to_parquet(folder / "explained.parquet")

"""Synthetic scores with realistic numbers: 2 models × 3 attacks × 2 smoothings × 6 methods × 64 images."""

from __future__ import annotations

import itertools
from typing import Any, Literal

import numpy as np
import pandas as pd

from vitfaith.statistics import metric_agreement, paired_comparisons

MODELS = ("vit_patch4", "vit_patch2")
ATTACKS = ("clean", "pgd", "fgsm")
SMOOTHINGS = ("none", "dds")
METHODS = {
    "random": 0.0,
    "raw_attention": 0.18,
    "rollout": 0.25,
    "transformer_mm": 0.46,
    "attention_gradcam": 0.38,
    "input_x_gradient": 0.12,
}
IMAGES = 64
CONDITION = ["dataset", "model", "attack", "smoothing", "explained"]
KEYS = [*CONDITION, "method"]


def condition_effect(model: str, attack: str, smoothing: str) -> float:
    """Share of a method's faithfulness that a condition leaves."""
    left = {"clean": 1.0, "fgsm": 0.75, "pgd": 0.55}[attack]
    return (left if smoothing == "none" else 0.5 * (0.9 + left)) * (1.0 if model == "vit_patch4" else 0.85)


def cells() -> list[tuple[str, str, str, str]]:
    return list(itertools.product(MODELS, ATTACKS, SMOOTHINGS, METHODS))


def make_scores() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    parts = []
    ease = draw.normal(0, 0.12, IMAGES)
    metrics = {
        ("saco", "k=5"): (1.15, 0.0),
        ("saco", "k=10"): (1.0, 0.0),
        ("saco", "k=20"): (0.8, 0.0),
        ("aopc", ""): (0.5, 0.30),
        ("deletion_auc", ""): (-0.45, 0.55),
        ("insertion_auc", ""): (0.4, 0.50),
        ("log_odds", ""): (-3.0, -1.5),
    }
    for model, attack, smoothing, method in cells():
        skill = METHODS[method] * condition_effect(model, attack, smoothing)
        for (metric, variant), (slope, start) in metrics.items():
            value = start + slope * (skill + (ease if method != "random" else 0) + draw.normal(0, 0.25, IMAGES))
            if method == "attention_gradcam" and metric == "saco":
                value[:3] = np.nan  # constant maps
            parts.append(
                pd.DataFrame(
                    {
                        "dataset": "fashion_mnist",
                        "model": model,
                        "attack": attack,
                        "smoothing": smoothing,
                        "explained": "clean_prediction",
                        "method": method,
                        "image_id": [f"image-{i:03d}" for i in range(IMAGES)],
                        "metric": metric,
                        "variant": variant,
                        "value": value,
                        "flag": np.where(np.isnan(value), "constant", ""),
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def make_stability() -> pd.DataFrame:
    draw = np.random.default_rng(1)
    parts = []
    for model, attack, smoothing, method in cells():
        for reference in ("clean", "undefended"):
            if attack == "clean" and (reference == "clean" or smoothing == "none"):
                continue
            for share in (0.1, 0.2):
                base = (
                    share
                    if method == "random"
                    else 0.55 + 0.3 * share + 0.2 * (smoothing == "dds") - 0.15 * (attack == "pgd")
                )
                value = np.clip(base + draw.normal(0, 0.12, IMAGES), 0, 1)
                parts.append(
                    pd.DataFrame(
                        {
                            "dataset": "fashion_mnist",
                            "model": model,
                            "attack": attack,
                            "smoothing": smoothing,
                            "explained": "clean_prediction",
                            "method": method,
                            "reference": reference,
                            "image_id": [f"image-{i:03d}" for i in range(IMAGES)],
                            "metric": "top_k_overlap",
                            "variant": f"k={share}",
                            "value": value,
                            "flag": "",
                        }
                    )
                )
    return pd.concat(parts, ignore_index=True)


def make_curves() -> pd.DataFrame:
    parts = []
    fraction = np.linspace(0, 1, 11)
    for model, attack, smoothing, method in cells():
        skill = METHODS[method] * condition_effect(model, attack, smoothing)
        for curve, sign in (("morf", 1), ("lerf", -1)):
            power = np.exp(-sign * 2.2 * skill)
            mean = 0.1 + 0.8 * (1 - fraction**power)
            half = 0.02 + 0.06 * np.sqrt(fraction * (1 - fraction))
            for quantity, factor in (("probability", 1.0), ("kl", -1.0)):
                value = mean if factor > 0 else -np.log(mean)
                parts.append(
                    pd.DataFrame(
                        {
                            "dataset": "fashion_mnist",
                            "model": model,
                            "attack": attack,
                            "smoothing": smoothing,
                            "explained": "clean_prediction",
                            "method": method,
                            "curve": curve,
                            "variant": "steps=10",
                            "step": np.arange(11),
                            "fraction": fraction.astype(np.float32),
                            "n": IMAGES,
                            "clusters": IMAGES,
                            "flagged": 3 if method == "attention_gradcam" else 0,
                            "mean": value,
                            "low": value - half,
                            "high": value + half,
                            "sd": half,
                            "confidence": 0.95,
                            "quantity": quantity,
                            "compared": True,
                            "asked": IMAGES,
                            "n_own": IMAGES,
                            "mean_own": value,
                        }
                    )
                )
    return pd.concat(parts, ignore_index=True)


def make_statistics(scores: pd.DataFrame) -> pd.DataFrame:
    clean = scores[(scores.attack == "clean") & (scores.smoothing == "none")].assign(reference="")
    return paired_comparisons(clean, by=[*CONDITION, "metric", "variant", "reference"], method="t")


def make_agreement(scores: pd.DataFrame) -> pd.DataFrame:
    clean = scores[(scores.attack == "clean") & (scores.smoothing == "none") & scores.variant.isin(["", "k=10"])]
    named = clean.assign(metric=(clean.metric + " " + clean.variant).str.strip())
    lower: dict[str, Literal["higher", "lower"]] = {"deletion_auc": "lower", "log_odds": "lower"}
    parts = []
    for key, part in named.groupby(CONDITION):
        place: dict[str, Any] = dict(zip(CONDITION, key, strict=True))
        parts.append(metric_agreement(part, lower).assign(**place))
    return pd.concat(parts, ignore_index=True)


def make_explained(scores: pd.DataFrame) -> pd.DataFrame:
    """Differences between the scores and others that are 0.1 larger for each method but the random one."""
    rows = []
    for key, part in scores[scores.smoothing == "none"].groupby([*KEYS, "metric", "variant"]):
        place = dict(zip([*KEYS, "metric", "variant"], key, strict=True))
        difference = 0.0 if place["attack"] == "clean" or place["method"] == "random" else 0.1
        place |= {"explained": "prediction", "opponent": "clean_prediction", "n": int(part["value"].notna().sum())}
        numbers = {"difference": difference, "low": difference - 0.04, "high": difference + 0.05, "confidence": 0.95}
        rows.append(place | numbers | {"differ": 0.0 if place["attack"] == "clean" else 0.75})
    return pd.DataFrame(rows)

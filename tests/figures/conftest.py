"""Synthetic tables with realistic numbers: 2 models × 3 attacks × 2 smoothings × 6 methods × 64 images."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from vitfaith.figures.drawing.data import FigureData
from vitfaith.statistics import metric_agreement, paired_comparisons, summarise_compared

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


def make_predictions() -> pd.DataFrame:
    draw = np.random.default_rng(2)
    parts = []
    for model, attack, smoothing in itertools.product(MODELS, ATTACKS, SMOOTHINGS):
        right = 0.9 * condition_effect(model, attack, smoothing)
        label = draw.integers(0, 10, IMAGES)
        hit = draw.random(IMAGES) < right
        parts.append(
            pd.DataFrame(
                {
                    "dataset": "fashion_mnist",
                    "model": model,
                    "attack": attack,
                    "smoothing": smoothing,
                    "image_id": [f"image-{i:03d}" for i in range(IMAGES)],
                    "label": label,
                    "target": label,
                    "prediction": np.where(hit, label, (label + 1) % 10),
                    "target_probability": np.where(hit, 0.9, 0.15) * draw.uniform(0.7, 1, IMAGES),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def make_gallery(side: int = 28) -> pd.DataFrame:
    draw = np.random.default_rng(3)
    grid = {"vit_patch4": 7, "vit_patch2": 14}
    rows = []
    y, x = np.mgrid[:side, :side]
    for role, image in (("best", "image-007"), ("median", "image-033"), ("worst", "image-052")):
        picture = 255 * np.exp(-((y - draw.integers(9, 19)) ** 2 + (x - draw.integers(9, 19)) ** 2) / 60)
        for model, attack, smoothing, method in cells():
            size = grid[model]
            shown = picture + (draw.normal(0, 18, picture.shape) if attack != "clean" else 0)
            small = picture.reshape(size, side // size, size, side // size).mean((1, 3))
            heat = small * METHODS[method] / 100 + draw.random((size, size))
            if (role, method) == ("worst", "attention_gradcam"):
                heat = np.zeros((size, size))
            rows.append(
                {
                    "role": role,
                    "dataset": "fashion_mnist",
                    "model": model,
                    "attack": attack,
                    "smoothing": smoothing,
                    "explained": "clean_prediction",
                    "image_id": image,
                    "method": method,
                    "rows": size,
                    "columns": size,
                    "map": heat.astype(np.float32).ravel(),
                    "channels": 1,
                    "height": side,
                    "width": side,
                    "pixels": np.clip(shown, 0, 255).astype(np.uint8).tobytes(),
                    "label": 6,
                    "target": 6,
                    "prediction": 6 if attack == "clean" or smoothing == "dds" else 9,
                    "prediction_probability": 0.87,
                    "saco": np.nan if not heat.any() else METHODS[method] + draw.normal(0, 0.1),
                }
            )
    return pd.DataFrame(rows)


def make_costs() -> pd.DataFrame:
    passes = {"random": (1, 1), "rise": (4000, 0)}
    return pd.DataFrame(
        [
            {
                "model": model,
                "family": "one_pass" if i < 4 else "path",
                "method": method,
                "sharing": 4 if i < 4 else 2,
                "forwards": passes.get(method, (1, 1) if i < 4 else (20, 20))[0],
                "backwards": passes.get(method, (1, 1) if i < 4 else (20, 20))[1],
            }
            for model in MODELS
            for i, method in enumerate(METHODS)
        ]
    )


def make_attacks() -> pd.DataFrame:
    kinds = {"clean": ("clean", 0.0), "pgd": ("pgd", 8 / 255), "fgsm": ("fgsm", 4 / 255)}
    return pd.DataFrame(
        [
            {"dataset": "fashion_mnist", "model": model, "attack": attack, "kind": kind, "norm": "linf", "eps": eps}
            for model in MODELS
            for attack, (kind, eps) in kinds.items()
        ]
    )


def make_smoothings() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "smoothing": ["none", "dds"],
            "kind": ["none", "dds"],
            "mode": ["", "calibrated"],
            "noise": ["", "gaussian"],
            "sigma": [0.0, 0.25],
            "samples": [1, 4],
        }
    )


def make_trainings() -> pd.DataFrame:
    draw = np.random.default_rng(5)
    steps = np.arange(20, 820, 20)
    parts = []
    for model, start in (("vit_patch4", 0.9), ("vit_patch2", 0.7)):
        kl = 0.1 + 0.2 * np.exp(-steps / 150) + 0.02 * draw.standard_normal(len(steps))
        looks = steps % 200 == 0
        parts.append(
            pd.DataFrame(
                {
                    "model": model,
                    "method": "diffmask",
                    "margin": 0.1,
                    "step": steps,
                    "kl": kl,
                    "kept_share": 0.4 + (start - 0.4) * np.exp(-steps / 200),
                    "multiplier": 2 + np.cumsum(kl - 0.1),
                    "test_kl": np.where(looks, kl, np.nan),
                    "test_kept_share": np.where(looks, 0.45, np.nan),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def make_pairs(count: int = 10) -> pd.DataFrame:
    first, second = np.triu_indices(count, 1)
    parts = []
    for model, attack, smoothing, method in cells():
        skill = METHODS[method] * condition_effect(model, attack, smoothing)
        broken = 0.5 - 0.5 * skill * (second - first) / count
        gap = (second - first) / (second - first).sum()
        keys = dict(zip(KEYS, ("fashion_mnist", model, attack, smoothing, "clean_prediction", method), strict=True))
        parts.append(
            pd.DataFrame(
                {
                    **keys,
                    "variant": "patch image_mean k=10",
                    "first": first + 1,
                    "second": second + 1,
                    "broken": broken,
                    "contribution": gap * (1 - 2 * broken),
                    "n": IMAGES,
                    "compared": True,
                    "asked": IMAGES,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def make_certificates() -> pd.DataFrame:
    draw = np.random.default_rng(4)
    parts = []
    for model, (smoothing, sigma), method in itertools.product(
        MODELS, {"dds_0.12": 0.12, "dds_0.25": 0.25}.items(), ["", *METHODS]
    ):
        for k, beta in [(0, np.nan)] if not method else itertools.product((5, 10), (0.5, 0.8)):
            radius = np.maximum(0, sigma * (draw.normal(0.6, 0.3, IMAGES) - (0 if beta < 0.6 else 0.2)))
            if method == "attention_gradcam":
                radius[:3] = np.nan
            label = draw.integers(0, 10, IMAGES)
            wrong = draw.random(IMAGES) < 0.1
            parts.append(
                pd.DataFrame(
                    {
                        "dataset": "fashion_mnist",
                        "model": model,
                        "attack": "clean",
                        "smoothing": smoothing,
                        "explained": "clean_prediction",
                        "image_id": [f"image-{i:03d}" for i in range(IMAGES)],
                        "method": method,
                        "certificate": "grouped" if method else "cohen",
                        "base": "vote" if method else "",
                        "bound": "clopper_pearson",
                        "k": k,
                        "beta": beta,
                        "sigma": sigma,
                        "noise": "gaussian",
                        "alpha": 0.001,
                        "radius": radius,
                        "l1": radius,
                        "linf": radius / 28,
                        "sound": True,
                        "label": np.nan if method else label,
                        "prediction": np.nan if method else np.where(radius > 0, np.where(wrong, 3, label), -1),
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
    return pd.concat(
        [
            metric_agreement(part, lower).assign(**dict(zip(CONDITION, key, strict=True)))  # type: ignore[misc]
            for key, part in named.groupby(CONDITION)
        ],
        ignore_index=True,
    )


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


def make_data() -> FigureData:
    scores, stability = make_scores(), make_stability()
    both = pd.concat([scores.assign(reference=""), stability], ignore_index=True)
    return FigureData(
        summary=summarise_compared(both, [*KEYS, "reference", "metric", "variant"], method="t"),
        scores=scores,
        curves=make_curves(),
        stability=stability,
        predictions=make_predictions(),
        gallery=make_gallery(),
        statistics=make_statistics(scores),
        agreement=make_agreement(scores),
        costs=make_costs(),
        certificates=make_certificates(),
        attacks=make_attacks(),
        smoothings=make_smoothings(),
        trainings=make_trainings(),
        pairs=make_pairs(),
        explained=make_explained(scores),
    )


@pytest.fixture(scope="session")
def data() -> FigureData:
    return make_data()


@pytest.fixture(scope="session")
def small(data: FigureData) -> FigureData:
    """One model, two attacks: for tests that write many files."""

    def cut(frame: pd.DataFrame) -> pd.DataFrame:
        if "model" not in frame:
            return frame
        frame = frame[frame["model"] == "vit_patch4"]
        return frame[frame["attack"].isin(["clean", "pgd"])] if "attack" in frame else frame

    return FigureData(**{name: cut(getattr(data, name)) for name in FigureData.names()})

"""Synthetic tables of the other stages, of the conditions of :mod:`tests.figures.score_tables`."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from tests.figures.score_tables import ATTACKS, IMAGES, KEYS, METHODS, MODELS, SMOOTHINGS, cells, condition_effect


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

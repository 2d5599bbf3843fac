"""Why a DiffMask that keeps the garment is worse than a random order behind one fill, and best behind another.

Run:  uv run python tools/diffmask_placeholder.py [steps] [folder with the full Fashion-MNIST]     (see docs/training.md)

Shipped DiffMasks beside ones trained for some steps with the fixed placeholder ``mean_colour``, on the 256 images of the default study:
which share of the patches with a garment and of the empty ones each keeps, what it costs (KL, nats) to fill the patches below ½ with
its placeholder, with black and with the image's mean, and SaCo behind both fills with standard errors.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch
from provenance import measured
from study_data import levels_of, load, study_of
from torch import Tensor
from torch.nn import functional

import vitfaith as vf
from vitfaith.artifacts.tensors import unit_pixels
from vitfaith.datasets.opening import read_all
from vitfaith.explainers.diffmask.files import load_diffmask
from vitfaith.explainers.diffmask.network import DiffMask
from vitfaith.explainers.diffmask.passes import clean_pass, divergence, masked_pass
from vitfaith.explainers.diffmask.recipe import DiffMaskRecipe
from vitfaith.explainers.diffmask.train import train_diffmask
from vitfaith.models.classifier import Classifier
from vitfaith.shipped import located
from vitfaith.tables.text import markdown_table

HEAD = [
    "model",
    "DiffMask",
    "garment kept",
    "background kept",
    "KL, placeholder",
    "KL, black",
    "KL, image mean",
    "SaCo, image mean",
    "SaCo, black",
]
FILLS = ("image_mean", "black")


def row(model: Classifier, images: Tensor, maps: Tensor, network: DiffMask | None, seed: int) -> list[str]:
    """Cells of one DiffMask's maps (B, rows, columns); without a network, of maps that no DiffMask made."""
    patch = images.shape[-1] // maps.shape[-1]
    garment = functional.avg_pool2d(images, patch)[:, 0] > 0.02
    cells = [f"{maps[mask].mean():.2f}" for mask in (garment, ~garment)]
    keep = (maps >= 0.5).float()
    pixels = keep[:, None].repeat_interleave(patch, 2).repeat_interleave(patch, 3)
    mean = images.mean((1, 2, 3), keepdim=True)
    with torch.no_grad():
        clean, _ = clean_pass(model, images)
        answers = [
            model(images * pixels + fill * (1 - pixels)).log_softmax(1) for fill in (torch.zeros_like(mean), mean)
        ]
        if network is None:
            return [*cells, *["-"] * 3, *saco(model, images, maps, seed)]
        answers.insert(0, masked_pass(model, images, keep.flatten(1), network.placeholder))
    cells += [f"{divergence(clean, answer).mean():.2f}" for answer in answers]
    return cells + saco(model, images, maps, seed)


def saco(model: Classifier, images: Tensor, maps: Tensor, seed: int) -> list[str]:
    """Mean SaCo ± its standard error behind each of the fills."""
    cells = []
    for fill in FILLS:
        metric = ("saco", {"groups": [10], "fill": fill})
        values = vf.score(model, images, {"map": maps}, metric, seed=seed)["value"].dropna()
        cells.append(f"{values.mean():.3f} ± {values.std() / math.sqrt(len(values)):.3f}")
    return cells


def main(steps: int = 300, folder: str | None = None) -> None:
    """Print a Markdown table."""
    study = study_of("config.yaml")
    levels, *_ = levels_of(study, "fashion_mnist")
    shown, images = levels.numpy(), unit_pixels(levels)
    train = {"use": "fashion_mnist", "split": "train"} | ({} if folder is None else {"folder": folder})
    pictures, _ = read_all(train)
    rows = []
    for name in ("vit_patch4", "vit_patch2"):
        model = load(study, name)
        shipped = load_diffmask(Path(located(f"vitfaith:diffmasks/{name}.safetensors")), model)
        recipe = DiffMaskRecipe(steps=steps, epochs=100, learning_rate=2e-3, placeholder="mean_colour")
        fixed, _ = train_diffmask(model, pictures, shown, recipe)
        for label, network in (("shipped: learned placeholder", shipped), (f"mean colour, {steps} steps", fixed)):
            rows.append([name, label, *row(model, images, network.explain(model, images), network, study.seed)])
        random = vf.explain(model, images, "random", seed=study.seed)["random"]
        rows.append([name, "Random", *row(model, images, random, None, study.seed)])
    print(measured("diffmask-placeholder", study.seed, len(images), "± standard errors over images") + "\n")
    print(markdown_table(HEAD, rows))


if __name__ == "__main__":
    main(*[kind(text) for kind, text in zip((int, str), sys.argv[1:], strict=False)])

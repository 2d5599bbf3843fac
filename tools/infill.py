"""How well the diffusion in-fill fits what stays, for steps × resamples; default study's images and denoiser.

Run:  uv run python tools/infill.py [--images 64] [--out infill.png]
Half of the 4 × 4 patches of each image are removed at random. Prints the denoiser's calls per image, the error at removed pixels (root
mean square, in [0, 1]) and the share of images that a classifier puts into the same class as the whole image; a constant fill beside
them. Milliseconds per image go to standard error.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from provenance import measured
from study_data import load, study_of
from torch import Tensor

from vitfaith.datasets.opening import open_source
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.denoisers.sampling import keyed_noise
from vitfaith.metrics.fills.diffusion import DiffusionParameters, infill
from vitfaith.models.forward import forward_in_batches
from vitfaith.rng import generator
from vitfaith.tables.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]
SETTINGS: list[tuple[Literal["ancestral", "ddim"], int, int]] = [
    ("ancestral", 10, 1),
    ("ancestral", 10, 4),
    ("ancestral", 20, 2),
    ("ancestral", 10, 10),
    ("ancestral", 50, 10),
    ("ddim", 10, 1),
    ("ddim", 10, 4),
]
"""Sampler, steps, resamples."""


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--out", type=Path, help="picture of the first eight images under each setting")
    given = parser.parse_args()
    study = study_of("config.yaml")
    pixels = open_source(study.datasets["fashion_mnist"][0].spec()).read(np.arange(given.images))
    images = torch.from_numpy(pixels.copy()).float() / 255
    patches = torch.rand(len(images), 7, 7, generator=torch.Generator().manual_seed(0)) < 0.5
    removed = patches.repeat_interleave(4, 1).repeat_interleave(4, 2)
    denoiser = Denoiser.load(ROOT / "resources" / "denoisers" / "fashion_mnist")
    classifier = load(study, "vit_patch4")
    clean = forward_in_batches(classifier, images, 64).argmax(1)
    shown = [images, torch.where(removed[:, None], 0.5, images)]

    def line(name: str, calls: int, filled: Tensor, seconds: float) -> None:
        error = float((filled - images)[removed[:, None]].square().mean().sqrt())
        same = float((forward_in_batches(classifier, filled, 64).argmax(1) == clean).float().mean())
        rows.append([name, str(calls), f"{error:.3f}", f"{same:.2f}"])
        print(f"{name}: {1000 * seconds / len(images):.0f} ms per image", file=sys.stderr, flush=True)

    rows: list[list[str]] = []
    mean = images.mean((1, 2, 3), keepdim=True)
    line("image mean", 0, torch.where(removed[:, None], mean, images), 0)
    default = DiffusionParameters(denoiser="")
    for sampler, steps, resamples in SETTINGS:
        parameters = DiffusionParameters(denoiser="", steps=steps, resamples=resamples, sampler=sampler)
        draw = keyed_noise([generator(study.seed, str(i), "benchmark") for i in range(len(images))])
        with torch.inference_mode():
            start = time.perf_counter()
            filled = infill(denoiser, images, removed, partial(draw, images), parameters)
            seconds = time.perf_counter() - start
        name = "DDIM" if sampler == "ddim" else sampler
        note = " (default)" if parameters == default else ""
        line(f"{name}, {steps} steps × {resamples}{note}", parameters.calls, filled, seconds)
        shown.append(filled)
    print(measured("infill", study.seed, len(images), "no intervals") + "\n")
    print(markdown_table(["fill", "calls", "error", "same class"], rows))
    if given.out:
        pictures = torch.cat([torch.cat(list(row[:8, 0]), 1) for row in shown])
        size = (pictures.shape[1] * 3, pictures.shape[0] * 3)
        Image.fromarray((pictures.numpy() * 255).astype("uint8")).resize(size, 0).save(given.out)


if __name__ == "__main__":
    main()

"""Accuracy of the shipped classifiers behind the shipped denoiser on Fashion-MNIST's test set.

Run:  uv run python tools/denoised_accuracy.py [images] [samples]      (needs the full set, see docs/training.md)
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from provenance import measured
from study_data import load, study_of

from vitfaith.datasets.opening import read_all
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.models.forward import forward_in_batches
from vitfaith.smoothings.dds import DdsParameters, dds
from vitfaith.tables.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]


def main(count: int = 10000, samples: int = 1) -> None:
    """Print, as Markdown, clean accuracy and the accuracy of the mean probability over ``samples`` denoised draws, σ = 0.25."""
    study = study_of("config.yaml")
    pixels, labels = read_all({"use": "fashion_mnist", "split": "test"})
    images = torch.from_numpy(pixels[:count].copy()).float() / 255
    truth = torch.from_numpy(labels[:count].copy())
    denoiser = Denoiser.load(ROOT / "resources" / "denoisers" / "fashion_mnist")
    parameters = DdsParameters(sigma=0.25, samples=samples, denoiser="fashion_mnist")
    ids = [f"test-{i:05d}" for i in range(len(images))]
    denoised = dds(denoiser, images, ids, parameters, range(samples), seed=study.seed, batch_size=250)
    rows = []
    for name in ("vit_patch4", "vit_patch2"):
        classifier = load(study, name)
        clean = forward_in_batches(classifier, images, 250).argmax(1)
        logits = forward_in_batches(classifier, denoised.flatten(0, 1), 250).unflatten(0, denoised.shape[:2])
        smoothed, single = logits.softmax(-1).mean(1).argmax(1), logits[:, 0].argmax(1)
        rates = [float((p == truth).float().mean()) for p in (clean, smoothed, single)]
        rows.append([f"`{name}`", *(f"{rate:.3f}" for rate in rates)])
    head = ["model", "clean", f"mean probability of {samples} denoised draws", "a single draw"]
    print(measured("training-denoised", study.seed, len(images), "the first of the test set, no intervals") + "\n")
    print(markdown_table(head, rows))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

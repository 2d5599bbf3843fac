"""What storing denoised pixels with fewer bits does to maps and predictions.

    python benchmarks/stored_precision.py [--config config/config.yaml] [--images 32] [--samples 4]

Each precision is compared with float32: the largest difference of a smoothed map (its values lie in [0, 1]), the share of
the top 20 % of patches that stays, how many predictions of single samples change, and the size of a sample. The last
row is what other noise does, the yardstick: the maps of other samples of the same images, in float32.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.explainers.explain import explain
from vitfaith.models.classifier import Classifier
from vitfaith.models.forward import forward_in_batches
from vitfaith.models.load import load_classifier
from vitfaith.registries import REGISTRIES
from vitfaith.smoothings.aggregate import aggregate_maps
from vitfaith.smoothings.dds import DdsParameters, dds
from vitfaith.stability.measures import TopK, top_k_overlap
from vitfaith.study.learned import model_files
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan
from vitfaith.study.study import Study

STORED: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "float32": (lambda x: x, 4),
    "float16": (lambda x: x.half().float(), 2),
    "uint16": (lambda x: (x * 65535).round() / 65535, 2),
    "uint8": (lambda x: (x * 255).round() / 255, 1),
}


def overlap(first: Tensor, second: Tensor, share: float = 0.2) -> float:
    """Mean over images of the share of the leading patches (B, rows, columns) that two sets of maps have in common."""
    found = top_k_overlap(first.numpy(), second.numpy(), TopK(k=(share,)))
    return float(found[f"k={share}"].mean())


def images_of(study: Study, dataset: str, count: int) -> tuple[Tensor, list[str]]:
    """The first ``count`` images of a study's data set, in [0, 1]."""
    reader, _ = study.datasets[dataset]
    source = REGISTRIES["datasets"][reader.name].implementation(reader.parameters)
    chosen = np.arange(min(count, len(source.labels)))
    pixels = np.asarray(source.read(chosen))
    return torch.from_numpy(pixels.astype(np.float32) / 255), [source.image_ids[i] for i in chosen]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("config/config.yaml"))
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--samples", type=int, default=4)
    arguments = parser.parse_args()
    study = load_study(read_yaml(arguments.config))
    experiment = next(iter(study.experiments.values()))
    images, ids = images_of(study, experiment.datasets[0], arguments.images)
    smoothing = next(s for s in study.smoothings.values() if s.name == "dds")
    assert isinstance(smoothing.parameters, DdsParameters)
    denoiser = Denoiser.load(study.denoisers[smoothing.parameters.denoiser].path)
    samples = range(2 * arguments.samples)
    denoised = dds(
        denoiser,
        images,
        ids,
        smoothing.parameters,
        samples,
        seed=study.seed,
        batch_size=256,
    )
    steady = {i: study.explainers[i] for i in experiment.explainers if not study.explainers[i].traits["stochastic"]}
    plan = Plan(study)
    for model in experiment.models:
        methods = {
            i: replace(item, parameters=item.parameters.model_copy(update=model_files(plan, i, model)))
            for i, item in steady.items()
        }
        section = study.models[model]
        classifier = load_classifier(
            section.model_dump(include={"timm", "arguments", "mean", "std"}), Path(str(section.weights))
        )
        targets = forward_in_batches(classifier, images, 256).argmax(1)

        def smoothed(
            pixels: Tensor, targets: Tensor = targets, classifier: Classifier = classifier, methods: Any = methods
        ) -> dict[str, Tensor]:
            maps = [
                explain(classifier, pixels[:, s], targets, ids, methods, seed=0, batch_size=256)
                for s in range(pixels.shape[1])
            ]
            return {m: aggregate_maps(torch.stack([one[m] for one in maps]), "mean")[0] for m in methods}

        first, other = denoised[:, : arguments.samples], denoised[:, arguments.samples :]
        exact, labels = smoothed(first), forward_in_batches(classifier, first.flatten(0, 1), 256).argmax(1)
        print(
            f"{model}: {len(images)} images, {arguments.samples} samples, {len(methods)} methods; worst method in each row"
        )
        print(
            f"{'stored':>12}{'bytes/pixel':>13}{'largest change':>16}{'mean change':>13}{'top-k kept':>12}{'labels changed':>16}"
        )
        rows = {name: (cut(first), size) for name, (cut, size) in STORED.items()} | {"other noise": (other, 4)}
        for name, (pixels, size) in rows.items():
            found = smoothed(pixels)
            largest = max(float((found[m] - exact[m]).abs().max()) for m in methods)
            mean = max(float((found[m] - exact[m]).abs().mean()) for m in methods)
            kept = min(overlap(found[m], exact[m]) for m in methods)
            changed = int((forward_in_batches(classifier, pixels.flatten(0, 1), 256).argmax(1) != labels).sum())
            print(f"{name:>12}{size:>13}{largest:>16.2e}{mean:>13.2e}{kept:>12.4f}{changed:>10}/{len(labels)}")


if __name__ == "__main__":
    main()

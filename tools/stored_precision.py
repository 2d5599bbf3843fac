"""What storing denoised pixels with fewer bits does to maps and predictions.

    python tools/stored_precision.py [--images 32] [--samples 4]

The default study, its smoothing dds. Each precision is compared with float32: the largest difference of a smoothed map (its values
lie in [0, 1]), the share of the top 20 % of patches that stays, how many predictions of single samples change, and the size of a
pixel. The last row is what other noise does, the yardstick: the maps of other samples of the same images, in float32. Each cell has
the worst of the explainers. Prints the table of docs/certificates.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from provenance import measured
from study_data import images_of, load, study_of
from torch import Tensor

from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.explainers.explain import explain
from vitfaith.models.classifier import Classifier
from vitfaith.models.forward import forward_in_batches
from vitfaith.registry import Item
from vitfaith.smoothings.aggregate import aggregate_maps
from vitfaith.smoothings.dds import DdsParameters, dds
from vitfaith.stability.measures import TopK, top_k_overlap
from vitfaith.study.learned import model_files
from vitfaith.study.plan import Plan
from vitfaith.tables.text import markdown_table

BATCH = 256
STORED: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "float16": (lambda x: x.half().float(), 2),
    "uint16": (lambda x: (x * 65535).round() / 65535, 2),
    "uint8": (lambda x: (x * 255).round() / 255, 1),
}
"""Name → what storing makes of values in [0, 1], bytes per pixel."""
HEAD = ["model", "stored as", "bytes", "largest change", "mean change", "top 20 % kept", "labels changed"]


def kept(found: Tensor, exact: Tensor, share: float = 0.2) -> float:
    """Mean over images of the share of the leading patches of ``exact`` (B, rows, columns) that are leading in ``found``.

    Each image's share is divided by the share that ``exact`` keeps of itself, which ties make smaller than 1.
    """
    both, own = (top_k_overlap(maps.numpy(), exact.numpy(), TopK(k=(share,)))[f"k={share}"] for maps in (found, exact))
    return float((both / own).mean())


def smoothed(
    classifier: Classifier, pixels: Tensor, targets: Tensor, ids: list[str], methods: Mapping[str, Item]
) -> dict[str, Tensor]:
    """Explainer → maps (B, rows, columns), means over the samples of ``pixels`` (B, samples, C, H, W)."""
    maps = [
        explain(classifier, pixels[:, s], targets, ids, methods, seed=0, batch_size=BATCH)
        for s in range(pixels.shape[1])
    ]
    return {m: aggregate_maps(torch.stack([one[m] for one in maps]), "mean")[0] for m in methods}


def labels_of(classifier: Classifier, pixels: Tensor) -> Tensor:
    """Predicted classes of all samples (B, samples, C, H, W), in one row."""
    return forward_in_batches(classifier, pixels.flatten(0, 1), BATCH).argmax(1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--samples", type=int, default=4)
    given = parser.parse_args()
    torch.set_num_threads(1)
    study = study_of("config.yaml")
    experiment, plan = next(iter(study.experiments.values())), Plan(study)
    images, _, ids = images_of(study, experiment.datasets[0], given.images)
    smoothing = next(s for s in study.smoothings.values() if s.name == "dds").parameters
    assert isinstance(smoothing, DdsParameters)
    denoiser = Denoiser.load(study.denoisers[smoothing.denoiser].path)
    denoised = dds(denoiser, images, ids, smoothing, range(2 * given.samples), seed=study.seed, batch_size=BATCH)
    first, other = denoised[:, : given.samples], denoised[:, given.samples :]
    steady = {i: study.explainers[i] for i in experiment.explainers if not study.explainers[i].traits["stochastic"]}
    rows = []
    for model in experiment.models:
        methods = {
            i: replace(item, parameters=item.parameters.model_copy(update=model_files(plan, i, model)))
            for i, item in steady.items()
        }
        classifier = load(study, model)
        targets = forward_in_batches(classifier, images, BATCH).argmax(1)
        exact, labels = smoothed(classifier, first, targets, ids, methods), labels_of(classifier, first)
        stored = {name: (cut(first), size) for name, (cut, size) in STORED.items()} | {"other noise": (other, 4)}
        for name, (pixels, size) in stored.items():
            found = smoothed(classifier, pixels, targets, ids, methods)
            changes = [(found[m] - exact[m]).abs() for m in methods]
            largest, mean = (max(float(work(change)) for change in changes) for work in (torch.max, torch.mean))
            least = min(kept(found[m], exact[m]) for m in methods)
            changed = int((labels_of(classifier, pixels) != labels).sum())
            shown = [f"{largest:.1e}", f"{mean:.1e}", f"{least:.4f}", f"{changed} of {len(labels)}"]
            rows.append([f"`{model}`", name, size, *shown])
    facts = f"{given.samples} samples of each, {len(steady)} explainers, no intervals"
    print(measured("stored-precision", study.seed, len(images), facts) + "\n")
    print(markdown_table(HEAD, rows))


if __name__ == "__main__":
    main()

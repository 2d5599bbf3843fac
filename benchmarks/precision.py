"""What the precision of the forward passes changes: SaCo of the shipped models in each precision against float32.

    python benchmarks/precision.py [--device cuda] [--images 64]

The maps are made once, in float32; only the forward passes of the metric differ. For each model and precision: the mean
and largest absolute difference of SaCo (K = 10) of single maps, the difference of the methods' means over images,
Spearman's correlation over maps with float32, whether the methods rank alike by their means, and the time of scoring
against float32. TF32 changes nothing on a CPU and is left out there.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier
from vitfaith.models.load import load_classifier
from vitfaith.models.precision import Precision
from vitfaith.registries import REGISTRIES
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.study import Study

METHODS = ("random", "raw_attention", "attention_rollout", "transformer_mm", "attention_gradcam", "input_x_gradient")
ROOT = Path(__file__).resolve().parent.parent


def images_of(study: Study, count: int) -> tuple[torch.Tensor, list[str]]:
    """The first ``count`` embedded test images, in [0, 1]."""
    reader, _ = study.datasets["fashion_mnist"]
    source = REGISTRIES["datasets"][reader.name].implementation(reader.parameters)
    index = np.arange(count)
    return torch.from_numpy(source.read(index).copy()).float() / 255, [source.image_ids[i] for i in index]


class Case:
    """A shipped model with maps of its images."""

    def __init__(self, classifier: Classifier, images: torch.Tensor, ids: list[str]) -> None:
        """Explain the predicted classes."""
        self.classifier, self.ids = classifier, ids
        self.images = images.to(classifier.mean.device)
        with torch.inference_mode():
            self.targets = self.classifier(self.images).argmax(1)
        methods = {name: EXPLAINERS.item(name) for name in METHODS}
        self.maps = explain(classifier, self.images, self.targets, ids, methods, seed=0, batch_size=64)

    def saco(self, precision: Precision) -> tuple[NDArray[np.float64], float]:
        """SaCo (images, methods) and the seconds it took."""
        metrics = {"saco": METRICS.item("saco")}
        start = time.process_time() if self.images.device.type == "cpu" else time.perf_counter()
        table = evaluate(
            self.classifier, self.images, self.targets, self.ids, self.maps, metrics, precision=precision
        ).scores
        values = table.column("value").to_numpy().reshape(len(self.ids), len(METHODS))
        now = time.process_time() if self.images.device.type == "cpu" else time.perf_counter()
        return values, now - start


def main() -> None:
    """Print one Markdown row a model and precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=64)
    options = parser.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(1)
    study = load_study(read_yaml(ROOT / "config" / "config.yaml"))
    images, ids = images_of(study, options.images)
    choices: list[Precision] = ["bfloat16"] if options.device == "cpu" else ["tf32", "bfloat16"]
    print(f"{len(ids)} images × {len(METHODS)} methods, {options.device}")
    print(
        "| model | precision | mean abs. difference | largest | of a method's mean | Spearman | method order | time |"
    )
    print("|---|---|---:|---:|---:|---:|---|---:|")
    for name in ("vit_patch4", "vit_patch2"):
        spec = study.models[name].model_dump(mode="json")
        case = Case(load_classifier(spec, Path(spec["weights"]), options.device), images, ids)
        case.saco("float32")
        exact, seconds = case.saco("float32")
        for precision in choices:
            case.saco(precision)
            values, own = case.saco(precision)
            known = np.isfinite(exact) & np.isfinite(values)
            gap = np.abs(values - exact)[known]
            means = np.nanmean(exact, 0), np.nanmean(values, 0)
            tau = kendalltau(*means).statistic
            print(
                f"| {name} | {precision} | {gap.mean():.4f} | {gap.max():.3f} | {np.abs(means[0] - means[1]).max():.4f} "
                f"| {spearmanr(exact[known], values[known]).statistic:.4f} | {'same' if tau > 0.999 else f'τ = {tau:.2f}'} "
                f"| {own / seconds:.2f} |"
            )


if __name__ == "__main__":
    main()

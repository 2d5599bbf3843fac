"""What the precision of passes changes, stage by stage, on the shipped models; writes the tables of docs/metrics.md.

    python -m benchmarks.precision [--device cuda] [--images 64] [--write]

Each stage is measured alone, with all else in float32. Scores: the same maps in both precisions; mean and largest absolute
difference per image, that of the methods' means, Spearman's correlation over maps, whether the methods' means have one order.
Maps: Pearson's correlation and the share of the 20 % leading patches that stays. Attacks: success of images crafted in
either precision, judged in float32. Predictions: classes that change, the largest change of a probability. Time is that
of the stage against float32. TF32 changes nothing on a CPU and is left out there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from benchmarks.shared import one_pass, processor
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from vitfaith.attacks.registry import ATTACKS
from vitfaith.attacks.run import AttackResult, attack_images
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.models.classifier import Classifier
from vitfaith.models.fast.memory import keep_freed_memory
from vitfaith.models.forward import forward_in_batches
from vitfaith.models.load import load_classifier
from vitfaith.models.precision import Precision, passes_in
from vitfaith.registries import REGISTRIES
from vitfaith.stability.measures import TopK, top_k_overlap
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.study import Study

METHODS = ("random", "raw_attention", "attention_rollout", "transformer_mm", "attention_gradcam", "input_x_gradient")
METRICS_MEASURED = (
    "saco",
    "deletion_auc",
    "insertion_auc",
    "log_odds",
    "comprehensiveness",
    "sufficiency",
    "faithfulness_correlation",
    "pixel_flipping",
    "average_drop",
    "road_morf",
)
PATH = ("integrated_gradients", "smoothgrad", "rise", "kernel_shap", "occlusion")
FEW = 8
"""Images for the explainers of ``PATH``: each takes up to thousands of passes per image."""
ATTACKS_MEASURED = {
    "pgd": {"eps": 4 / 255, "steps": 10},
    "pgd_l2": {"eps": 0.5, "steps": 10},
    "top_k_attack": {"eps": 8 / 255, "steps": 10},
}
ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "metrics.md"
START, END = "<!-- precision: made by benchmarks/precision.py -->", "<!-- end of precision -->"
T = TypeVar("T")


def images_of(study: Study, count: int) -> tuple[torch.Tensor, list[str]]:
    """The first ``count`` embedded test images, in [0, 1]."""
    reader, _ = study.datasets["fashion_mnist"]
    source = REGISTRIES["datasets"][reader.name].implementation(reader.parameters)
    index = np.arange(count)
    return torch.from_numpy(source.read(index).copy()).float() / 255, [source.image_ids[i] for i in index]


def timed(work: Callable[[], T], device: torch.device) -> tuple[T, float]:
    """The result of the second of two calls, and its time: of this process on a CPU, by the wall on a GPU."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    work()
    start = clock()
    found = work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return found, clock() - start


class Case:
    """A shipped model and what its stages find in a precision."""

    def __init__(self, classifier: Classifier, images: torch.Tensor, ids: list[str]) -> None:
        """The predicted classes are explained."""
        self.classifier, self.ids, self.device = classifier, ids, classifier.mean.device
        self.images = images.to(self.device)
        with torch.inference_mode():
            self.targets = self.classifier(self.images).argmax(1)
        self.scored = self.maps(METHODS, "float32")

    def maps(
        self, names: tuple[str, ...] | list[str], precision: Precision, count: int | None = None
    ) -> dict[str, torch.Tensor]:
        """Method → maps of the first ``count`` images, without it of all."""
        methods = {name: EXPLAINERS.item(name) for name in names}
        shown = self.images[:count], self.targets[:count], self.ids[:count]
        return explain(self.classifier, *shown, methods, seed=0, batch_size=64, precision=precision)

    def scores(self, metric: str, precision: Precision) -> NDArray[np.float64]:
        """(images, methods) of the metric's first variant."""
        found = evaluate(
            self.classifier,
            self.images,
            self.targets,
            self.ids,
            self.scored,
            {metric: METRICS.item(metric)},
            precision=precision,
        ).scores.to_pandas()
        first = found[found.variant == found.variant.iloc[0]]
        return first.pivot(index="image_id", columns="method", values="value").loc[self.ids, list(METHODS)].to_numpy()

    def attacked(self, name: str, precision: Precision) -> AttackResult:
        """Images crafted in the precision."""
        attack = ATTACKS.item(name, **ATTACKS_MEASURED[name])
        stored = (self.images * 255).round() / 255
        return attack_images(
            self.classifier, stored, self.targets, self.ids, attack, seed=0, batch_size=64, precision=precision
        )

    def probabilities(self, precision: Precision) -> torch.Tensor:
        """(images, classes)."""
        with passes_in(self.classifier, precision):
            return forward_in_batches(self.classifier, self.images, 64).softmax(1)


Cases = dict[str, Case]


def rows(cases: Cases, precisions: list[Precision], row: Callable[[Case, Precision], Iterator[list[str]]]) -> str:
    """Markdown lines, model and precision first."""
    return "\n".join(
        "| " + " | ".join([name, precision, *cells]) + " |"
        for name, case in cases.items()
        for precision in precisions
        for cells in row(case, precision)
    )


def of_scores(case: Case, precision: Precision) -> Iterator[list[str]]:
    """One row per metric."""
    for metric in METRICS_MEASURED:
        exact, seconds = timed(partial(case.scores, metric, "float32"), case.device)
        values, own = timed(partial(case.scores, metric, precision), case.device)
        known = np.isfinite(exact) & np.isfinite(values)
        gap = np.abs(values - exact)[known]
        means = np.nanmean(exact, 0), np.nanmean(values, 0)
        tau = kendalltau(*means).statistic
        moved = np.abs(means[0] - means[1]).max()
        correlation = spearmanr(exact[known], values[known]).statistic
        order = "same" if tau > 0.999 else f"τ = {tau:.2f}"
        cells = [f"{gap.mean():.4f}", f"{gap.max():.3f}", f"{moved:.4f}", f"{correlation:.4f}", order]
        yield [f"`{metric}`", *cells, f"{own / seconds:.2f}"]


def of_maps(case: Case, precision: Precision) -> Iterator[list[str]]:
    """One row per explainer, after one for the time of all that share a pass."""
    shared = [entry.name for entry in one_pass() if entry.name != "random"]
    exact, seconds = timed(lambda: case.maps(shared, "float32"), case.device)
    half, own = timed(lambda: case.maps(shared, precision), case.device)
    times = dict.fromkeys(shared, own / seconds)
    for name in PATH:
        one, seconds = timed(partial(case.maps, [name], "float32", FEW), case.device)
        other, own = timed(partial(case.maps, [name], precision, FEW), case.device)
        exact, half, times = exact | one, half | other, times | {name: own / seconds}
    for name, share in times.items():
        pairs = zip(exact[name].flatten(1).double(), half[name].flatten(1).double(), strict=True)
        alike = [float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in pairs if all(p.std() > 0 for p in pair)]
        kept = top_k_overlap(exact[name].numpy(), half[name].numpy(), TopK(k=(0.2,)))["k=0.2"]
        cells = [f"{np.mean(alike):.4f}", f"{min(alike):.4f}", f"{float(kept.mean()):.3f}"] if alike else ["–"] * 3
        yield [f"`{name}`", *cells, f"{share:.2f}"]


def of_attacks(case: Case, precision: Precision) -> Iterator[list[str]]:
    """One row per attack."""
    for name in ATTACKS_MEASURED:
        exact, seconds = timed(partial(case.attacked, name, "float32"), case.device)
        half, own = timed(partial(case.attacked, name, precision), case.device)
        changed = (exact.images != half.images).mean()
        both = (exact.prediction == half.prediction).mean()
        cells = [f"{exact.success.mean():.3f}", f"{half.success.mean():.3f}", f"{both:.3f}", f"{changed:.3f}"]
        yield [f"`{name}`", *cells, f"{own / seconds:.2f}"]


def of_predictions(case: Case, precision: Precision) -> Iterator[list[str]]:
    """One row."""
    exact, seconds = timed(lambda: case.probabilities("float32"), case.device)
    half, own = timed(lambda: case.probabilities(precision), case.device)
    changed = int((exact.argmax(1) != half.argmax(1)).sum())
    gap = (exact - half).abs()
    yield [f"{changed}/{len(exact)}", f"{float(gap.mean()):.5f}", f"{float(gap.max()):.3f}", f"{own / seconds:.2f}"]


TABLES: dict[str, tuple[Callable[[Case, Precision], Iterator[list[str]]], list[str]]] = {
    "Scores": (
        of_scores,
        ["metric", "mean abs. difference", "largest", "of a method's mean", "Spearman", "method order", "time"],
    ),
    "Maps": (of_maps, ["explainer", "Pearson, mean", "least", "leading patches kept", "time"]),
    "Attacks": (of_attacks, ["attack", "success, float32", "success", "same prediction", "pixels changed", "time"]),
    "Predictions": (of_predictions, ["classes changed", "mean change of a probability", "largest", "time"]),
}
"""Heading → rows of a model in a precision, and their columns."""


def main() -> None:
    """Print the tables, or write them into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(1)
    keep_freed_memory()
    study = load_study(read_yaml(ROOT / "config" / "config.yaml"))
    images, ids = images_of(study, options.images)
    cases = {}
    for name in ("vit_patch4", "vit_patch2"):
        spec = study.models[name].model_dump(mode="json")
        cases[name] = Case(load_classifier(spec, Path(spec["weights"]), options.device), images, ids)
    precisions: list[Precision] = ["bfloat16"] if options.device == "cpu" else ["tf32", "bfloat16"]
    where = processor() if options.device == "cpu" else torch.cuda.get_device_name()
    found = (
        f"{len(ids)} images ({FEW} for {', '.join(f'`{name}`' for name in PATH)}); {len(METHODS)} methods for scores. "
        f"Measured on: {where}."
    )
    for title, (row, columns) in TABLES.items():
        head = ["model", "precision", *columns]
        found += f"\n\n{title}:\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}\n{rows(cases, precisions, row)}"
        print(title, flush=True)
    if not options.write:
        print(found)
        return
    before, _, rest = PAGE.read_text().partition(START)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"{PAGE} lacks the lines '{START}' and '{END}'")
    PAGE.write_text(f"{before}{START}\n\n{found}\n\n{END}{after}")


if __name__ == "__main__":
    main()

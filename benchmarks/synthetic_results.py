"""Results of a study without its networks: files in the project's own schemas with random numbers, for tables, figures and page at any size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray

from vitfaith.artifacts.images import image_digest
from vitfaith.artifacts.paths import Condition, artifact
from vitfaith.artifacts.schemas import (
    CERTIFICATES,
    CURVES,
    IMAGES,
    MAPS,
    PREDICTIONS,
    SANITY,
    SCORES,
    SHARDS,
    STABILITY,
)
from vitfaith.artifacts.store import write_table
from vitfaith.statistics.segmentation import VARIANTS
from vitfaith.study.conditions import experiment_conditions
from vitfaith.study.load import load_study
from vitfaith.study.plan import Plan

ROOT = Path(__file__).resolve().parents[1]
STEPS = {"groups": range(1, 11), "morf": range(11), "lerf": range(11)}
CURVED = ("saco", "deletion_auc", "insertion_auc", "aopc", "log_odds")


@dataclass(frozen=True)
class Size:
    """How large the files are, and what is odd about them.

    Attributes:
        classes, grid, side: of the model's answer, of a map, and of a picture.
        flagged: share of the maps without a score, different ones for every method.
        clusters: images of one cluster, 0 for independent images.
    """

    classes: int = 1000
    grid: int = 14
    side: int = 224
    flagged: float = 0.0
    clusters: int = 0


def study(images: int, shard: int = 1000, **asked: Any) -> dict[str, Any]:
    """The example study of all ImageNet with fewer images, one model, no smoothing: three conditions, 15 methods.

    ``asked`` replaces keys of the experiment.
    """
    config: dict[str, Any] = yaml.safe_load((ROOT / "config" / "examples" / "imagenet_full.yaml").read_text())
    config["datasets"]["imagenet"] |= {"images": images, "shard_size": shard}
    chosen = {"models": ["vit_b"], "smoothings": ["none"]} | asked
    config["experiments"]["imagenet"] |= chosen
    return config


def write_results(config: Mapping[str, Any], folder: Path, size: Size, seed: int = 0) -> Plan:
    """Write every file that the tables of the study's experiments read below ``folder``/results."""
    plan = Plan(load_study(dict(config)))
    for name, experiment in plan.study.experiments.items():
        for dataset in experiment.datasets:
            images = config["datasets"][dataset]["images"]
            for number, shard in enumerate(plan.shards(dataset)):
                each = config["datasets"][dataset]["shard_size"]
                ids = [f"ILSVRC2012_val_{i + 1:08d}" for i in range(number * each, min(images, (number + 1) * each))]
                draw = Draw(np.random.default_rng([seed, number]), ids, size, plan, name)
                for path, schema, columns in draw.files(dataset):
                    target = Path(artifact(str(folder / "results"), *path, shard))
                    if not target.exists():
                        write_table(pa.table(columns), target, schema, {"forwards": 10, "backwards": 3})
    return plan


File = tuple[tuple[str, Condition, str | None], pa.Schema, dict[str, Any]]


@dataclass(frozen=True)
class Draw:
    """The files of one shard of images."""

    rng: np.random.Generator
    ids: Sequence[str]
    size: Size
    plan: Plan
    experiment: str

    def files(self, dataset: str) -> Iterator[File]:
        """((stage, condition, family), schema, columns) of every file."""
        count = len(self.ids)
        label = self.rng.integers(0, self.size.classes, count).astype(np.int32)
        base = {"image_id": list(self.ids), "label": label}
        clean = self._pictures()
        yield ("shard", Condition(dataset, "", "", ""), None), SHARDS, base | clean | self._clusters()
        for condition in experiment_conditions(self.plan.study.experiments[self.experiment]):
            if condition.dataset != dataset:
                continue
            predicted = np.where(self.rng.random(count) < 0.7, label, 0).astype(np.int32)
            attacked = {"target": label, "prediction": predicted, "success": predicted != label}
            attacked |= {"linf": np.full(count, 0.03, np.float32), "l2": self.rng.random(count, np.float32)}
            pictures = self._pictures()
            attacked |= pictures if self.plan.changes(condition.attack) else _referred(clean)
            yield ("attack", replace(condition, smoothing=""), None), IMAGES, base | attacked
            yield ("predictions", condition, None), PREDICTIONS, base | self._predictions(label)
            for family, methods in self.plan.methods(condition).items():
                yield from self._of_maps(condition, family, methods, label)
            if self.plan.certificates(condition):
                yield ("certificates", condition, None), CERTIFICATES, self._certificates(condition, label)

    def _of_maps(
        self, condition: Condition, family: str, methods: list[str], label: NDArray[np.int32]
    ) -> Iterator[File]:
        flags = np.where(self.rng.random((len(methods), len(self.ids))) < self.size.flagged, "constant", "").ravel()
        rows = self._rows(methods)
        yield ("attribute", condition, family), MAPS, rows | self._maps(label, flags)
        kinds = [(m, v) for m in self.plan.metrics(condition) for v in self._variants(m)]
        yield ("scores", condition, family), SCORES, self._measured(rows, kinds, flags)
        steps = [(c, s) for c, taken in STEPS.items() for s in taken] if any(m in CURVED for m, _ in kinds) else []
        yield ("curves", condition, family), CURVES, self._curves(rows, flags, steps)
        references, measures = sorted(self.plan.references(condition)), self.plan.measures(condition)
        if references:
            compared = [(r, (m, "k=10")) for r in references for m in measures]
            columns = self._measured(rows, [kind for _, kind in compared], flags)
            yield ("stability", condition, family), STABILITY, columns | self._names("reference", compared, rows)
        if checks := self.plan.checks(condition):
            made = [(c, ("spearman", "")) for c in checks]
            columns = self._measured(rows, [kind for _, kind in made], flags) | self._names("check", made, rows)
            added = {"reference": ["noise"] * len(columns["value"]), "step": np.zeros(len(columns["value"]), np.int16)}
            yield ("sanity", condition, family), SANITY, columns | added

    def _pictures(self) -> dict[str, Any]:
        count, side = len(self.ids), self.size.side
        pixels = self.rng.integers(0, 256, (4, 3 * side * side), np.uint8)
        shape = {"channels": 3, "height": side, "width": side}
        held = {name: np.full(count, value, np.int16) for name, value in shape.items()}
        return held | {"pixels": [pixels[i % 4].tobytes() for i in range(count)]}

    def _clusters(self) -> dict[str, Any]:
        if not self.size.clusters:
            return {}
        return {"cluster": [f"scene {int(i[-8:]) // self.size.clusters}" for i in self.ids]}

    def _predictions(self, label: NDArray[np.int32]) -> dict[str, Any]:
        count, classes = len(self.ids), self.size.classes
        share = self.rng.random((count, classes), np.float32)
        share /= share.sum(1, keepdims=True)
        votes = np.zeros((count, classes), np.int32)
        votes[np.arange(count), share.argmax(1)] = 1
        found = {"target": label, "prediction": share.argmax(1).astype(np.int32), "samples": np.ones(count, np.int32)}
        found["target_probability"] = share[np.arange(count), label]
        return found | {"probabilities": lists(share, pa.float32()), "votes": lists(votes, pa.int32())}

    def _rows(self, methods: list[str]) -> dict[str, Any]:
        """The columns image_id and method, method by method."""
        method, image = np.indices((len(methods), len(self.ids))).reshape(2, -1)
        return {"image_id": texts(self.ids, image), "method": texts(methods, method)}

    def _maps(self, label: NDArray[np.int32], flags: NDArray[np.str_]) -> dict[str, Any]:
        cells, count = self.size.grid**2, len(flags)
        few = self.rng.random((16, cells), np.float32)
        shape = {"rows": self.size.grid, "columns": self.size.grid}
        return {
            "target": np.tile(label, count // max(1, len(label))),
            **{name: np.full(count, value, np.int16) for name, value in shape.items()},
            "map": lists(few[np.arange(count) % 16], pa.float32()),
            "spread": pa.nulls(count, pa.list_(pa.float32())),
            "samples": np.ones(count, np.int32),
            "flag": flags.tolist(),
            "tied": np.where(flags == "", self.rng.random(count), 1.0),
        }

    def _variants(self, metric: str) -> Sequence[str]:
        if self.plan.study.metrics[metric].traits.get("pooled") == "segmentation":
            return VARIANTS
        return ["k=10", "k=5"] if metric.startswith("saco") else [""]

    def _measured(
        self, rows: Mapping[str, Any], kinds: Sequence[tuple[str, str]], flags: NDArray[np.str_]
    ) -> dict[str, Any]:
        """The columns of a score for every row and kind (metric, variant)."""
        each, kind = np.repeat(np.arange(len(flags)), len(kinds)), np.tile(np.arange(len(kinds)), len(flags))
        value = self.rng.normal(size=len(each)) + 1e-3 * each / len(self.ids)
        return {
            **{name: column.take(pa.array(each)) for name, column in rows.items()},
            "metric": texts([metric for metric, _ in kinds], kind),
            "variant": texts([variant for _, variant in kinds], kind),
            "value": np.where(flags[each] == "", value, np.nan),
            "flag": texts(["", "constant"], (flags[each] != "").astype(int)),
        }

    def _names(self, column: str, kinds: Sequence[tuple[str, Any]], rows: Mapping[str, Any]) -> dict[str, Any]:
        kind = np.tile(np.arange(len(kinds)), len(rows["method"]))
        return {column: texts([name for name, _ in kinds], kind)}

    def _curves(
        self, rows: Mapping[str, Any], flags: NDArray[np.str_], steps: Sequence[tuple[str, int]]
    ) -> dict[str, Any]:
        each, place = np.repeat(np.arange(len(flags)), len(steps)), np.tile(np.arange(len(steps)), len(flags))
        step = np.array([step for _, step in steps], np.int16)[place]
        groups = np.array([curve == "groups" for curve, _ in steps], bool)[place]
        answer = self.rng.random(len(each), np.float32)
        answer[flags[each] != ""] = np.nan
        noise = self.rng.random(len(each), np.float32)
        return {
            **{name: column.take(pa.array(each)) for name, column in rows.items()},
            "curve": texts([curve for curve, _ in steps], place),
            "variant": texts(["mean 10", "k=10"], groups.astype(int)),
            "step": step,
            "fraction": np.where(groups, 0.1 + 0.01 * (noise > 0.5), step / 10).astype(np.float32),
            "probability": answer,
            "log_probability": np.log(answer + np.float32(1e-6)),
            "kl": 1 - answer,
            "prediction": np.zeros(len(each), np.int32),
            "salience": pa.array(
                np.where(groups, 1 - 0.05 * step + 0.01 * noise, np.nan).astype(np.float32), from_pandas=True
            ),
        }

    def _certificates(self, condition: Condition, label: NDArray[np.int32]) -> dict[str, Any]:
        named = self.plan.certificates(condition)
        methods = ["", *(m for ms in self.plan.methods(condition).values() for m in ms)]
        kinds = [(c, m, k) for c in named for m in methods for k in ((0,) if not m else (3, 5))]
        kind, image = np.indices((len(kinds), len(self.ids))).reshape(2, -1)
        alone = np.array([not m for _, m, _ in kinds])[kind]
        count = len(kind)
        radius = np.where(self.rng.random(count) < 0.2, 0.0, self.rng.random(count))
        numbers = {"beta": 0.5, "sigma": 0.25, "alpha": 0.01, "inside": 0.6, "outside": 0.3}
        empty = {"map_radius": np.nan, "prediction_radius": np.nan}
        return {
            "image_id": texts(self.ids, image),
            "method": texts([m for _, m, _ in kinds], kind),
            "certificate": texts([c for c, _, _ in kinds], kind),
            "base": ["vote"] * count,
            "bound": ["none"] * count,
            "k": np.array([k for _, _, k in kinds], np.int32)[kind],
            **{name: np.full(count, value) for name, value in (numbers | empty).items()},
            "selection": np.full(count, 2, np.int32),
            "samples": np.full(count, 2, np.int32),
            "radius": np.where(self.rng.random(count) < self.size.flagged, np.nan, radius),
            "linf": radius / 10,
            "limit": [""] * count,
            "label": pa.array(label[image], mask=~alone),
            "prediction": pa.array(label[image], mask=~alone),
            "sound": np.ones(count, bool),
            "flag": [""] * count,
        }


def texts(names: Sequence[str], places: NDArray[np.integer[Any]]) -> pa.Array:
    """Names by their places."""
    return pa.DictionaryArray.from_arrays(pa.array(places.astype(np.int32)), pa.array(list(names))).cast(pa.string())


def _referred(pictures: Mapping[str, Any]) -> dict[str, Any]:
    """The picture columns of an attack that changes nothing."""
    shapes = zip(*(pictures[name].tolist() for name in ("channels", "height", "width")), strict=True)
    digests = [image_digest(shape, one) for shape, one in zip(shapes, pictures["pixels"], strict=True)]
    return {**pictures, "pixels": pa.nulls(len(digests), pa.binary()), "digest": digests}


def lists(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    """A column of lists from an array (rows, length)."""
    offsets = pa.array(np.arange(len(values) + 1, dtype=np.int32) * values.shape[1])
    return pa.ListArray.from_arrays(offsets, pa.array(values.ravel(), kind))

"""The jobs of a study, without Snakemake: outputs, log and number of images of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vitfaith.artifacts.paths import SHARED, Condition, artifact
from vitfaith.artifacts.store import partition_values
from vitfaith.datasets.subset import shard_number
from vitfaith.study.plan import Plan

STAGE_OF = {"predictions": "predict", "scores": "score", "curves": "score", "certificates": "certify"}
"""Folder below the results → stage, where the two differ."""

ORDER = ("shard", "attack", "denoise", "predict", "bank", "attribute", "score", "stability", "sanity", "certify")
"""Stages over shards, in the order of the chain."""

OF_EXPERIMENT = ("tables", "figures", "page")
"""Stages over experiments, which follow."""


@dataclass
class Job:
    """One job.

    Attributes:
        place: its name among the jobs of its stage: values of its wildcards, joined by ``/``.
        images: images that it works on; 0 for tables and figures.
        outputs: files that it writes, relative to the folder of the study.
        reads: of tables, figures and page, the result files of their experiment.
    """

    stage: str
    place: str
    images: int
    outputs: list[Path] = field(default_factory=list)
    reads: list[Path] = field(default_factory=list)

    @property
    def log(self) -> Path:
        """Its log file."""
        return Path("logs", self.stage, f"{self.place}.log")

    @property
    def benchmark(self) -> Path:
        """Where Snakemake notes its seconds."""
        return Path("results", "benchmarks", self.stage, f"{self.place}.jsonl")

    @property
    def wildcards(self) -> dict[str, str]:
        """Its wildcards in the workflow, from its first output; of tables, figures and page the experiment."""
        if self.stage in OF_EXPERIMENT:
            return {"experiment": self.place.split("/")[0]}
        values = partition_values(self.outputs[0])
        if self.stage == "attack":
            values.pop("smoothing", None)  # of the predictions that it writes, too
        return values

    @property
    def kinds(self) -> list[tuple[str, ...]]:
        """Features for the cost estimate, most predictive first; jobs of one kind have a similar cost per image."""
        values = partition_values(self.outputs[0])
        whole = tuple(values.get(k, "") for k in ("model", "attack", "smoothing", "family"))
        return [(self.stage, *whole), (self.stage, *whole[2:]), (self.stage, whole[3]), (self.stage,)]


def jobs(plan: Plan) -> list[Job]:
    """Every job of ``plan``, stage by stage."""
    found: dict[tuple[str, str], Job] = {}
    for path in _shard_files(plan):
        folder = path.relative_to(plan.results).parts[0]
        stage = STAGE_OF.get(folder, folder)
        values = partition_values(path)
        if folder == "predictions" and values["smoothing"] == "none":
            stage = "attack"  # writes what the model says of its images
            del values["smoothing"]
        place = "/".join([*values.values(), path.stem])
        images = images_of(plan, values["dataset"], path.stem)
        found.setdefault((stage, place), Job(stage, place, images)).outputs.append(path)
    listed = list(found.values())
    for name, experiment in plan.study.experiments.items():
        reads = [Path(path) for path in plan.experiment_files(name)]
        tables = Path(plan.results, "tables", f"experiment={name}", "summary.parquet")
        listed.append(Job("tables", name, 0, [tables], reads))
        listed.append(Job("page", name, 0, [Path(plan.results, "pages", f"{name}.html")], reads))
        for figure in experiment.figures:
            picture = Path(plan.results, "figures", name, f"{figure}.png")
            listed.append(Job("figures", f"{name}/{figure}", 0, [picture], reads))
    return sorted(listed, key=lambda j: [*ORDER, *OF_EXPERIMENT].index(j.stage))


def images_of(plan: Plan, dataset: str, shard: str) -> int:
    """Images of one shard; the last one may be smaller."""
    size = plan.study.datasets[dataset][1].shard_size
    return min(size, plan.images(dataset) - shard_number(shard) * size)


def _shard_files(plan: Plan) -> Iterator[Path]:
    seen: set[str] = set()

    def new(path: str) -> bool:
        return path not in seen and not seen.add(path)  # type: ignore[func-returns-value]

    for condition in dict.fromkeys(map(plan.of_maps, plan.conditions)):
        for shard in plan.shards(condition.dataset):
            source = artifact(plan.results, "shard", Condition(condition.dataset, "", "", ""), None, shard)
            model = SHARED if condition.attack == "clean" else condition.model
            sampled = plan.denoised(condition.dataset, model, condition.attack, condition.smoothing, shard)
            wanted = [source, sampled] if plan.smooths(condition.smoothing) else [source]
            yield from (Path(path) for path in wanted if new(path))
    for name in plan.study.experiments:
        yield from (Path(path) for path in plan.experiment_files(name) if new(path))

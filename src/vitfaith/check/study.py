"""Check a whole study: keys, files, shapes, classes, explainers, disk and memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import accumulate
from pathlib import Path

from vitfaith.artifacts.paths import Condition
from vitfaith.attacks.registry import smoothing_seen
from vitfaith.check.accuracy import check_accuracy
from vitfaith.check.datasets import DatasetFacts, dataset_facts
from vitfaith.check.denoisers import check_fill, check_smoothing, denoiser_of
from vitfaith.check.explainers import rehearse, twin_of
from vitfaith.check.external import check_external
from vitfaith.check.fit import check_fit
from vitfaith.check.learned import check_learned_files
from vitfaith.check.models import check_pair, check_teachers, model_of
from vitfaith.check.numbers import check_numbers
from vitfaith.check.report import Report
from vitfaith.check.room import Memory, amount, disk_free, disk_needed, memory_here, memory_needed
from vitfaith.check.scoring import check_scoring
from vitfaith.check.targets import check_targets
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.device import visible_gpus
from vitfaith.errors import ConfigError
from vitfaith.models.classifier import Classifier
from vitfaith.models.fast.switch import fast_paths
from vitfaith.study.learned import explained_models
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan
from vitfaith.study.sections import AXES
from vitfaith.study.study import Study

_LINE = 100
"""Characters of the ids that an axis shows."""


def check_study(config: Path, *, elsewhere: bool = False, results: str = "results", sample: int = 0) -> list[str]:
    """Check all that can be known before a run; reads headers, weights, and three images of each dataset.

    Args:
        config: the YAML file.
        elsewhere: the study runs on another machine, so disk and memory are reported, but not compared with this machine's.
        results: folder that the results go to.
        sample: images of each dataset that every model classifies, to see whether labels, weights and normalisation fit.

    Returns:
        Lines that say what a run will do, and what may surprise.

    Raises:
        ConfigError: a line for everything that is wrong: its key, what, and the way out.
    """
    study = load_study(read_yaml(config))
    with fast_paths(on=study.compute.fast == "on"):
        return _check(config, study, elsewhere, results, sample)


def _check(config: Path, study: Study, elsewhere: bool, results: str, sample: int) -> list[str]:
    plan, report = Plan(study, results), Report()
    datasets, models, denoisers = _datasets(study, plan, report), _models(plan, report), _denoisers(plan, report)
    check_numbers({f"models.{id_}.weights": plan.weights(id_) for id_ in models}, report)
    check_numbers({f"denoisers.{id_}.path": _used_denoisers(plan)[id_][1] for id_ in denoisers}, report)
    for dataset, model in dict.fromkeys((c.dataset, c.model) for c in plan.conditions):
        if dataset in datasets and model in models:
            check_pair(dataset, datasets[dataset], model, models[model], report)
    _check_denoised(plan, datasets, denoisers, report)
    _check_metrics(study, datasets, report)
    check_fit(plan, models, denoisers, report)
    check_external(study, datasets, models, report)
    check_targets(study, datasets, models, report)
    check_learned_files(plan, models, report)
    check_teachers(plan, models, report)
    check_scoring(plan, models, report)
    twins = _twins(study, models, report)
    for model, twin in twins.items():
        asked = {e for x in study.experiments.values() if model in explained_models(plan, x) for e in x.explainers}
        chosen = {id_: study.explainers[id_] for id_ in sorted(asked)}
        rehearse(model, twin, chosen, report)
    lines = _outline(config, study, plan)
    with report.about("estimate"):
        disk = disk_needed(plan, datasets, models)
        memory = memory_needed(plan, datasets, models, twins, denoisers)
        lines += _room(plan, disk, memory, elsewhere, report)
    if sample and not report.problems:
        check_accuracy(plan, datasets, sample, report)
    if report.problems:
        raise ConfigError("\n".join(report.problems))
    return lines + [f"  note: {note}" for note in report.notes]


def _datasets(study: Study, plan: Plan, report: Report) -> dict[str, DatasetFacts]:
    found = {}
    for id_ in sorted({c.dataset for c in plan.conditions}):
        with report.about(f"datasets.{id_}"):
            found[id_] = dataset_facts(study, id_)
    return found


def _models(plan: Plan, report: Report) -> dict[str, Classifier]:
    found = {id_: model_of(plan, id_, report) for id_ in sorted({c.model for c in plan.conditions})}
    return {id_: model for id_, model in found.items() if model is not None}


def _twins(study: Study, models: dict[str, Classifier], report: Report) -> dict[str, Classifier]:
    found = {}
    for id_, classifier in models.items():
        with report.about(f"models.{id_}"):
            found[id_] = twin_of(study.models[id_], classifier)
    return found


def _denoisers(plan: Plan, report: Report) -> dict[str, Denoiser]:
    found = {}
    for id_, (path, files) in _used_denoisers(plan).items():
        found[id_] = denoiser_of(plan, id_, path, files, report)
    return {id_: denoiser for id_, denoiser in found.items() if denoiser is not None}


def _used_denoisers(plan: Plan) -> dict[str, tuple[str, list[Path]]]:
    """Id of every denoiser in use → what its section names, and its files."""
    found = {}
    used = {("smoothings", c.smoothing) for c in plan.conditions} | {("attacks", c.attack) for c in plan.conditions}
    for section, user in sorted(used | {("metrics", id_) for c in plan.conditions for id_ in plan.metrics(c)}):
        id_, path = plan.denoiser_id(section, user), plan.denoiser(section, user)
        if id_ is not None and path is not None and id_ not in found:
            found[id_] = path, [Path(file) for file in plan.denoiser_files(section, user)]
    return found


def _check_denoised(
    plan: Plan, datasets: dict[str, DatasetFacts], denoisers: dict[str, Denoiser], report: Report
) -> None:
    def seen(condition: Condition) -> list[str]:
        through = smoothing_seen(plan.study.attacks[condition.attack].parameters)
        return [] if through is None else [through]

    for section, users, check in (
        ("smoothings", lambda c: [c.smoothing, *seen(c)], check_smoothing),
        ("metrics", plan.metrics, check_fill),
    ):
        used: dict[str, set[str]] = {}
        for condition in plan.conditions:
            for id_ in users(condition):
                used.setdefault(id_, set()).add(condition.dataset)
        for id_, names in sorted(used.items()):
            denoiser = denoisers.get(plan.denoiser_id(section, id_) or "")
            if denoiser is not None:
                parameters = getattr(plan.study, section)[id_].parameters
                check(id_, parameters, denoiser, {d: f for d, f in datasets.items() if d in names}, report)


def _check_metrics(study: Study, datasets: dict[str, DatasetFacts], report: Report) -> None:
    """A metric that needs masks, or labels, of a dataset that has none ends its jobs."""
    for name, experiment in study.experiments.items():
        for metric in experiment.metrics:
            needs = study.metrics[metric].traits.get("needs", ())
            for dataset in experiment.datasets:
                facts = datasets.get(dataset)
                if facts is None:
                    continue
                lacks = [
                    what
                    for need, what, there in (("truth", "masks", facts.masks), ("labels", "labels", facts.labels >= 0))
                    if need in needs and not there
                ]
                for what in lacks:
                    report.problem(
                        f"experiments.{name}.metrics",
                        f"'{metric}' needs {what}, and dataset '{dataset}' has none; give them to its reader, or leave the "
                        "metric to an experiment on other datasets",
                    )


def _outline(config: Path, study: Study, plan: Plan) -> list[str]:
    lines = [f"{config}: {_counted(study.experiments, 'experiment')}, {_counted(plan.conditions, 'condition')}"]
    for name, experiment in study.experiments.items():
        lines.append(
            f"  {name}: {' × '.join(_counted(getattr(experiment, axis), axis.removesuffix('s')) for axis in (*AXES, 'targets'))}"
        )
        lines += [f"    {key}: {_shortened(ids)}" for key, ids in experiment if ids]
    return lines


def _counted(things: Collection[object], noun: str) -> str:
    return f"{len(things)} {noun}" + ("" if len(things) == 1 else "s")


def _shortened(ids: Sequence[str]) -> str:
    """The first ids that fit into a line, and the number of the others."""
    fitting = sum(length <= _LINE for length in accumulate(len(id_) + 2 for id_ in ids))
    left = len(ids) - max(fitting, 1)
    return ", ".join(ids[: len(ids) - left]) + (f" and {left} more" if left else "")


def _room(plan: Plan, disk: dict[str, float], memory: Memory, elsewhere: bool, report: Report) -> list[str]:
    total, most = sum(disk.values()), max(disk, key=lambda part: disk[part])
    free = disk_free(Path(plan.results))
    here = memory_here()
    on_gpu = plan.study.compute.device != "cpu" and bool(visible_gpus())
    if not elsewhere and total > free:
        report.problem(
            "disk",
            f"the study writes up to {amount(total)} below {plan.results}/ ({amount(disk[most])} of them in {most}/), "
            f"{amount(free)} are free; use fewer images or samples, or make {plan.results} a link to a larger disk",
        )
    if not elsewhere and not on_gpu and memory.size > here:
        report.problem(
            "memory",
            f"the largest job ({memory.job}) needs up to {amount(memory.size)}, this machine has {amount(here)}; "
            "lower compute.batch_size or the dataset's shard_size",
        )
    return [
        f"  up to {amount(total)} of disk, most of it in {plan.results}/{most}",
        f"  up to {amount(memory.size)} of memory without a GPU ({memory.job})",
    ]

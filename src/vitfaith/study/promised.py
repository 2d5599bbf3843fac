"""The files that a finished study has: a run makes each of them that is missing.

Denoised samples (``denoise/``) and answers to shared masks (``bank/``) are caches and are not among them: they can be
deleted to save disk, and are recreated when a job reads them.
"""

from __future__ import annotations

from collections.abc import Iterator

from vitfaith.artifacts.paths import Condition
from vitfaith.study.learned import model_files, trained_file
from vitfaith.study.plan import Plan


def promised_files(plan: Plan) -> list[str]:
    """Paths of the shards, of the networks trained for the study, and of all results that its experiments collect."""
    return list(dict.fromkeys([*_shards(plan), *_networks(plan), *_results(plan)]))


def _shards(plan: Plan) -> Iterator[str]:
    for dataset in dict.fromkeys(c.dataset for c in plan.conditions):
        yield from plan.files("shard", Condition(dataset, "", "", ""))


def _results(plan: Plan) -> Iterator[str]:
    for name in plan.study.experiments:
        yield from plan.experiment_files(name)


def _networks(plan: Plan) -> Iterator[str]:
    """Files of classifiers, denoisers and learned explainers that the study trains and its conditions read."""
    for model in dict.fromkeys(c.model for c in plan.conditions):
        if plan.study.models[model].weights == "trained":
            yield from plan.weights(model)
    for condition in dict.fromkeys(map(plan.of_maps, plan.conditions)):
        for section, id_ in (("attacks", condition.attack), ("smoothings", condition.smoothing)):
            name = plan.denoiser_id(section, id_)
            if name is not None and plan.study.denoisers[name].path == "trained":
                yield from plan.denoiser_files(section, id_)
        for id_ in (id_ for ids in plan.methods(condition).values() for id_ in ids):
            own = trained_file(plan, id_, condition.model)
            if own in model_files(plan, id_, condition.model).values():
                yield own

"""What a job reads beside the files that its rule names: weights, denoised samples, a bank, maps of other conditions …"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from vitfaith.artifacts.paths import SHARED, Condition, artifact
from vitfaith.study.learned import learned_files, surrogate_of, trained, trained_file, trainings
from vitfaith.study.metric_inputs import infilled, infilled_bank, score_inputs
from vitfaith.study.plan import Plan


@dataclass(frozen=True)
class Read:
    """One option of a verb.

    Attributes:
        option: its name, without dashes.
        path: what the verb is given: a file, a folder, or an id of the Hugging Face hub.
        files: the files of ``path`` that the job waits for; none of the hub.
    """

    option: str
    path: str
    files: tuple[str, ...]


def reads(plan: Plan, stage: str, wildcards: Mapping[str, str]) -> list[Read]:
    """The options of a job that the plan decides, in the order of its command line."""
    return [read for part in _PARTS[stage] for read in part(plan, wildcards)]


def images_to_score(plan: Plan, wildcards: Mapping[str, str]) -> str:
    """The images that metrics perturb, made for the explained model."""
    condition = replace(plan.of_maps(_condition(wildcards)), smoothing="")
    return artifact(plan.results, "attack", condition, None, wildcards["shard"])


def maps_to_score(plan: Plan, wildcards: Mapping[str, str]) -> str:
    """The maps that a job scores, made for the explained model."""
    condition = plan.of_maps(_condition(wildcards))
    return artifact(plan.results, "attribute", condition, wildcards["family"], wildcards["shard"])


def images_to_denoise(plan: Plan, wildcards: Mapping[str, str]) -> str:
    """The images that a job denoises: clean ones once for all models, attacked ones of one model."""
    condition = _condition(wildcards)
    if condition.model == SHARED or not plan.changes(condition.attack):
        return _shard(plan, wildcards)
    attacked = Condition(condition.dataset, condition.model, condition.attack, "")
    return artifact(plan.results, "attack", attacked, None, wildcards["shard"])


def training_logs(plan: Plan, experiment: str) -> list[str]:
    """How an experiment's learned explainers were trained."""
    return [training["log"] for training in trainings(plan, experiment)]


def trained_networks(plan: Plan) -> list[str]:
    """A file of each network that the study has a recipe for."""
    folder, study = f"{plan.results}/train", plan.study
    classifiers = [f"{folder}/classifier/{name}.safetensors" for name, model in study.models.items() if model.training]
    denoisers = [f"{folder}/denoiser/{name}/unet/config.json" for name, d in study.denoisers.items() if d.training]
    return classifiers + denoisers + [trained_file(plan, *pair) for pair in trained(plan)]


def _condition(wildcards: Mapping[str, str]) -> Condition:
    """The condition of a job; an empty smoothing or explained class where its files are for all of them."""
    place = (wildcards.get(name, "") for name in ("smoothing", "explained"))
    return Condition(wildcards["dataset"], wildcards["model"], wildcards["attack"], *place)


def _shard(plan: Plan, wildcards: Mapping[str, str]) -> str:
    return artifact(plan.results, "shard", Condition(wildcards["dataset"], "", "", ""), None, wildcards["shard"])


def _pixels(plan: Plan, wildcards: Mapping[str, str]) -> Iterator[Read]:
    """The shard of images that no attack changed; behind a smoothing, explainers read denoised samples instead."""
    if not plan.changes(wildcards["attack"]):
        file = _shard(plan, wildcards)
        yield Read("pixels", file, (file,))


def _pixels_unless_smoothed(plan: Plan, wildcards: Mapping[str, str]) -> Iterator[Read]:
    if not plan.smooths(wildcards["smoothing"]):
        yield from _pixels(plan, wildcards)


def _deciding(plan: Plan, wildcards: Mapping[str, str]) -> Iterator[Read]:
    file = plan.deciding(_condition(wildcards), wildcards["shard"])
    if file is not None:
        yield Read("predictions", file, (file,))


def _weights(plan: Plan, wildcards: Mapping[str, str]) -> Iterator[Read]:
    path = plan.weights_path(wildcards["model"])
    if path is not None:
        yield Read("weights", path, tuple(plan.weights(wildcards["model"])))


def _teacher(plan: Plan, wildcards: Mapping[str, str]) -> Iterator[Read]:
    id_ = plan.teacher(wildcards["name"])
    path = None if id_ is None else plan.weights_path(id_)
    if id_ is not None and path is not None:
        yield Read("teacher", path, tuple(plan.weights(id_)))


def _surrogate(plan: Plan, wildcards: Mapping[str, str]) -> Iterator[Read]:
    id_ = surrogate_of(plan, wildcards["explainer"], wildcards["model"])
    path = plan.weights_path(id_)
    if path is not None:
        yield Read("surrogate", path, tuple(plan.weights(id_)))


def _denoiser(
    section: str, user_of: Callable[[Plan, Mapping[str, str]], str | None]
) -> Callable[[Plan, Mapping[str, str]], Iterator[Read]]:
    def of(plan: Plan, wildcards: Mapping[str, str]) -> Iterator[Read]:
        user = user_of(plan, wildcards)
        path = plan.denoiser(section, user)
        if path is not None:
            yield Read("denoiser", path, tuple(plan.denoiser_files(section, user)))

    return of


_SEEN_THROUGH = _denoiser("attacks", lambda plan, wildcards: wildcards["attack"])
_SMOOTHING = _denoiser("smoothings", lambda plan, wildcards: wildcards["smoothing"])
_FILL = _denoiser("metrics", lambda plan, wildcards: infilled(plan, _condition(wildcards)))
_FILL_OF_BANK = _denoiser("metrics", lambda plan, wildcards: infilled_bank(plan, _condition(wildcards)))


def _denoised(plan: Plan, wildcards: Mapping[str, str]) -> Iterator[Read]:
    condition = _condition(wildcards)
    if plan.smooths(condition.smoothing):
        model = SHARED if condition.attack == "clean" else condition.model
        file = plan.denoised(condition.dataset, model, condition.attack, condition.smoothing, wildcards["shard"])
        yield Read("denoised", file, (file,))


def _learned(plan: Plan, wildcards: Mapping[str, str]) -> Iterator[Read]:
    for file in learned_files(plan, _condition(wildcards), wildcards["family"]):
        yield Read("learned", file, (file,))


def _of_metrics(plan: Plan, wildcards: Mapping[str, str]) -> Iterator[Read]:
    for option, file in score_inputs(plan, _condition(wildcards), wildcards["shard"]).items():
        yield Read(option, file, (file,))


def _references(plan: Plan, wildcards: Mapping[str, str]) -> Iterator[Read]:
    condition = _condition(wildcards)
    files = plan.reference_files(condition, wildcards["family"], wildcards["shard"])
    for option, file in zip(plan.references(condition), files, strict=True):
        yield Read(option, file, (file,))


def _maps(plan: Plan, wildcards: Mapping[str, str]) -> Iterator[Read]:
    condition = _condition(wildcards)
    for family in sorted(plan.methods(condition)):
        file = artifact(plan.results, "attribute", condition, family, wildcards["shard"])
        yield Read("maps", file, (file,))


_PARTS: dict[str, tuple[Callable[[Plan, Mapping[str, str]], Iterator[Read]], ...]] = {
    "train_classifier": (_teacher,),
    "train_diffmask": (_weights,),
    "train_shapley": (_weights, _surrogate),
    "attack": (_weights, _SEEN_THROUGH),
    "denoise": (_SMOOTHING,),
    "predict": (_denoised, _weights),
    "attribute": (_pixels_unless_smoothed, _deciding, _denoised, _weights, _learned),
    "bank": (_pixels, _deciding, _weights, _FILL_OF_BANK),
    "score": (_pixels, _deciding, _weights, _of_metrics, _FILL),
    "stability": (_references,),
    "sanity": (_pixels, _deciding, _weights, _learned),
    "certify": (_maps,),
}

"""Whether a model's weights fit, and whether the model fits the images and labels it is asked about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitfaith.check.datasets import DatasetFacts
from vitfaith.check.report import Report
from vitfaith.models.classifier import Classifier, build_backbone, freeze
from vitfaith.models.load import load_classifier, side_of
from vitfaith.models.patches import find_patches
from vitfaith.models.shapes import without_numbers
from vitfaith.study.inputs import trained_networks

if TYPE_CHECKING:
    from vitfaith.study.plan import Plan
    from vitfaith.study.sections import ModelSection


def model_of(plan: Plan, id_: str, report: Report) -> Classifier | None:
    """The model ``id_`` without weights, after its files' headers were compared with it; None without, and reported."""
    key, section = f"models.{id_}", plan.study.models[id_]
    path = plan.weights_path(id_)
    with report.about(key):
        if section.weights == "trained" and not Path(str(path)).is_file():
            start = section.training.start_from if section.training is not None else None
            if start is not None and not start.is_file() and str(start) not in trained_networks(plan):
                report.problem(f"{key}.training.start_from", f"'{start}' does not exist; fetch it, or remove the key")
            report.notes.append(f"{key}: is trained first, '{path}' does not exist yet")
            return _fitting(_untrained(section))
        if path is not None and not (Path(path).is_file() or Path(path).is_dir()):
            report.problem(
                f"{key}.weights", f"'{path}' does not exist; give a file, a folder, 'trained' or 'pretrained'"
            )
            return None
        found = _fitting(load_classifier(section.spec(), None if path is None else Path(path), shapes_only=True))
        if path is None:
            _note_download(found, key, report)
        if found.normalisation_from.startswith("timm"):
            given = found.normalisation
            report.notes.append(
                f"{key}: images are normalised with mean {_short(given['mean'])}, std {_short(given['std'])}: {given['from']}, as "
                "neither the study nor the weights say; set mean and std to the values of the training"
            )
        return found
    return None


def check_pair(dataset: str, facts: DatasetFacts, model: str, classifier: Classifier, report: Report) -> None:
    """Report images of another shape than the model's, labels beyond its classes, and classes of another order."""
    shape, expected = facts.shape, classifier.input_shape
    if shape != expected:
        way = (
            f"set its channels to {'grey' if expected[0] == 1 else 'rgb'}"
            if shape[0] != expected[0]
            else f"set the dataset's preprocessing to size {expected[1]}, or models.{model}.arguments.img_size"
        )
        report.problem(
            f"datasets.{dataset}",
            f"gives images of {_product(shape)}, models.{model} takes {_product(expected)}; {way}",
        )
    if facts.labels >= classifier.num_classes:
        report.problem(
            f"datasets.{dataset}",
            f"has labels up to {facts.labels}, models.{model} has {classifier.num_classes} classes; choose a model trained "
            "on these classes",
        )
    if facts.sorted_names and len(facts.classes) < classifier.num_classes:
        report.problem(
            f"datasets.{dataset}.classes",
            f"missing; {len(facts.classes)} class names in sorted order are labels 0 to {len(facts.classes) - 1}, and "
            f"models.{model} has {classifier.num_classes} classes; give a class list with each name on the line of its label in the model, label 0 on line 1",
        )
    note = class_order_note(facts.classes, classifier.class_names)
    if note:
        report.notes.append(f"datasets.{dataset}, models.{model}: {note}")


def check_teachers(plan: Plan, models: Mapping[str, Classifier], report: Report) -> None:
    """Report teachers of networks that the run trains whose images or classes are others than the pupil's."""
    pupils = {id_: plan.teacher(id_) for id_ in models if plan.study.models[id_].weights == "trained"}
    named = sorted({name for name in pupils.values() if name is not None})
    teachers = {name: models.get(name) or model_of(plan, name, report) for name in named}
    for id_, name in pupils.items():
        teacher = None if name is None else teachers[name]
        if teacher is None:
            continue
        sizes = [(one.input_shape, one.num_classes) for one in (teacher, models[id_])]
        if sizes[0] != sizes[1]:
            told = [f"images of {_product(shape)} and has {classes} classes" for shape, classes in sizes]
            report.problem(
                f"models.{id_}.training.teacher",
                f"'{name}' takes {told[0]}, models.{id_} takes {told[1]}; name a model that fits. Where an architecture of timm's has "
                "no img_size, arguments.pretrained_cfg_overlay: {input_size: [channels, height, width]} says the size",
            )


def class_order_note(ours: Sequence[str], theirs: Sequence[str]) -> str:
    """Warning if a dataset's class names (``ours``) and a model's are not in the same order; else empty.

    Names that both have decide. Without a shared name, more than half must differ, because a name has many spellings.
    """
    names = list(zip(ours, theirs, strict=False))
    differing = [i for i, pair in enumerate(names) if not _spellings(pair[0]) & _spellings(pair[1])]
    place = {spelling: j for j, name in enumerate(theirs) for spelling in _spellings(name)}
    moved = next(((i, place[s]) for i in differing for s in sorted(_spellings(ours[i])) if s in place), None)
    if moved is not None:
        return (
            f"'{ours[moved[0]]}' is label {moved[0]} in the dataset and {moved[1]} in the model; both must count classes in "
            "the same order, give the dataset's reader a class list"
        )
    if len(differing) > len(names) / 2:
        i = differing[0]
        return (
            f"label {i} is '{names[i][0]}' in the dataset and '{names[i][1]}' in the model; make sure that both count classes "
            "in the same order"
        )
    return ""


def _untrained(section: ModelSection) -> Classifier:
    with without_numbers():
        backbone = build_backbone(str(section.timm), section.arguments)
    channels = int(section.arguments.get("in_chans", 3))
    return freeze(Classifier(backbone, [0.5] * channels, [0.5] * channels, patch_size=side_of(section.patch)))


def _fitting(classifier: Classifier) -> Classifier:
    """``classifier``; raises :class:`InputError` where its patches do not fit its images."""
    find_patches(classifier.backbone, classifier.input_shape[1:])
    return classifier


def _note_download(classifier: Classifier, key: str, report: Report) -> None:
    from huggingface_hub import try_to_load_from_cache

    stored: Any = classifier.backbone.pretrained_cfg
    repository = stored.get("hf_hub_id")
    if repository and not isinstance(try_to_load_from_cache(repository, "model.safetensors"), str):
        size = 4 * sum(p.numel() for p in classifier.backbone.parameters()) / 1e6
        report.notes.append(
            f"{key}: the first job downloads {size:.0f} MB ({repository}); where jobs have no network, download before "
            "(the cache is HF_HOME)"
        )


def _short(values: Sequence[float]) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"


def _spellings(name: str) -> set[str]:
    return {part.strip().casefold() for part in name.replace("_", " ").split(",")}


def _product(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))

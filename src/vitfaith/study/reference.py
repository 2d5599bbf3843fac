"""config/README.md: every key explained, generated from the typed models and the registries."""

from __future__ import annotations

from collections.abc import Iterator
from types import GenericAlias
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vitfaith.denoisers.recipe import DenoiserRecipe
from vitfaith.explainers.diffmask.recipe import DiffMaskRecipe
from vitfaith.explainers.shapley.recipe import ShapleyRecipe
from vitfaith.figures.drawing.style import Style
from vitfaith.metrics.fills.registry import FILLS
from vitfaith.metrics.fills.removal import Removal
from vitfaith.registries import DISCRIMINATORS, REGISTRIES
from vitfaith.registry import Item, Registry
from vitfaith.study.load import FIXED, NAMED
from vitfaith.study.sections import AXES, ClassifierTraining, DatasetSection, Experiment, PassPrecisions
from vitfaith.tables.text import markdown_table

ABOVE = """# Configuration

This file is generated: `python -m vitfaith reference > config/README.md`.

`config/config.yaml` is the default study; `snakemake --cores all --configfile my_study.yaml` runs another one instead, which must
be complete. Editors that know the YAML language server complete keys from the schema named in the first line.
`vitfaith check my_study.yaml` tells what is wrong before anything runs.

A study names **datasets**, **models**, **denoisers**, **attacks**, **smoothings**, **explainers**, **metrics**, **stability** measures
and **figures** under ids of your choice, and **experiments** say which of them to cross. An experiment without a list of
datasets, models, attacks, smoothings, explainers or metrics crosses all of that section; of the datasets, those that no training
names. `vitfaith check` prints the crossing. An entry's kind stands under the key given in each section below; without it the id is
the kind: `rollout: {explainer: attention_rollout, head_fusion: max}`, `raw_attention: {}`. Fractions such as `8/255` are understood
wherever a number is.
"""

TOP = {
    "seed": "seed of every random number; each draw is keyed by (seed, image, purpose, sample)",
    "plugins": "Python files with your own explainers, metrics, attacks …; each is one decorated function",
    "code_tracking": "`digest` (default): changed code reruns its stage; `off`: it does not",
}

TITLES = {
    "datasets": "Where images come from.",
    "attacks": "What is done to an image before it is explained. `clean: {}` is always needed: its predictions are the classes that are explained by default (`targets` of an experiment).",
    "smoothings": "What stands between the image and the classifier. `none: {}` is no smoothing.",
    "explainers": "The attribution methods.",
    "metrics": "What scores a map by the model's answers to perturbed images.",
    "stability": "What compares a map with the map of the clean image.",
    "sanity": "What explains again, to see whether a map depends on the model, the class and not on noise; without smoothing.",
    "certificates": "What can be proved about predictions and maps behind a smoothing (docs/certificates.md).",
    "figures": "What is drawn; `style` is shared by all figures.",
}

FILL = """What removed pixels become: a key of most metrics. `fill: blur` names a kind, `fill: {name: blur, sigma: 3}` gives it settings.
How far a study's order of methods hangs on this choice is worth a look: `config/fills.yaml`."""


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def _written(annotation: Any) -> Any:
    """The type that a configuration has: an item is its name, or a mapping."""
    if get_origin(annotation) is tuple:
        return GenericAlias(tuple, tuple(map(_written, get_args(annotation))))
    return str | dict if Item in (annotation, *get_args(annotation)) else annotation


def _type(field: FieldInfo) -> str:
    annotation = _written(field.annotation)
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    for noise in (
        "typing.",
        "pathlib.",
        "collections.abc.",
        "vitfaith.study.sections.",
        "vitfaith.metrics.fills.removal.",
        "vitfaith.explainers.diffmask.recipe.",
        "vitfaith.explainers.shapley.recipe.",
        "NoneType",
    ):
        text = text.replace(noise, "" if noise != "NoneType" else "None")
    return text


def _rows(model: type[BaseModel]) -> Iterator[list[str]]:
    for name, field in model.model_fields.items():
        default: Any = "**required**" if field.is_required() else field.get_default(call_default_factory=True)
        shown = default if field.is_required() else f"`{'' if default is None else default}`".replace("``", "–")
        if isinstance(default, BaseModel):
            shown = "see below"
        if model is Experiment and name in AXES:
            shown = "all"
        yield [f"`{name}`", _cell(_type(field)), _cell(shown), _cell(field.description or "")]


def _table(model: type[BaseModel]) -> list[str]:
    if not model.model_fields:
        return ["No settings.", ""]
    return [markdown_table(["key", "type", "default", "meaning"], _rows(model)), ""]


def _entries(section: str, registry: Registry) -> Iterator[str]:
    for entry in registry:
        citation = f" ({entry.citation})" if entry.citation else ""
        yield from (f"### {section}: `{entry.name}`", "", f"{entry.summary}{citation}", "", *_table(entry.parameters))


def reference_text() -> str:
    """The whole document as Markdown."""
    lines = [ABOVE, markdown_table(["key", "meaning"], [[f"`{key}`", text] for key, text in TOP.items()]), ""]
    for section, registry in REGISTRIES.items():
        lines += [f"## `{section}`", "", f"{TITLES[section]} Kind: key `{DISCRIMINATORS[section]}`.", ""]
        if section == "datasets":
            lines += ["Every dataset:", "", *_table(DatasetSection)]
        if section == "figures":
            lines += ["`style`:", "", *_table(Style)]
        lines += _entries(section, registry)
        if section == "metrics":
            lines += ["## `fill`", "", FILL, "", *_entries("fill", FILLS)]
    for section, model in {**NAMED, **FIXED}.items():
        doc = (model.__doc__ or "").strip().split("\n")[0]
        lines += [f"## `{section}`", "", doc, "", *_table(model)]
    for title, recipe in (
        ("models: `precision` for each stage", PassPrecisions),
        ("models: `training`", ClassifierTraining),
        ("models: `removal` of a `training`", Removal),
        ("denoisers: `training`", DenoiserRecipe),
        ("explainers: `training` of a DiffMask", DiffMaskRecipe),
        ("explainers: `training` of a ViT-Shapley explainer", ShapleyRecipe),
    ):
        lines += [f"### {title}", "", *_table(recipe)]
    return "\n".join(lines).rstrip() + "\n"

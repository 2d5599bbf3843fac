"""A first configuration for a user's model and images, with comments, that `vitfaith check` accepts."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from vitfaith.check.guess import FIXED_SIZE, guess_reader
from vitfaith.datasets.opening import open_dataset
from vitfaith.errors import ConfigError, VitfaithError
from vitfaith.shipped import workflow_folder
from vitfaith.study.load import instance

if TYPE_CHECKING:
    from vitfaith.datasets.registry import Source
    from vitfaith.models.classifier import Classifier

IMAGES = 200
"""Images of the first run; enough for error bars of a few hundredths."""

NAMED = 50
"""Most classes whose names are written out for the gallery."""

_WNID = re.compile(r"n\d{8}")
_EXPLAINERS = {
    "random": "{}",
    "raw_attention": "{}",
    "rollout": "{explainer: attention_rollout}",
    "transformer_mm": "{}",
    "attention_gradcam": "{}",
    "input_x_gradient": "{}",
}
_METRICS = {"saco": "{groups: [10]}", "deletion_auc": "{}", "insertion_auc": "{}", "aopc": "{}", "log_odds": "{}"}
_LOCALISATION = ("segmentation", "localisation_ap", "pointing_game")
_FIGURES = ("saco_leaderboard", "saco_by_condition", "beats_random", "accuracy_by_condition", "gallery")


@dataclass(frozen=True)
class _Model:
    """Facts about the model for the configuration."""

    section: dict[str, Any]
    classifier: Classifier

    @property
    def classes(self) -> int:
        return self.classifier.num_classes


def _model(name: str, weights: Path | None, classes: int) -> _Model:
    """The model by its timm name or folder; with the user's weights the head may have the dataset's classes."""
    from vitfaith.models.load import load_classifier

    folder = Path(name) if Path(name).is_dir() else None
    if folder is not None and weights is not None:
        raise ConfigError(f"--weights: '{name}' is a folder that already has weights; leave --weights out")
    section: dict[str, Any] = {"weights": str(folder or weights or "pretrained")}
    if folder is None:
        section = {"timm": name, **section}
    source = folder or weights
    spec: dict[str, Any] = {"timm": section.get("timm"), "arguments": {}, "mean": None, "std": None}
    try:
        return _Model(section, load_classifier(spec, source, shapes_only=True))
    except VitfaithError:
        if weights is None:
            raise
        arguments = {"num_classes": classes}
        found = load_classifier({**spec, "arguments": arguments}, source, shapes_only=True)
        return _Model({"timm": name, "arguments": arguments, "weights": str(weights)}, found)


def _geometry(reader: dict[str, Any], model: _Model, source_shape: tuple[int, ...] | None) -> dict[str, Any]:
    """The preprocessing of the model's training, as far as known."""
    channels, height, width = model.classifier.input_shape
    colour: dict[str, Any] = {"channels": "grey"} if channels == 1 else {}
    if height != width:
        raise ConfigError(f"--model: it takes images of {height} × {width}; write the configuration by hand")
    if reader["reader"] == "parquet":
        return {}
    if reader["reader"] in FIXED_SIZE:
        colour = {"channels": "grey" if channels == 1 else "rgb"}
        return (
            colour if source_shape == (height, width) else {"preprocessing": "chefer_resize", "size": height, **colour}
        )
    stored: dict[str, Any] = dict(getattr(model.classifier.backbone, "pretrained_cfg", None) or {})
    if stored.get("crop_pct") and stored.get("interpolation") in ("bilinear", "bicubic", "nearest"):
        crop = {"crop_pct": float(stored["crop_pct"]), "interpolation": stored["interpolation"]}
        return {"preprocessing": "resize_crop", "size": height, **crop, **colour}
    return {"preprocessing": "chefer_resize", "size": height, **colour}


def _alike(name: str) -> set[str]:
    return {part.strip().casefold() for part in name.replace("_", " ").split(",")}


def _class_list(folders: list[str], model: _Model) -> list[str] | None:
    """Lines of a class list that maps the dataset's folders to the model's labels; None if the mapping is unknown."""
    names = list(model.classifier.class_names)
    if folders and all(_WNID.fullmatch(f) for f in folders) and model.classes == 1000:
        from timm.data.imagenet_info import ImageNetInfo

        info = ImageNetInfo("imagenet-1k")
        keys = info.label_names()
        return (
            [f"{k}\t{d}" for k, d in zip(keys, info.label_descriptions(), strict=True)]
            if set(folders) <= set(keys)
            else None
        )
    if not names:
        return None
    label_of: dict[str, int] = {}
    for folder in folders:
        fitting = [i for i, name in enumerate(names) if _alike(folder) & _alike(name)]
        if len(fitting) != 1:
            return None
        label_of[folder] = fitting[0]
    labels = list(label_of.values())
    if len(set(labels)) < len(labels) or labels == list(range(model.classes)):
        return None
    folder_of = {label: folder for folder, label in label_of.items()}
    return [f"{folder_of.get(i, f'({i})')}\t{name}" for i, name in enumerate(names)]


def _open(settings: dict[str, Any]) -> Source:
    entry = instance("datasets", "mine", {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()})
    return open_dataset(entry)


def _flow(value: dict[str, Any]) -> str:
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in value.items()}
    return yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True).strip()


def _lines(items: dict[str, str]) -> str:
    return "\n".join(f"  {name}: {value}" for name, value in items.items())


def _from(base: Path | None, path: Path) -> Path:
    """A relative path as it is written from the folder ``base``."""
    return path if base is None or path.is_absolute() else Path(os.path.relpath(path.absolute(), base.absolute()))


def _schema_line(out: Path) -> str:
    """Comment that points an editor to the schema of the workflow; empty if the package has no schema."""
    root = workflow_folder()
    if root is None:
        return ""
    schema, study = root / "workflow" / "schemas" / "config.schema.json", out.resolve().parent
    # A clone may move, with the studies in it.
    shown = os.path.relpath(schema, study) if study.is_relative_to(root) else schema.as_uri()
    return f"# yaml-language-server: $schema={shown}\n"


def write_config(
    model: str, images: Path, out: Path, weights: Path | None = None, *, base: Path | None = None
) -> list[str]:
    """Write a study of ``model`` on ``images`` to ``out`` (and beside it a class list where one is needed).

    Args:
        model: name of a timm architecture, or a folder with weights and config.json.
        images: folder or file with the images; the reader is found by what lies there.
        out: YAML file; must not exist.
        weights: checkpoint of the architecture; without it timm's pretrained ones.
        base: folder that relative paths in the file are written from; without it the folder of the caller.

    Returns:
        Lines that say what was found.

    Raises:
        VitfaithError: nothing known lies at ``images``, the model is unknown, or the two do not fit.
    """
    if out.exists():
        raise ConfigError(f"--out: '{out}' exists; name another file")
    reader = guess_reader(images)
    needs_size = reader["reader"] not in FIXED_SIZE
    source = _open(reader | ({"preprocessing": "none"} if needs_size else {}))
    if not len(source.labels):
        raise ConfigError(f"--images: '{images}' holds no images; name another path")
    found = _model(model, weights, len(source.classes) or int(source.labels.max()) + 1)
    shape = None if needs_size else source.read(np.array([0])).shape[2:]
    reader |= _geometry(reader, found, shape)
    labelled = int(source.labels.max()) + 1
    notes = [f"{len(source.labels)} images in {len(set(source.labels.tolist()))} classes, reader '{reader['reader']}'"]
    remark = ""
    folders = sorted(source.classes) if reader["reader"] == "image_folder" else []
    listed = _class_list(folders, found) if folders else None
    if listed is not None:
        path = out.with_suffix(".classes.txt")
        path.write_text("\n".join(listed) + "\n", encoding="utf-8")
        reader["classes"] = path
        notes.append(f"'{path}' puts the class folders at the model's labels")
    elif labelled > found.classes:
        raise ConfigError(
            f"--images: '{images}' has {labelled} classes, the model {found.classes}; name a model trained on them"
        )
    elif 0 < labelled < found.classes:
        remark = (
            f"\n  # The images have {labelled} classes, the model {found.classes}: give `classes`, a text file with each class folder on "
            "the line of its label\n  # in the model, label 0 on line 1 (docs/datasets.md). Accuracies depend on it; explanations are of "
            "the class that the model predicts."
        )
        notes.append(f"the model has {found.classes} classes: see the remark under datasets")
    if "order" in reader and listed is None:
        remark += (
            "\n  # The class folders are numbered and sort as text here (1, 10, 2), as in torchvision. Where the model counts "
            "1, 2, 10:\n  # write order: natural."
        )
        notes.append("the class folders are numbered: see the remark under datasets")
    figures = dict.fromkeys(_FIGURES, "{}")
    if len(source.classes) == found.classes <= NAMED:
        figures["gallery"] = _flow({"classes": list(source.classes)})
    count = min(IMAGES, len(source.labels))
    masks = _open(reader).masks is not None
    metrics = _METRICS | (dict.fromkeys(_LOCALISATION, "{}") if masks else {})
    reader = {key: _from(base, value) if isinstance(value, Path) else value for key, value in reader.items()}
    section = found.section
    if section["weights"] != "pretrained":
        section = section | {"weights": str(_from(base, Path(section["weights"])))}
    text = f"""{_schema_line(out)}# Check it:  vitfaith check {out}
# Run it:    vitfaith run {out}
# Every key: docs/config; what there is to choose from: vitfaith list explainers (metrics, attacks, …)
seed: 0

datasets:{remark}
  mine: {_flow({**reader, "images": count, "shard_size": min(count, 64)})}

models:
  model: {_flow(section)}

attacks:
  clean: {{}} # always needed: the explained class is the one predicted for the clean image
  pgd: {{eps: 8/255, alpha: 2/255, steps: 10}}

smoothings:
  none: {{}}
  # Behind denoised diffusion smoothing: name a denoiser, and uncomment dds.
  # dds: {{sigma: 0.25, samples: 8, denoiser: mine}}
# denoisers:
#   mine: {{path: folder_of_a_diffusers_UNet2DModel}}

explainers:
{_lines(_EXPLAINERS)}

metrics:
{_lines(metrics)}

stability:
  top_k_overlap: {{}}
  spearman: {{}}

compute: {{batch_size: 64}} # halved by itself when memory runs out

figures:
{_lines(figures)}

experiments:
  first: # crosses all datasets, models, attacks, smoothings, explainers and metrics; list some to cross fewer: attacks: [clean]
    stability: [top_k_overlap, spearman]
    figures: [{", ".join(_FIGURES)}]
"""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    return notes

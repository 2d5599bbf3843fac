"""Print the tables of trainings, measured from the shipped files: docs/training.md, docs/vit-shapley.md and docs/grid-task.md.

Run: python tools/training_page.py networks|diffmasks|grids|shapley|logs … [--images N] [--recipes config.yaml]
Recipes come from config/config.yaml and config/grid.yaml (those of vit_patch4 and vit_patch2 from --recipes), accuracies from the whole test sets (--images: from the first N), rows of logs
from the files beside the weights. `logs` needs NAME.log.parquet beside the weights of each network, as a training writes it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from diffusers import DDPMScheduler
from provenance import line
from recipe_words import recipe_text
from study_data import images_of, levels_of, load, size_of, study_of
from torch import Tensor, nn

from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.denoisers.training import held_out_loss
from vitfaith.explainers.diffmask.files import load_diffmask
from vitfaith.explainers.shapley.files import load_shapley
from vitfaith.explainers.shapley.recipe import ShapleyRecipe
from vitfaith.explainers.shapley.train import held_out_error
from vitfaith.metrics.fills.removal import remover
from vitfaith.models.training.classifier import accuracy, without_patches
from vitfaith.shipped import located
from vitfaith.statistics.intervals import wilson
from vitfaith.study.study import Study
from vitfaith.tables.text import markdown_table

NETWORKS = ("vit_patch4", "vit_patch2")
GRIDS = ("vit_grid_3x3", "vit_grid_5x5")
DENOISER = "fashion_mnist"
HEADS = (("grid.yaml", "vit_grid_3x3"), ("config.yaml", "vit_patch4"), ("config.yaml", "vit_patch2"))
"""Study and explained model of each shipped head of ViT-Shapley."""
PAGES = {
    "networks": ("training", "accuracies with 95 % intervals (Wilson)"),
    "diffmasks": ("training-diffmasks", "from the logs, n = 256 held-out images, no intervals"),
    "grids": ("grid-networks", "accuracies with 95 % intervals (Wilson)"),
    "shapley": (
        "vit-shapley-trainings",
        "accuracies on all test images, errors on the first 256 held-out images at most, no intervals",
    ),
}
"""Part → its page in tools/pages.yaml, and what the numbers are of."""


def parameters(network: nn.Module) -> int:
    """Number of trained numbers."""
    return sum(parameter.numel() for parameter in network.parameters())


def classifier_row(study: Study, model: str, count: int | None) -> list[object]:
    """Shape, parameters, recipe and accuracy of one network."""
    section, classifier = study.models[model], load(study, model)
    assert section.training is not None
    images, labels, _ = images_of(study, section.training.test_on, count)
    rows, columns = classifier.grid
    shape = ", ".join(
        f"{text}{section.arguments[key]}{end}"
        for key, text, end in (("embed_dim", "width ", ""), ("depth", "depth ", ""), ("num_heads", "", " heads"))
    )
    right = accuracy(classifier, images, labels)
    return [
        f"`{model}`: {rows} × {columns} patches, {shape}", f"{parameters(classifier.backbone):,}", recipe_text(section.training),
        f"{percent(right, len(labels))} of the {len(labels):,} test images",
    ]  # fmt: skip


def percent(share: float, n: int) -> str:
    """A share of ``n`` images in percent, with Wilson's 95 % interval."""
    low, high = wilson(round(share * n), n, 0.95)
    return f"**{100 * share:.1f} %** [{100 * low:.1f}, {100 * high:.1f}]"


def denoiser_loss(folder: Path, images: Tensor, max_timestep: int, seed: int) -> float:
    """Mean squared error of the predicted noise of a shipped denoiser, as the training's log has it.

    Args:
        folder: of the denoiser, with its scheduler.
        images: (B, C, H, W) in [0, 1].
        max_timestep: timesteps are below it.
        seed: of the training.
    """
    scheduler: Any = DDPMScheduler.from_pretrained(folder, subfolder="scheduler")
    return held_out_loss(Denoiser.load(folder).network, scheduler, images * 2 - 1, max_timestep, seed)


def denoiser_row(study: Study, count: int | None) -> list[object]:
    """Shape, parameters, recipe and test loss of the denoiser."""
    section = study.denoisers[DENOISER]
    assert section.training is not None
    denoiser, recipe = Denoiser.load(section.path), section.training
    images, *_ = images_of(study, recipe.test_on, min(512, count or 512))
    config: Any = denoiser.network.config
    channels, steps = "–".join(map(str, config.block_out_channels)), len(denoiser.schedule.alphas_cumprod)
    loss = denoiser_loss(Path(section.path), images, recipe.max_timestep, recipe.seed)
    return [
        f"denoiser: U-Net, channels {channels}, ε-prediction, linear β, {steps} steps", f"{parameters(denoiser.network):,}",
        recipe_text(recipe), f"test loss {loss:.4f} on {len(images)} test images",
    ]  # fmt: skip


def networks(count: int | None, recipes: str) -> str:
    """The default study's networks, with the recipes of the study ``recipes``."""
    rows = [classifier_row(study_of(recipes), model, count) for model in NETWORKS]
    rows.append(denoiser_row(study_of("config.yaml"), count))
    return markdown_table(["network", "parameters", "recipe", "result"], rows)


def grids(count: int | None) -> str:
    """The networks of the coloured grids."""
    study, rows = study_of("grid.yaml"), []
    for model in GRIDS:
        section, classifier = study.models[model], load(study, model)
        assert section.training is not None
        images, labels, _ = images_of(study, section.training.test_on, count)
        side, patch = section.arguments["img_size"], section.arguments["patch_size"]
        trained = f"{size_of(study, section.training.train_on):,} grids, {recipe_text(section.training)}"
        right = f"{percent(accuracy(classifier, images, labels), len(labels))} of {len(labels):,}"
        cells = " × ".join(map(str, classifier.grid))
        rows.append([f"`{model}`", cells, f"{side} px, patches of {patch}", classifier.num_classes, f"{parameters(classifier.backbone):,}", trained, right])  # fmt: skip
    head = ["network", "cells", "input", "classes", "parameters", "trained on", "accuracy, validation grids"]
    return markdown_table(head, rows)


def log_of(file: Path) -> pd.DataFrame:
    """The log beside a file of weights, or in a folder with weights.

    Raises:
        SystemExit: there is none.
    """
    path = file / "log.parquet" if file.is_dir() else file.with_suffix(".log.parquet")
    if not path.is_file():
        raise SystemExit(f"'{path}' does not exist; the training writes it beside the weights, copy it with them")
    return pd.read_parquet(path)


def diffmasks() -> str:
    """The default study's DiffMasks: where each training ended, and its log at every evaluation."""
    study, ends, logs = study_of("config.yaml"), [], []
    for model in NETWORKS:
        file = Path(located(f"vitfaith:diffmasks/{model}.safetensors"))
        log, network = log_of(file), load_diffmask(file, load(study, model))
        tested = log.dropna(subset="test_kl")
        last = tested.iloc[-1]
        found = [f"{last[name]:.3f}" for name in ("test_kl", "test_kept_share", "test_agreement")]
        ends.append([f"`{model}`", f"{parameters(network):,}", *found])
        logs.append(f"### DiffMask of {model}\n\n{diffmask_log(tested)}")
    head = ["model", "parameters", "held-out KL", "kept share", "same prediction"]
    return "\n\n".join([markdown_table(head, ends), *logs])


def diffmask_log(tested: pd.DataFrame) -> str:
    """The rows of a log at which held-out images were looked at."""
    head = ["step", "KL", "kept share", "λ", "same prediction", "held-out KL", "held-out kept share"]
    names = {"kl": 3, "kept_share": 3, "multiplier": 2, "agreement": 3, "test_kl": 3, "test_kept_share": 3}
    return markdown_table(
        head,
        [
            [int(row["step"]), *(f"{row[name]:.{digits}f}" for name, digits in names.items())]
            for _, row in tested.iterrows()
        ],
    )


def images_text(study: Study, recipe: Any) -> str:
    """How many images a training read: of how many, where it did not read all."""
    count = size_of(study, recipe.train_on)
    if recipe.batches is None:
        return f"{count:,}"
    return f"{min(count, recipe.epochs * recipe.batches * recipe.batch_size):,} of {count:,}"


def shapley(count: int | None) -> str:
    """The shipped surrogates and heads of ViT-Shapley."""
    rows = []
    for name, model in HEADS:
        study = study_of(name)
        settings: Any = study.explainers["vit_shapley"].parameters
        recipe: ShapleyRecipe = settings.training
        taught = recipe.surrogates[model]
        training = study.models[taught].training
        assert training is not None
        assert training.removal is not None
        classifier = load(study, model)
        head, game = load_shapley(Path(located(f"vitfaith:shapley/{model}.safetensors")), classifier)
        images, labels, _ = images_of(study, training.test_on, count)
        removed = without_patches(images, remover(training.removal, game.surrogate, training.seed))
        rates = [f"{accuracy(game.surrogate, shown, labels):.3f}" for shown in (images, removed)]
        rows.append([f"surrogate `{taught}`", recipe_text(training), images_text(study, training), *rates, "", ""])
        held_out, *_ = levels_of(study, recipe.test_on, min(recipe.held_out, count or recipe.held_out))
        own, equal = held_out_error(classifier, game, head, held_out, recipe)
        found = [f"{own:.5f}", f"{100 * (1 - own / equal):.1f} %"]
        rows.append([f"head for `{model}`", recipe_text(recipe), images_text(study, recipe), "", "", *found])
    head_line = [
        "network",
        "recipe",
        "training images",
        "accuracy",
        "patches removed",
        "held-out error",
        "below equal shares",
    ]
    return markdown_table(head_line, rows)


def logs() -> str:
    """The logs of the default study's networks, a table for each."""
    study, parts = study_of("config.yaml"), []
    files = {model: Path(str(study.models[model].weights)) for model in NETWORKS}
    for name, file in (files | {"denoiser": Path(study.denoisers[DENOISER].path)}).items():
        tested = "test_loss" if name == "denoiser" else "test_accuracy"
        rows = [
            [int(row["epoch"]), f"{row['loss']:.4f}", f"{row[tested]:.4f}", f"{row['seconds']:.0f}"]
            for _, row in log_of(file).iterrows()
        ]
        head = ["epoch", "training loss", tested.replace("_", " "), "seconds"]
        parts.append(f"### {name}\n\n{markdown_table(head, rows)}")
    return "\n\n".join(parts)


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=["networks", "diffmasks", "grids", "shapley", "logs"])
    parser.add_argument("--images", type=int, help="test images; default: all")
    parser.add_argument(
        "--recipes", default="config.yaml", help="study in config/ with the recipes of vit_patch4 and vit_patch2"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    made: dict[str, Callable[[], str]] = {
        "networks": lambda: networks(given.images, given.recipes),
        "diffmasks": diffmasks,
        "grids": lambda: grids(given.images),
        "shapley": lambda: shapley(given.images),
        "logs": logs,
    }
    tables = "\n\n".join(made[part]() for part in given.parts)
    if len(given.parts) == 1 and given.parts[0] in PAGES:
        name, of = PAGES[given.parts[0]]
        print(line(name, ["the shipped files", of], time.process_time()) + "\n")
    print(tables)


if __name__ == "__main__":
    main()

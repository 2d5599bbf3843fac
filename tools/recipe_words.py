"""The recipe of a training in words, for the tables of tools/training_page.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vitfaith.metrics.fills.removal import Removal

PLAIN = {"shift": "shift ±{}", "flip": "flip", "max_timestep": "t < {}", "sets": "{} sets per image", "fill": "fill {}"}
"""Field of a recipe that is always named, unless it is off → its words."""
UNSAID = {
    "train_on",
    "test_on",
    "seed",
    "epochs",
    "batch_size",
    "batches",
    "learning_rate",
    "surrogates",
    "held_out",
    "ema_decay",
    "channels",
    "removal",
    "start_from",
    "keep_head",
}
"""Fields that have other words, or that the page's text states."""


def recipe_text(recipe: BaseModel) -> str:
    """A recipe in words: length, batch, rate, and the settings that are not the defaults."""
    given: dict[str, Any] = recipe.model_dump(mode="json")
    length = f"{given['epochs']} epochs, batch {given['batch_size']}"
    if given.get("batches"):
        length = f"{given['epochs'] * given['batches']} batches of {given['batch_size']}"
    words = [length, f"learning rate {given['learning_rate']:g}"]
    words += [text.format(given[key]) for key, text in PLAIN.items() if given.get(key)]
    removal: Removal | None = getattr(recipe, "removal", None)
    if removal is not None:
        share = "" if removal.up_to == 1 else f", up to {removal.up_to:g} of the patches"
        words.append(f"patches removed by {removal.fill.name}{share}")
    if given.get("start_from"):
        words.append(f"from {Path(given['start_from']).stem}")
    for key, field in type(recipe).model_fields.items():
        value = given[key]
        if key not in UNSAID | set(PLAIN) and value != field.default:
            shown = f"{value:g}" if isinstance(value, float) else value
            words.append(key.replace("_", " ") + ("" if value is True else f" {shown}"))
    return ", ".join(words)

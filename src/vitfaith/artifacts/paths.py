"""A condition and the paths of its files."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

SHARED = "shared"
"""Stands for the model in the path of denoised clean images, which no model had a part in."""


OF_IMAGES = ("shard", "attack", "denoise", "predictions")
"""Folders whose files are the same whichever class is explained."""


@dataclass(frozen=True, order=True)
class Condition:
    """dataset × model × attack × smoothing × explained class (empty where files are the same for all of them)."""

    dataset: str
    model: str
    attack: str
    smoothing: str
    explained: str = ""

    @property
    def folder(self) -> str:
        """The condition as Hive partition folders; an empty part is left out."""
        return "/".join(f"{name}={value}" for name, value in asdict(self).items() if value)


def artifact(results: str, stage: str, condition: Condition, family: str | None, shard: str) -> str:
    """Path of one shard of a stage's output."""
    tail = "" if family is None else f"/family={family}"
    condition = replace(condition, explained="") if stage in OF_IMAGES else condition
    return f"{results}/{stage}/{condition.folder}{tail}/{shard}.parquet"

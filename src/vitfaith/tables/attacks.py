"""Results of attacks: requested and actual radius, success, one row per (dataset, model, attack)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from vitfaith.artifacts.schemas import IMAGES
from vitfaith.artifacts.store import read_table
from vitfaith.attacks.registry import ATTACKS, smoothing_seen
from vitfaith.tables.files import stage_files

FIELDS = ("success", "linf", "l2")


def attack_kind(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Kind, norm, radius and aim of an attack's settings; norm "" and NaN where it promises no bound.

    The kind is the registered name (of torchattacks the class), with ``_through_smoothing`` where the attack sees the
    smoothing.
    """
    attack = ATTACKS.from_spec(spec)
    traits, parameters = attack.traits, attack.parameters
    bound = traits["bound"](parameters)
    kind = str(getattr(parameters, "name", attack.name))
    through = smoothing_seen(parameters) is not None
    if through and traits["aims_at"] == "explanation":
        kind += "_through_smoothing"
    if through and getattr(parameters, "gradient", "full") == "bpda":
        kind += "_bpda"
    return {
        "kind": kind,
        "aims_at": traits["aims_at"],
        "norm": "" if bound is None else bound.norm,
        "eps": float("nan") if bound is None else float(bound.eps),
    }


def attack_table(spec: Mapping[str, Any], results: str) -> pd.DataFrame:
    """Settings, number of images, share of changed predictions, mean and largest distance of each attack."""
    schema = pa.schema([IMAGES.field(name) for name in FIELDS])
    rows = []
    for place, paths in stage_files(spec, results, "attack", family=False).parts:
        part = pa.concat_tables([read_table(path, schema) for path in paths]).to_pandas()
        distances = {"mean_l2": part["l2"].mean(), "largest_l2": part["l2"].max(), "largest_linf": part["linf"].max()}
        facts = {
            "n": len(part),
            "success": float(part["success"].mean()),
            **{k: float(v) for k, v in distances.items()},
        }
        if len(part):
            rows.append(dict(place) | attack_kind(spec["attacks"][place["attack"]]) | facts)
    return pd.DataFrame(rows)

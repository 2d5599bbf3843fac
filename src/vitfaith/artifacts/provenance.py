"""Where a file came from: settings, code, versions, device and counted passes. No times: equal work, equal bytes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

LIBRARIES = ("diffusers", "numpy", "pyarrow", "timm", "torch", "torchattacks")


def provenance(stage: str, spec: Mapping[str, Any], code: str, **facts: Any) -> dict[str, Any]:
    """The JSON stored in a result file.

    Args:
        stage: name of the stage.
        spec: the part of the configuration that the file depends on (seeds included).
        code: fingerprint of the modules that computed it.
        facts: device, dtype, counted forward and backward passes …
    """
    versions = {name: metadata.version(name) for name in LIBRARIES}
    return {
        "stage": stage,
        "spec": dict(spec),
        "code": code,
        "versions": versions | {"vitfaith": metadata.version("vitfaith")},
        **facts,
    }

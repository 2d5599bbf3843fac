"""Options that several verbs have."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from vitfaith.errors import VitfaithError
from vitfaith.models.fast.switch import fast_paths
from vitfaith.registry import load_plugin

Spec = Annotated[str, typer.Option(help="what the job depends on, as canonical JSON (see `vitfaith plan`)")]
Code = Annotated[str, typer.Option(help="fingerprint of the code, stored in the output")]
Images = Annotated[Path, typer.Option(help="Parquet file with the images")]
Weights = Annotated[Path | None, typer.Option(help="safetensors weights; without it timm's pretrained ones")]
Learned = Annotated[
    list[Path] | None,
    typer.Option(help="files of trained explainers that --spec names; parts made with others are thrown away"),
]
DenoiserPath = Annotated[str | None, typer.Option(help="denoiser folder, checkpoint or hub id, where one is used")]
Out = Annotated[Path, typer.Option(help="file to write")]
Gpus = Annotated[int, typer.Option(help="GPUs given to this job; 0 runs on the CPU")]
Device = Annotated[str, typer.Option(help="auto takes a GPU that the job was given; cpu; cuda insists on one")]
BatchSize = Annotated[int, typer.Option(min=0, help="most images in one pass; 0 measures the fastest on a GPU")]


class OnOff(StrEnum):
    """The two positions of a switch."""

    on = "on"
    off = "off"


def _switch(context: typer.Context, fast: OnOff) -> OnOff:
    """Set the switch until the command ends; before its body runs, since that imports timm."""
    context.with_resource(fast_paths(on=fast is OnOff.on))
    return fast


Fast = Annotated[OnOff, typer.Option(help="off: networks run the code of torch and timm alone", callback=_switch)]
PartSize = Annotated[
    int, typer.Option(min=0, help="images after which what is done is kept; 0 keeps nothing before the end")
]


def parse_spec(text: str) -> dict[str, Any]:
    """The JSON object of ``--spec``, with the plugins that it names loaded.

    Raises:
        VitfaithError: it is no JSON object, or a plugin file does not exist.
    """
    try:
        spec = dict(json.loads(text))
    except ValueError as error:
        raise VitfaithError(f"--spec is not a JSON object: {error}") from error
    for plugin in spec.get("plugins", []):
        load_plugin(plugin)
    return spec

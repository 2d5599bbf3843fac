"""Options of the verbs that run a stage: shared options, and the kinds of all others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vitfaith.errors import VitfaithError
from vitfaith.models.fast.switch import fast_paths
from vitfaith.packed import unpacked
from vitfaith.plugins import load_plugin
from vitfaith.shipped import located

Role = Literal["", "images", "network", "learned", "output"]


@dataclass(frozen=True)
class Option:
    """An option of a verb.

    Attributes:
        type: annotated with its help text.
        default: without one the option is required.
        role: role of the files in this option. "images" are read image by image, so a job over a shard reads them in
            parts. A "network" is read as a whole. "learned" files are also named in ``--spec``, where the stage reads
            their names. "output" files are written.
    """

    type: Any
    default: Any = Parameter.empty
    role: Role = ""

    def or_none(self) -> Option:
        """The same option, but optional."""
        kind, told = self.type.__origin__, self.type.__metadata__
        return replace(self, type=Annotated[kind | None, *told], default=None)

    def parameter(self, name: str) -> Parameter:
        """The option's parameter in the signature of a verb."""
        return Parameter(name, Parameter.KEYWORD_ONLY, default=self.default, annotation=self.type)


Options = Mapping[str, Option]
"""Name → option, in the order of the help text."""


def path(told: str, role: Role = "") -> Option:
    """A required path with its help text."""
    return Option(Annotated[Path, typer.Option(help=told)], role=role)


class OnOff(StrEnum):
    """The two positions of a switch."""

    on = "on"
    off = "off"


def _switch(context: typer.Context, fast: OnOff) -> OnOff:
    """Set the switch until the command ends. This happens before the command's body, because the body imports timm."""
    context.with_resource(fast_paths(on=fast is OnOff.on))
    return fast


Fast = Annotated[OnOff, typer.Option(help="off: networks run only the code of torch and timm", callback=_switch)]

SPEC = Option(
    Annotated[str, typer.Option(help="settings that the job depends on, as canonical JSON (see `vitfaith plan`)")]
)
CODE = Option(Annotated[str, typer.Option(help="fingerprint of the code, stored in the output")], "")
IMAGES = path("Parquet file with the images", "images")
PIXELS = path("shard of the images, if their file holds no pixels because the attack changes none", "images").or_none()
OUT = path("file to write", "output")
DECIDING = path(
    "predictions that decide the explained classes; default: the predictions in the images file", "images"
).or_none()
WEIGHTS = path("safetensors weights; default: timm's pretrained weights", "network").or_none()
DENOISER = Option(
    Annotated[str | None, typer.Option(help="denoiser folder, checkpoint or hub id, if a denoiser is used")],
    None,
    "network",
)
LEARNED = Option(
    Annotated[
        list[Path] | None,
        typer.Option(help="files of trained explainers named in --spec; saved parts from other files are discarded"),
    ],
    None,
    "learned",
)
TABLES = path("folder with the tables of the experiment")

ON_DEVICE: Options = {
    "gpus": Option(Annotated[int, typer.Option(help="number of GPUs of this job; 0 runs on the CPU")], 0),
    "device": Option(
        Annotated[str, typer.Option(help="auto takes a GPU if the job has one; cpu; cuda fails without a GPU")],
        "auto",
    ),
    "fast": Option(Fast, OnOff.on),
}
IN_PARTS: Options = {
    **ON_DEVICE,
    "batch_size": Option(
        Annotated[
            int, typer.Option(min=0, help="maximum number of images per pass; 0 measures the fastest number on a GPU")
        ],
        256,
    ),
    "part_size": Option(
        Annotated[int, typer.Option(min=0, help="save progress every N images; 0 saves only at the end")],
        0,
    ),
}


def parse_spec(text: str) -> dict[str, Any]:
    """The JSON object of ``--spec``, written out or compressed, after loading the plugins that it names.

    Raises:
        VitfaithError: it is not a JSON object, or a plugin file does not exist.
    """
    try:
        spec = located(dict(json.loads(unpacked(text))))
    except ValueError as error:
        raise VitfaithError(f"--spec is not a JSON object: {error}") from error
    for plugin in spec.get("plugins", []):
        load_plugin(plugin)
    return spec

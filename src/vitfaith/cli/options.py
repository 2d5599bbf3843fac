"""Options of the verbs that run a stage: those that several have, and the kinds of the others."""

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
from vitfaith.registry import load_plugin
from vitfaith.shipped import located

Role = Literal["", "images", "network", "learned", "output"]


@dataclass(frozen=True)
class Option:
    """An option of a verb.

    Attributes:
        type: annotated with its help text.
        default: without one the option is required.
        role: of the files that it names: "images" are read image by image, so a shard's job reads them in parts;
            a "network" is read as a whole; "learned" files are named by ``--spec`` too, where the stage reads their
            names; "output" is written.
    """

    type: Any
    default: Any = Parameter.empty
    role: Role = ""

    def or_none(self) -> Option:
        """The same, but it may be left out."""
        kind, told = self.type.__origin__, self.type.__metadata__
        return replace(self, type=Annotated[kind | None, *told], default=None)

    def parameter(self, name: str) -> Parameter:
        """What the signature of a verb has for it."""
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
    """Set the switch until the command ends; before its body runs, since that imports timm."""
    context.with_resource(fast_paths(on=fast is OnOff.on))
    return fast


Fast = Annotated[OnOff, typer.Option(help="off: networks run the code of torch and timm alone", callback=_switch)]

SPEC = Option(Annotated[str, typer.Option(help="what the job depends on, as canonical JSON (see `vitfaith plan`)")])
CODE = Option(Annotated[str, typer.Option(help="fingerprint of the code, stored in the output")], "")
IMAGES = path("Parquet file with the images", "images")
OUT = path("file to write", "output")
DECIDING = path(
    "predictions that decide the explained classes; without it those of the images file", "images"
).or_none()
WEIGHTS = path("safetensors weights; without it timm's pretrained ones", "network").or_none()
DENOISER = Option(
    Annotated[str | None, typer.Option(help="denoiser folder, checkpoint or hub id, where one is used")],
    None,
    "network",
)
LEARNED = Option(
    Annotated[
        list[Path] | None,
        typer.Option(help="files of trained explainers that --spec names; parts made with others are thrown away"),
    ],
    None,
    "learned",
)
TABLES = path("folder with the experiment's tables")

ON_DEVICE: Options = {
    "gpus": Option(Annotated[int, typer.Option(help="GPUs given to this job; 0 runs on the CPU")], 0),
    "device": Option(
        Annotated[str, typer.Option(help="auto takes a GPU that the job was given; cpu; cuda insists on one")],
        "auto",
    ),
    "fast": Option(Fast, OnOff.on),
}
IN_PARTS: Options = {
    **ON_DEVICE,
    "batch_size": Option(
        Annotated[int, typer.Option(min=0, help="most images in one pass; 0 measures the fastest on a GPU")],
        256,
    ),
    "part_size": Option(
        Annotated[
            int, typer.Option(min=0, help="images after which what is done is kept; 0 keeps nothing before the end")
        ],
        0,
    ),
}


def parse_spec(text: str) -> dict[str, Any]:
    """The JSON object of ``--spec``, with the plugins that it names loaded.

    Raises:
        VitfaithError: it is no JSON object, or a plugin file does not exist.
    """
    try:
        spec = located(dict(json.loads(text)))
    except ValueError as error:
        raise VitfaithError(f"--spec is not a JSON object: {error}") from error
    for plugin in spec.get("plugins", []):
        load_plugin(plugin)
    return spec

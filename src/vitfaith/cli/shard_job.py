"""What the jobs over a shard have in common: a device, a batch size, and parts that survive a kill."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vitfaith.artifacts.parts import Paths, run_in_parts
from vitfaith.cli.options import parse_spec
from vitfaith.device import job_device

Work = Callable[[Paths, Paths, Mapping[str, Any]], None]
"""Does a stage on (inputs, outputs, {device, batch_size})."""


@dataclass(frozen=True)
class ShardJob:
    """The options of a job over one shard; see :mod:`vitfaith.cli.options`."""

    text: str
    code: str
    weights: Path | None
    gpus: int
    device: str
    batch_size: int
    part_size: int
    learned: Sequence[Path | str | None] = ()

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The settings that the job's outputs depend on."""
        return parse_spec(self.text)

    def run(self, work: Work, inputs: Mapping[str, Path | None], outputs: Paths, *, backward: bool = False) -> None:
        """Do ``work`` in parts on the job's device; inputs that are None are left out.

        Args:
            backward: whether the work takes gradients, which need more memory an image.
        """
        given = {name: path for name, path in inputs.items() if path is not None}
        with job_device(self.gpus, self.device) as device:
            batch_size = self._batch_size(device, given["images"], backward)
            run_in_parts(
                lambda i, o: work(i, o, {"device": device, "batch_size": batch_size}),
                given,
                outputs,
                part_size=self.part_size,
                settings="\0".join(
                    [self.text, self.code, *map(identity, [self.weights, *(file for file in self.learned if file)])]
                ),
            )

    def _batch_size(self, device: str, images: Path, backward: bool) -> int:
        if self.batch_size:
            return self.batch_size
        from vitfaith.models.auto_batch import batch_size_for

        return batch_size_for(self.spec, self.weights, images, device, backward=backward)


def identity(given: Path | str | None) -> str:
    """Tells a file from what was there before it, without reading it."""
    path = None if given is None else Path(given)
    if path is None or not path.exists():
        return ""
    return f"{path}:{path.stat().st_size}:{path.stat().st_mtime_ns}"

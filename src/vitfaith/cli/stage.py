"""A verb that runs a stage. Its job runs in one of three ways: plainly, on a device, or over a shard in parts."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import Signature
from pathlib import Path
from typing import Any, ClassVar

from vitfaith.artifacts.parts import Paths, run_alone, run_in_parts
from vitfaith.cli.options import CODE, IN_PARTS, ON_DEVICE, SPEC, Options, parse_spec
from vitfaith.device import job_device
from vitfaith.errors import REPEATS, VitfaithError
from vitfaith.once import once_per_job
from vitfaith.shipped import located

Given = Mapping[str, Any]
"""Option → value on the command line."""


@dataclass(frozen=True)
class Stage:
    """A verb whose job runs plainly, when no other process runs the same job.

    Attributes:
        verb: the words of the verb.
        function: dotted name of ``function(*, spec, code, **options)``, which is imported when the verb runs.
        help: one sentence.
        options: the verb's own options; ``--spec`` comes before them, ``--code`` and the ``machine`` options after.
        files: the files that the job writes, if its options do not name them.
    """

    verb: str
    function: str
    help: str
    options: Options
    files: Callable[[Given], list[Path]] | None = None
    machine: ClassVar[Options] = {}

    def command(self) -> Callable[..., None]:
        """A function with the verb's options as its signature."""

        def command(**given: Any) -> None:
            try:
                self.run(located(given), self.load())
            except VitfaithError as error:
                error.exit_code = REPEATS if error.repeats else 1
                raise

        options = {"spec": SPEC, **self.options, "code": CODE, **self.machine}
        command.__signature__ = Signature([o.parameter(name) for name, o in options.items()])  # type: ignore[attr-defined]
        command.__annotations__ = {name: option.type for name, option in options.items()}
        return command

    def run(self, given: Given, function: Callable[..., None]) -> None:
        """Run the job."""
        run_alone(lambda: function(**self.told(given), spec=parse_spec(given["spec"])), self.outputs(given))

    def load(self) -> Callable[..., None]:
        """The stage's function."""
        module, _, name = self.function.rpartition(".")
        function: Callable[..., None] = getattr(importlib.import_module(module), name)
        return function

    def told(self, given: Given) -> dict[str, Any]:
        """The options passed to the function, without the specification."""
        return {"code": given["code"]} | {name: given[name] for name, o in self.options.items() if o.role != "learned"}

    def named(self, given: Given, role: str) -> dict[str, Any]:
        """The given options of a role."""
        return {name: given[name] for name, o in self.options.items() if o.role == role and given[name] is not None}

    def outputs(self, given: Given) -> list[Path]:
        """The files that the job writes."""
        return self.files(given) if self.files else list(self.named(given, "output").values())

    def work(self, given: Given) -> Iterator[str]:
        """Everything except the images that the outputs depend on: settings, code, and the files of the networks."""
        yield from (given["spec"], given["code"])
        for file in self.named(given, "network").values():
            yield identity(file)
        for files in self.named(given, "learned").values():
            yield from map(identity, files)


class OnDevice(Stage):
    """A verb whose job runs on a device."""

    machine = ON_DEVICE

    def run(self, given: Given, function: Callable[..., None]) -> None:
        """Run the job; if another process runs the same job, take its result."""
        with _device(given) as device:
            run_alone(
                lambda: function(**self.told(given), spec=parse_spec(given["spec"]), device=device),
                self.outputs(given),
                " ".join(self.work(given)),
            )


@dataclass(frozen=True)
class OverShard(Stage):
    """A verb whose job runs on a device over the images of a shard, in parts that survive a kill.

    Attributes:
        backward: whether the job computes gradients, which need more memory per image.
        extends: whether the job extends samples already in its output file. It then runs on all images at once, because
            parts would not see the existing samples.
    """

    backward: bool = False
    extends: bool = False
    machine = IN_PARTS

    def run(self, given: Given, function: Callable[..., None]) -> None:
        """Run the job in parts."""
        outputs: Paths = self.named(given, "output")
        whole = self.extends and all(path.exists() for path in outputs.values())
        with _device(given) as device, once_per_job():
            spec = parse_spec(given["spec"])
            told = self.told(given) | {
                "spec": spec,
                "device": device,
                "batch_size": self._batch_size(given, spec, device),
            }
            run_in_parts(
                lambda read, written: function(**{**told, **read, **written}),
                self.named(given, "images"),
                outputs,
                part_size=0 if whole else given["part_size"],
                settings="\0".join(self.work(given)),
            )

    def _batch_size(self, given: Given, spec: Mapping[str, Any], device: str) -> int:
        if given["batch_size"]:
            return int(given["batch_size"])
        from vitfaith.models.auto_batch import batch_size_for

        return batch_size_for(spec, given.get("weights"), given["images"], device, backward=self.backward)


@contextmanager
def _device(given: Given) -> Iterator[str]:
    """The device of the job. Networks compute in full float32 unless the job chooses another precision."""
    with job_device(given["gpus"], given["device"]) as device:
        # Imported here: torch must not be loaded before CUDA_VISIBLE_DEVICES is set.
        from vitfaith.models.fast.memory import keep_freed_memory
        from vitfaith.models.precision import forward_precision

        keep_freed_memory()
        with forward_precision("float32", device):
            yield device


def identity(given: Path | str) -> str:
    """Identity of a file, to notice its replacement without reading it; empty if there is no file."""
    path = Path(given)
    return f"{path}:{path.stat().st_size}:{path.stat().st_mtime_ns}" if path.exists() else ""

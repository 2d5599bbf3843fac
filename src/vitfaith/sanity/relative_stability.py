"""Relative stability: change of maps under small noise, relative to the change of input, output or representation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vitfaith.lazy import pa, torch
from vitfaith.map_values import map_flags
from vitfaith.sanity.answers import representation_of
from vitfaith.sanity.checks import NoiseParameters
from vitfaith.sanity.noise import check_rows, uniform_copies
from vitfaith.sanity.registry import Subject, check

if TYPE_CHECKING:
    from torch import Tensor

Of = Literal["input", "output", "representation"]

SMALLEST = 1e-6
"""ε: what stands for a zero that is divided by, and the least change that a map's change is divided by."""

MOVED = "moved"
"""Flag of an image whose prediction changes in every noisy copy."""


class RelativeStabilityParameters(NoiseParameters):
    """The noise, and the changes of the network that the change of the map is divided by."""

    of: tuple[Of, ...] = Field(
        ("input", "output", "representation"),
        min_length=1,
        description="divisor of the map's change: change of the pixels, of the logits, or of the last layer's input",
    )


@dataclass(frozen=True)
class RelativeStability:
    """Largest ratios over the copies of one method's maps.

    Attributes:
        ratios: for each entry of ``of``, (B,) float64; NaN where ``flags`` names a reason.
        flags: "", "nan", "zero", "constant" (as in the check ``sensitivity``), "still" (clipping left no noise), or
            "moved" (no copy keeps the prediction).
    """

    ratios: Mapping[Of, Tensor]
    flags: list[str]


@check(
    "relative_stability",
    citation="Agarwal et al., Rethinking Stability for Attribution-based Explanations, 2022, arXiv 2203.06877",
    explanations="samples, and samples + 1 forward passes",
    parameters=RelativeStabilityParameters,
)
def relative_stability(subject: Subject, parameters: RelativeStabilityParameters) -> pa.Table:
    """Largest relative change of each map per change of the network: ``relative_input_stability``, ``…_output_…``, ``…_representation_…``."""
    tables = [
        check_rows(subject, method, "noise", f"relative_{of}_stability", values, found.flags)
        for method, found in ratios_of(subject, parameters).items()
        for of, values in found.ratios.items()
    ]
    return pa.concat_tables(tables)


def ratios_of(subject: Subject, parameters: RelativeStabilityParameters) -> Mapping[str, RelativeStability]:
    """Method → max over noisy copies x' of ‖(a − a') / a‖₂ / max(change, ε), a and a' the maps of x and x'.

    ``change`` is ‖(x − x') / x‖₂ for ``input``, ‖h − h'‖₂ of the logits for ``output``, and ‖(l − l') / l‖₂ for
    ``representation``; zero denominators become ε = 1e-6. Copies that change the prediction do not count.

    Raises:
        InputError: ``of`` asks for the representation, and the model does not expose it.
    """
    images, ids = subject.images, subject.image_ids
    clean = {method: _flat(maps) for method, maps in subject.maps.items()}
    before = subject.answer(images)
    numerators: dict[str, list[Tensor]] = {method: [] for method in clean}
    denominators: dict[Of, list[Tensor]] = {of: [] for of in parameters.of}
    kept, moved = [], []
    noise = {"radius": parameters.radius, "samples": parameters.samples, "clip": parameters.clip}
    for noisy, margin in uniform_copies(subject, **noise):  # type: ignore[arg-type]
        after = subject.answer(noisy)
        kept.append(after.logits.argmax(1) == before.logits.argmax(1))
        moved.append((noisy != images).flatten(1).any(1).cpu())
        for of in parameters.of:
            if of == "input":
                change = _relative(_flat(images), _flat(noisy))
            elif of == "output":
                change = (before.logits - after.logits).norm(dim=1)
            else:
                change = _relative(representation_of(before), representation_of(after))
            denominators[of].append(change.clamp_min(SMALLEST))
        for method, maps in subject.explain(subject.classifier, noisy, subject.targets, ids, margin=margin).items():
            numerators[method].append(_relative(clean[method], _flat(maps)))
    counts = torch.stack(kept)
    found = {}
    for method, changes in numerators.items():
        change = torch.stack(changes)
        flags = _flags(clean[method], change, counts, torch.stack(moved))
        bad = torch.tensor([bool(flag) for flag in flags])
        ratios = {
            of: (change / torch.stack(values)).masked_fill(~counts, -torch.inf).amax(0).masked_fill(bad, torch.nan)
            for of, values in denominators.items()
        }
        found[method] = RelativeStability(ratios, flags)
    return found


def _flat(values: Tensor) -> Tensor:
    return values.detach().flatten(1).double().cpu()


def _relative(before: Tensor, after: Tensor) -> Tensor:
    """‖(before − after) / before‖₂ of each row, with ε for zero denominators."""
    return ((before - after) / before.masked_fill(before == 0, SMALLEST)).norm(dim=1)


def _flags(clean: Tensor, change: Tensor, kept: Tensor, moved: Tensor) -> list[str]:
    flags = []
    for image, flag in enumerate(map_flags(clean.numpy())):
        if bool((clean[image] == 0).all()):
            flags.append("zero")
        elif not bool(torch.isfinite(change[:, image]).all()):
            flags.append("nan")
        elif flag:
            flags.append(flag)
        elif not bool(moved[:, image].all()):
            flags.append("still")
        else:
            flags.append("" if bool(kept[:, image].any()) else MOVED)
    return flags

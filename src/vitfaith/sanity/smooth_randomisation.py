"""Smooth MPRT: the randomisation test on maps averaged over noisy copies of the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vitfaith.lazy import pa
from vitfaith.sanity.checks import RandomisationParameters
from vitfaith.sanity.noise import normal_copies
from vitfaith.sanity.registry import Subject, check

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.models.classifier import Classifier


class SmoothRandomisationParameters(RandomisationParameters):
    """As for ``model_randomisation``, with the noise and the order of the parts."""

    samples: int = Field(10, ge=1, description="number of noisy copies that a map is averaged over; the paper uses 50")
    noise: float = Field(0.1, ge=0, description="standard deviation of the noise, as a share of the image's range")
    order: Literal["bottom_up", "top_down"] = Field(
        "bottom_up", description="parts that become random first: the parts at the input (as in the paper), or the head"
    )


@check(
    "smooth_randomisation",
    citation="Hedström et al., Sanity Checks Revisited, 2024, arXiv 2401.06465 (sMPRT)",
    explanations="samples · (1 + parts of the model / stride)",
    parameters=SmoothRandomisationParameters,
)
def smooth_randomisation(subject: Subject, parameters: SmoothRandomisationParameters) -> pa.Table:
    """Similarity of each map, averaged over noisy copies, to the map of a model with random weights, part by part."""
    from vitfaith.sanity.randomisation import randomised_models

    smooth = replace(subject, maps=smoothed(subject, subject.classifier, parameters))
    models = randomised_models(
        subject.classifier,
        cascading=parameters.cascading,
        stride=parameters.stride,
        seed=subject.seed,
        bottom_up=parameters.order == "bottom_up",
    )
    tables = []
    for step, part, model in models:
        maps = smoothed(subject, model, parameters)
        tables += parameters.compare(smooth, dict(maps), f"random {part}", step)
    return pa.concat_tables(tables)


def smoothed(
    subject: Subject, classifier: Classifier, parameters: SmoothRandomisationParameters
) -> Mapping[str, Tensor]:
    """Method → mean of its maps (B, rows, columns) over the noisy copies; the copies are the same for every model."""
    sums: dict[str, Tensor] = {}
    for noisy, margin in normal_copies(subject, noise=parameters.noise, samples=parameters.samples):
        for method, maps in subject.explain(
            classifier, noisy, subject.targets, subject.image_ids, margin=margin
        ).items():
            sums[method] = sums[method] + maps.double() if method in sums else maps.double()
    return {method: total / parameters.samples for method, total in sums.items()}

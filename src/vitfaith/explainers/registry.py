"""The registry of explainers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from pydantic import Field

from vitfaith.explainers.passes.masking import Resolution
from vitfaith.registry import Parameters, Registry

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.capture import Need
    from vitfaith.explainers.passes.context import Context

Family = Literal["one_pass", "path", "relevance", "perturbation", "learned", "external"]
"""Explainers of a family share a job: ``one_pass`` shares one forward and one backward; ``path`` averages passes along
noise or interpolation; ``relevance`` runs separate backward passes, with other rules or of another score; ``perturbation`` needs forwards of masked images;
``learned`` optimises for each image, or runs a trained network (one that only reads the shared pass is ``one_pass``); ``external`` reads maps from files."""


FULL_PRECISION: tuple[Family, ...] = ("relevance", "external")
"""Families that no ``precision`` of the passes reaches. Relevance rules divide by sums that cancel, so relevance is conserved
only if they are exact; external maps need no pass."""


class PixelLevel(Parameters):
    """Settings of explainers that attribute to pixels; explainers with such a field may return maps of either size."""

    resolution: Resolution = Field(
        "patch",
        description="patch: pixels pooled over each patch; pixel: the map keeps the image's size (and takes its space)",
    )


Explain = TypeVar("Explain", bound="Callable[[Context, Parameters], Tensor] | Callable[..., Tensor]")

EXPLAINERS: Registry = Registry("explainer", family=get_args(Family))


def explainer(
    name: str,
    *,
    family: Family,
    needs: tuple[Need, ...] = (),
    class_specific: bool,
    citation: str,
    parameters: type[Parameters] = Parameters,
    hierarchical: bool = False,
    stochastic: bool = False,
    model_files: tuple[str, ...] = (),
    check: Callable[..., None] | None = None,
    trained_by: str = "",
    forwards: int | None = None,
) -> Callable[[Explain], Explain]:
    """Register ``function(context, parameters) -> Tensor`` (B, rows, columns) float32 under ``name``.

    Maps live on the patch grid; where ``parameters.resolution`` is "pixel" (see :class:`PixelLevel`) they are (B, H, W).

    Args:
        needs: quantities that the shared pass must keep for the explainer.
        class_specific: whether the map depends on the target class.
        hierarchical: whether it is defined for models without class-token attention over one patch grid (Swin …).
        stochastic: whether it draws random numbers (keyed by seed, image and purpose).
        model_files: parameters that name a file of the explained model, or a folder with one MODEL.safetensors per model; the
            plan puts the file of the job's model in their place.
        check: ``check(classifier, parameters)`` raises an error if a file that the parameters name does not belong to the
            model; the attribute stage calls it once per job.
        trained_by: kind of training that makes ``weights``, a verb of ``vitfaith train``; default: the training of a DiffMask.
        forwards: forward passes per image of an explainer that runs a trained network; the plan cannot count them, because
            the network may not be trained yet.
    """
    return EXPLAINERS.register(
        name,
        parameters=parameters,
        citation=citation,
        family=family,
        needs=frozenset(needs),
        class_specific=class_specific,
        hierarchical=hierarchical,
        stochastic=stochastic,
        **({"model_files": model_files} if model_files else {}),
        **({} if check is None else {"check": check}),
        **({"trained_by": trained_by} if trained_by else {}),
        **({} if forwards is None else {"forwards": forwards}),
    )

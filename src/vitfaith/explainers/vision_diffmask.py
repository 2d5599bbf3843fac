"""Vision DiffMask: the patches that a trained network selects as needed, or that an optimisation selects for one image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vitfaith.explainers.diffmask.recipe import DiffMaskRecipe
from vitfaith.explainers.registry import explainer
from vitfaith.registry import Parameters

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.context import Context
    from vitfaith.models.classifier import Classifier

CITATION = "Nalmpantis et al., Vision DiffMask, CVPR-W 2023, arXiv 2304.06391"


class DiffMaskParameters(Parameters):
    """A trained DiffMask."""

    weights: Path | Literal["trained"] = Field(
        description="folder with one MODEL.safetensors per model, or one such file; 'trained' trains by the recipe below"
    )
    mask: Literal["expected", "official"] = Field(
        "expected",
        description="E[Π z], the mean of the masks that training draws; or Π P(z > 0), as the released code shows",
    )
    training: DiffMaskRecipe | None = Field(None, description="how `snakemake train` trains it, for each model")


class PerImageParameters(Parameters):
    """Optimisation of one image's masks."""

    steps: int = Field(100, ge=1, description="optimisation steps per image")
    learning_rate: float = Field(0.2, gt=0, description="learning rate of the locations (Adam)")
    margin: float = Field(0.1, gt=0, description="KL(clean ‖ masked) that the mask may cost, in nats")
    kept_share: float = Field(0.9, gt=0, lt=1, description="expected share of kept patches at the start")
    multiplier: float = Field(2.0, ge=0, description="start of each image's λ")
    multiplier_learning_rate: float = Field(0.3, gt=0, description="learning rate of the multipliers λ")
    placeholder: Path | None = Field(
        None,
        description="DiffMask (file, or folder with one MODEL.safetensors per model) whose placeholder replaces patches; "
        "without it the image's mean patch embedding",
    )


def _check(classifier: Classifier, parameters: DiffMaskParameters) -> None:
    """Raise ``ArtifactError`` where the file was trained for other weights than the model's."""
    from vitfaith.explainers.diffmask.files import check_trained_for

    check_trained_for(Path(parameters.weights), classifier)


@explainer(
    "diffmask",
    family="one_pass",
    needs=("hidden",),
    class_specific=False,
    citation=CITATION,
    parameters=DiffMaskParameters,
    model_files=("weights",),
    check=_check,
)
def diffmask(context: Context, parameters: DiffMaskParameters) -> Tensor:
    """Share of each patch that trained gates keep so that the class distribution stays as it is.

    The map is of the whole distribution, not of the target class. Cost per image: the shared forward, no backward.

    Returns:
        (B, rows, columns) float32 in (0, 1].

    Raises:
        ArtifactError: the file is missing, damaged, for a model of another shape, or gives masks of a class.
    """
    return _map(context, parameters, class_specific=False)


@explainer(
    "diffmask_class",
    family="one_pass",
    needs=("hidden",),
    class_specific=True,
    citation=CITATION,
    parameters=DiffMaskParameters,
    model_files=("weights",),
    check=_check,
)
def diffmask_class(context: Context, parameters: DiffMaskParameters) -> Tensor:
    """Share of each patch that trained gates keep so that the target's probability stays as it is.

    The gates get a learned term of the class; the constraint is the divergence of "this class" against "another one".
    Cost per image: the shared forward, no backward.

    Returns:
        (B, rows, columns) float32 in (0, 1].

    Raises:
        ArtifactError: as for ``diffmask``, or the file gives masks of no class.
    """
    return _map(context, parameters, class_specific=True)


def _map(context: Context, parameters: DiffMaskParameters, *, class_specific: bool) -> Tensor:
    from vitfaith.explainers.diffmask.files import load_diffmask
    from vitfaith.explainers.diffmask.states import patch_embedding

    classifier, capture = context.classifier, context.capture
    network = load_diffmask(Path(parameters.weights), classifier, class_specific=class_specific)
    states = [patch_embedding(classifier, context.images).float()]
    states += [capture.patches(layer) for layer in range(capture.depth + 1)]
    targets = context.targets if class_specific else None
    return network.map_of(network.locations(states, targets), parameters.mask).unflatten(1, classifier.grid)


@explainer(
    "diffmask_per_image",
    family="learned",
    class_specific=False,
    stochastic=True,
    citation=CITATION,
    parameters=PerImageParameters,
    model_files=("placeholder",),
)
def diffmask_per_image(context: Context, parameters: PerImageParameters) -> Tensor:
    """Share of each patch that an optimisation for this image alone keeps: DiffMask without amortisation.

    Cost per image: 1 + steps forwards, steps backwards.

    Returns:
        (B, rows, columns) float32 in (0, 1).
    """
    return _optimise(context, parameters, None)


@explainer(
    "diffmask_per_image_class",
    family="learned",
    class_specific=True,
    stochastic=True,
    citation=CITATION,
    parameters=PerImageParameters,
    model_files=("placeholder",),
)
def diffmask_per_image_class(context: Context, parameters: PerImageParameters) -> Tensor:
    """The same, where the target's probability alone must stay as it is.

    Cost per image: 1 + steps forwards, steps backwards.

    Returns:
        (B, rows, columns) float32 in (0, 1).
    """
    return _optimise(context, parameters, context.targets)


def _optimise(context: Context, parameters: PerImageParameters, targets: Tensor | None) -> Tensor:
    from vitfaith.explainers.diffmask.files import load_diffmask
    from vitfaith.explainers.diffmask.per_image import PerImageSettings, optimise_masks

    classifier, path = context.classifier, parameters.placeholder
    placeholder = None if path is None else load_diffmask(path, classifier).placeholder
    settings = PerImageSettings(**parameters.model_dump(exclude={"placeholder"}))
    return optimise_masks(
        classifier, context.images, context.image_ids, settings, targets=targets, placeholder=placeholder,
        seed=context.seed, sample=context.sample,
    )  # fmt: skip

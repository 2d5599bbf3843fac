"""ViT-Shapley: Shapley values of the patches from one pass of a trained head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vitfaith.explainers.registry import explainer
from vitfaith.explainers.shapley.recipe import ShapleyRecipe
from vitfaith.registry import Parameters

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.context import Context
    from vitfaith.models.classifier import Classifier


class ShapleyParameters(Parameters):
    """A trained ViT-Shapley explainer."""

    weights: Path | Literal["trained"] = Field(
        description="folder with one MODEL.safetensors per model, or one such file; 'trained' trains by the recipe below"
    )
    training: ShapleyRecipe | None = Field(None, description="how `snakemake train` trains it, for each model")


def _check(classifier: Classifier, parameters: ShapleyParameters) -> None:
    """Raise ``ArtifactError`` where the file was trained for other weights than the model's."""
    from vitfaith.explainers.shapley.files import check_trained_for

    check_trained_for(Path(parameters.weights), classifier)


@explainer(
    "vit_shapley",
    family="learned",
    needs=("hidden",),
    class_specific=True,
    citation="Covert, Kim and Lee, Learning to Estimate Shapley Values with Vision Transformers, ICLR 2023, arXiv 2206.05282",
    parameters=ShapleyParameters,
    model_files=("weights",),
    check=_check,
    trained_by="shapley",
    forwards=3,
)
def vit_shapley(context: Context, parameters: ShapleyParameters) -> Tensor:
    """Learned Shapley values of the patches, for the target's probability under a network that knows removed patches.

    A head on the model's last tokens was trained to minimise E_S[(v(S) − v(∅) − Σ_{i∈S} φ_i)²] over sets S drawn by the
    Shapley kernel; v is the probability that a surrogate, fine-tuned on removed patches, gives to the class. φ is shifted
    so that it sums to v(all) − v(∅).

    Objective and shift are the paper's. Ours are: patches are filled, where the paper masks them in the attention; the
    surrogate learns the labels, where the paper's learns the explained model's answers; the trunk is frozen.

    Cost per image: the shared forward and two forwards of the surrogate, no backward.

    Returns:
        (B, rows, columns) float32 that sums to v(all) − v(∅) for each image.

    Raises:
        ArtifactError: the file is missing, damaged, or for a model of another shape.
    """
    from vitfaith.explainers.shapley.files import load_shapley

    classifier, capture = context.classifier, context.capture
    head, game = load_shapley(Path(parameters.weights), classifier)
    values = game.divide(head(capture.patches(capture.depth)), context.images, classifier.patches)
    target = context.targets[:, None, None].expand(-1, values.shape[1], 1)
    return values.gather(2, target)[..., 0].unflatten(1, classifier.grid)

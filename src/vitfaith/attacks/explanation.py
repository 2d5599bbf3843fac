"""Attacks on the explanation that keep the prediction. Importing this module imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from vitfaith.attacks.registry import Steps, attack, linf_bound
from vitfaith.attacks.smoothed import Defence, SmoothedSteps
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.nested import ItemOf
from vitfaith.registry import Item

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.models.classifier import Classifier

UNSUPPORTED_NEEDS = frozenset({"layer_scores"})
_EXPLAINER = "attention_rollout"


class ExplanationParameters(SmoothedSteps):
    """Which explanation is attacked, and how far the image may move."""

    explainer: Annotated[Item, ItemOf(EXPLAINERS, key="explainer")] = Field(
        _EXPLAINER, validate_default=True, description="registered explainer of the family one_pass"
    )
    arguments: dict[str, Any] = Field(default_factory=dict, exclude=True, description="the explainer's parameters")
    steps: Steps = 30
    margin: float = Field(
        0.1,
        ge=0,
        description="steps also raise the predicted class while its lead, in logits, is smaller than this; with 0 the class is only checked",
    )

    @model_validator(mode="before")
    @classmethod
    def _with_arguments(cls, raw: Any) -> Any:
        """``arguments`` are a second way to write the settings of the explainer; they become part of it."""
        if not isinstance(raw, Mapping) or not isinstance(raw.get("arguments"), Mapping) or not raw["arguments"]:
            return raw
        explainer = raw.get("explainer", _EXPLAINER)
        if not isinstance(explainer, str):
            raise ValueError("arguments: the explainer has its settings beside its name; write them there alone")
        return {**raw, "explainer": {"use": explainer, **raw["arguments"]}, "arguments": {}}

    @field_validator("explainer")
    @classmethod
    def _can_be_attacked(cls, explainer: Item) -> Item:
        traits = explainer.traits
        reads_files = bool(traits.get("model_files"))  # one for each model, which an attack does not name
        one_pass = traits["family"] == "one_pass" and not traits["stochastic"] and not reads_files
        if not one_pass or not traits["needs"] or traits["needs"] & UNSUPPORTED_NEEDS:
            raise ValueError(
                f"explainer '{explainer.name}' has no gradient in the image here; attack a deterministic one of the "
                "family one_pass such as attention_rollout, raw_attention or transformer_mm"
            )
        if getattr(explainer.parameters, "resolution", "patch") == "pixel":
            raise ValueError("attacks on explanations move patches; set the explainer's resolution to patch")
        return explainer


class TopKParameters(ExplanationParameters):
    """Attack on the leading patches."""

    k: int | float = Field(0.2, gt=0, description="number of leading patches, or their share when below 1")


Pattern = Literal["mirror", "invert", "centre", "corner"]


class ManipulationParameters(ExplanationParameters):
    """Attack towards a given map."""

    pattern: Pattern = Field(
        "mirror", description="target: the map mirrored left-right or inverted, or a bump at the centre or a corner"
    )
    output_weight: float = Field(0.1, ge=0, description="weight of keeping all class probabilities as they were")


_GHORBANI = "Ghorbani et al. 2019, arXiv 1710.10547"


@attack("top_k_attack", parameters=TopKParameters, bound=linf_bound, aims_at="explanation", citation=_GHORBANI)
def top_k_attack(
    classifier: Classifier,
    images: Tensor,
    targets: Tensor,
    parameters: TopKParameters,
    *,
    defence: Defence | None = None,
) -> Tensor:
    """Takes relevance away from the k leading patches, keeping the prediction."""
    from vitfaith.attacks.craft.explanation_attacks import TopKAttack

    return TopKAttack(
        classifier, parameters.explainer, parameters, margin=parameters.margin, k=parameters.k, defence=defence
    )(images, targets)


@attack(
    "mass_centre_attack",
    parameters=ExplanationParameters,
    bound=linf_bound,
    aims_at="explanation",
    citation=_GHORBANI,
)
def mass_centre_attack(
    classifier: Classifier,
    images: Tensor,
    targets: Tensor,
    parameters: ExplanationParameters,
    *,
    defence: Defence | None = None,
) -> Tensor:
    """Moves the map's centre of mass as far as possible, keeping the prediction."""
    from vitfaith.attacks.craft.explanation_attacks import MassCentreAttack

    return MassCentreAttack(classifier, parameters.explainer, parameters, margin=parameters.margin, defence=defence)(
        images, targets
    )


@attack(
    "manipulation",
    parameters=ManipulationParameters,
    bound=linf_bound,
    aims_at="explanation",
    citation="Dombrowski et al. 2019, arXiv 1906.07983",
)
def manipulation(
    classifier: Classifier,
    images: Tensor,
    targets: Tensor,
    parameters: ManipulationParameters,
    *,
    defence: Defence | None = None,
) -> Tensor:
    """Moves the map towards a target pattern, keeping the prediction and the class probabilities."""
    from vitfaith.attacks.craft.explanation_attacks import ManipulationAttack

    return ManipulationAttack(
        classifier,
        parameters.explainer,
        parameters,
        margin=parameters.margin,
        pattern=parameters.pattern,
        output_weight=parameters.output_weight,
        defence=defence,
    )(images, targets)

"""Attacks on the prediction, by torchattacks. Importing this module imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from vitfaith.attacks.catalogue import (
    READS_PROBABILITIES,
    SUMS_GRADIENTS,
    bound_of,
    check_arguments,
    is_batched,
    signatures,
)
from vitfaith.attacks.registry import (
    Bound,
    Epsilon,
    L2Epsilon,
    LinfSteps,
    Norm,
    Step,
    Steps,
    attack,
    check_eps,
    check_radius,
    linf_bound,
)
from vitfaith.errors import ConfigError, VitfaithError
from vitfaith.registry import Parameters

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.models.classifier import Classifier

_TORCH_NORM = {"linf": "Linf", "l2": "L2"}
_TARGET_CLASSES = 9
"""Classes that AutoAttack's targeted parts aim at; more would cost a run each (Croce & Hein 2020)."""
_SMALLEST = 2.0**-126
"""Smallest normal float32: added to a gradient's norm, it changes none but a zero."""


def one_by_one(_parameters: Any) -> bool:
    """For attacks that have to see one image at a time."""
    return False


def chosen_bound(parameters: Any) -> Bound:
    """Ball of radius ``parameters.eps`` in ``parameters.norm``."""
    return Bound(parameters.norm, parameters.eps)


def run_torchattacks(
    classifier: Classifier, images: Tensor, targets: Tensor, name: str, arguments: Mapping[str, Any]
) -> Tensor:
    """Attack ``images`` (B, C, H, W) with the torchattacks class ``name``; raises :class:`ConfigError` if that fails.

    Attacks that raise the cross-entropy raise a form of it that does not round away on confident images
    (:class:`vitfaith.attacks.craft.losses.ConfidentCrossEntropy`).
    """
    from vitfaith.attacks.craft.losses import ConfidentCrossEntropy

    try:
        with ConfidentCrossEntropy(keep_size=name in SUMS_GRADIENTS):
            return torchattacks_object(classifier, name, arguments)(images, targets)
    except VitfaithError:
        raise
    except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(f"torchattacks.{name} fails with these arguments on this model: {error}") from error


def torchattacks_object(classifier: Classifier, name: str, arguments: Mapping[str, Any]) -> Any:
    """The attack of class ``name`` on ``classifier``, with arguments filled in where the class takes them.

    These are the number of target classes and, unless the study sets it, what is added to norms of gradients.
    """
    import torchattacks

    from vitfaith.attacks.craft.victim import Logits

    filled = {"n_classes": min(_TARGET_CLASSES + 1, classifier.num_classes), "eps_for_division": _SMALLEST}
    takes = signatures()[name]
    known = {argument: value for argument, value in filled.items() if argument in takes}
    return getattr(torchattacks, name)(Logits(classifier, wide=name in READS_PROBABILITIES), **{**known, **arguments})


@attack("clean", citation="", bound=lambda _parameters: Bound("linf", 0.0))
def clean(classifier: Classifier, images: Tensor, targets: Tensor, parameters: Parameters) -> Tensor:
    """No attack: the image itself."""
    return images


class FgsmParameters(Parameters):
    """Radius of one signed gradient step."""

    eps: Epsilon = 8 / 255


@attack("fgsm", parameters=FgsmParameters, bound=linf_bound, citation="Goodfellow et al. 2015, arXiv 1412.6572")
def fgsm(classifier: Classifier, images: Tensor, targets: Tensor, parameters: FgsmParameters) -> Tensor:
    """Fast gradient sign method: one step of size eps."""
    return run_torchattacks(classifier, images, targets, "FGSM", {"eps": parameters.eps})


class PgdParameters(LinfSteps):
    """Projected gradient ascent in an l∞ ball."""


@attack("pgd", parameters=PgdParameters, bound=linf_bound, citation="Madry et al. 2018, arXiv 1706.06083")
def pgd(classifier: Classifier, images: Tensor, targets: Tensor, parameters: PgdParameters) -> Tensor:
    """Projected gradient descent on the cross-entropy, l∞."""
    settings = {**parameters.model_dump(), "alpha": parameters.step}
    return run_torchattacks(classifier, images, targets, "PGD", settings)


class PgdL2Parameters(Parameters):
    """Projected gradient ascent in an l2 ball."""

    eps: L2Epsilon = 0.5
    alpha: float | None = Field(None, gt=0, description="l2 step size; without it eps / 5")
    steps: Steps = 10
    random_start: bool = Field(True, description="start at a random point of the ball")


@attack(
    "pgd_l2",
    parameters=PgdL2Parameters,
    bound=lambda p: Bound("l2", p.eps),
    citation="Madry et al. 2018, arXiv 1706.06083",
)
def pgd_l2(classifier: Classifier, images: Tensor, targets: Tensor, parameters: PgdL2Parameters) -> Tensor:
    """Projected gradient descent on the cross-entropy, l2."""
    alpha = parameters.eps / 5 if parameters.alpha is None else parameters.alpha
    return run_torchattacks(classifier, images, targets, "PGDL2", {**parameters.model_dump(), "alpha": alpha})


class MiFgsmParameters(Parameters):
    """Signed steps along an accumulated gradient."""

    eps: Epsilon = 8 / 255
    alpha: Step | None = Field(None, description="step size, in [0, 1] pixel units; without it eps / steps")
    steps: Steps = 10
    decay: float = Field(1.0, ge=0, description="weight of the accumulated gradient")


@attack("mi_fgsm", parameters=MiFgsmParameters, bound=linf_bound, citation="Dong et al. 2018, arXiv 1710.06081")
def mi_fgsm(classifier: Classifier, images: Tensor, targets: Tensor, parameters: MiFgsmParameters) -> Tensor:
    """Momentum iterative fast gradient sign method."""
    alpha = parameters.eps / parameters.steps if parameters.alpha is None else parameters.alpha
    return run_torchattacks(classifier, images, targets, "MIFGSM", {**parameters.model_dump(), "alpha": alpha})


class BallParameters(Parameters):
    """A ball in l∞ or l2."""

    norm: Norm = Field("linf", description="linf or l2")
    eps: float = Field(8 / 255, gt=0, description="radius, in [0, 1] pixel units")

    @model_validator(mode="after")
    def _check_radius(self) -> BallParameters:
        (check_eps if self.norm == "linf" else check_radius)(self.eps)
        return self


class ApgdParameters(BallParameters):
    """Auto-PGD: the step size is halved when progress stalls."""

    steps: int = Field(50, ge=1, description="gradient steps per run")
    restarts: int = Field(1, ge=1, description="random restarts for images not yet fooled")
    loss: Literal["ce", "dlr"] = Field("ce", description="cross-entropy or difference of logits ratio (≥ 3 classes)")
    rho: float = Field(0.75, gt=0, lt=1, description="share of improving steps below which the step is halved")


def _check_classes(classifier: Classifier, needed: int, what: str) -> None:
    if classifier.num_classes < needed:
        raise ConfigError(f"{what} needs at least {needed} classes, the model has {classifier.num_classes}")


@attack(
    "apgd",
    parameters=ApgdParameters,
    bound=chosen_bound,
    batched=one_by_one,
    citation="Croce & Hein 2020, arXiv 2003.01690",
)
def apgd(classifier: Classifier, images: Tensor, targets: Tensor, parameters: ApgdParameters) -> Tensor:
    """Auto-PGD, parameter-free steps; returns the clean image where no adversarial one was found."""
    if parameters.loss == "dlr":
        _check_classes(classifier, 3, "apgd with loss 'dlr'")
    settings = parameters.model_dump(exclude={"norm", "restarts"})
    settings |= {"norm": _TORCH_NORM[parameters.norm], "n_restarts": parameters.restarts}
    return run_torchattacks(classifier, images, targets, "APGD", settings)


Part = Literal["apgd_ce", "apgd_t", "fab_t", "square"]


class AutoattackParameters(BallParameters):
    """The standard ensemble, with the original's budget (torchattacks' own AutoAttack stops APGD at 10 steps)."""

    attacks: tuple[Part, ...] = Field(
        ("apgd_ce", "apgd_t", "fab_t", "square"),
        min_length=1,
        description="attacks, in their order; each gets the images that no earlier attack fooled the model with",
    )
    steps: int = Field(100, ge=1, description="gradient steps of apgd and fab")
    queries: int = Field(5000, ge=1, description="queries of square")


@attack(
    "autoattack",
    parameters=AutoattackParameters,
    bound=chosen_bound,
    batched=one_by_one,
    citation="Croce & Hein 2020, arXiv 2003.01690",
)
def autoattack(classifier: Classifier, images: Tensor, targets: Tensor, parameters: AutoattackParameters) -> Tensor:
    """AutoAttack: APGD-CE, targeted APGD, targeted FAB and Square, in turn until one fools the model."""
    from vitfaith.attacks.craft.victim import Logits

    if {"apgd_t", "fab_t"} & set(parameters.attacks):
        _check_classes(classifier, 4, "autoattack with apgd_t or fab_t")
    attacked = images
    for name, arguments in autoattack_parts(parameters):
        attacked = run_torchattacks(classifier, images, targets, name, arguments)
        if bool((Logits(classifier)(attacked).argmax(1) != targets).all()):
            break
    return attacked


def autoattack_parts(parameters: AutoattackParameters) -> list[tuple[str, dict[str, Any]]]:
    """(class of torchattacks, arguments) in turn, with the settings of the published ensemble.

    Source: Croce & Hein 2020, arXiv 2003.01690, and the ``standard`` version of the authors' code: one run of each part,
    nine target classes, and a Square whose schedule is not rescaled to its number of queries.
    """
    ball = {"eps": parameters.eps, "norm": _TORCH_NORM[parameters.norm], "n_restarts": 1}
    runs: dict[Part, tuple[str, dict[str, Any]]] = {
        "apgd_ce": ("APGD", {"steps": parameters.steps, "loss": "ce", "eot_iter": 1, "rho": 0.75}),
        "apgd_t": ("APGDT", {"steps": parameters.steps, "eot_iter": 1, "rho": 0.75}),
        "fab_t": ("FAB", {"steps": parameters.steps, "multi_targeted": True}),
        "square": ("Square", {"n_queries": parameters.queries, "p_init": 0.8, "resc_schedule": False}),
    }
    return [(runs[part][0], {**ball, **runs[part][1]}) for part in parameters.attacks]


class CwParameters(Parameters):
    """Minimal-norm attack: squared l2 distance plus c times the margin."""

    c: float = Field(1.0, gt=0, description="weight of the margin against the squared l2 distance")
    kappa: float = Field(0.0, ge=0, description="margin (logits) to reach")
    steps: int = Field(50, ge=1, description="Adam steps")
    lr: float = Field(0.01, gt=0, description="Adam learning rate, in tanh space")


@attack("cw", parameters=CwParameters, batched=one_by_one, citation="Carlini & Wagner 2017, arXiv 1608.04644")
def cw(classifier: Classifier, images: Tensor, targets: Tensor, parameters: CwParameters) -> Tensor:
    """Carlini-Wagner l2, unbounded, for one c.

    Black and white pixels have no finite tanh coordinate and could never move; they start a quarter level inside,
    which storing rounds away.
    """
    inside = images.clamp(0.25 / 255, 1 - 0.25 / 255)
    return run_torchattacks(classifier, inside, targets, "CW", parameters.model_dump())


class TorchattacksParameters(Parameters):
    """Any attack of torchattacks, by class name."""

    name: str = Field(description="class of torchattacks, for example DIFGSM")
    arguments: dict[str, Any] = Field(default_factory=dict, description="its keyword arguments")

    @model_validator(mode="after")
    def _check_arguments(self) -> TorchattacksParameters:
        check_arguments(self.name, self.arguments)
        return self


@attack(
    "torchattacks",
    parameters=TorchattacksParameters,
    bound=lambda p: bound_of(p.name, p.arguments),
    batched=lambda p: is_batched(p.name),
    citation="Kim 2020, arXiv 2010.01950",
)
def torchattacks_attack(
    classifier: Classifier, images: Tensor, targets: Tensor, parameters: TorchattacksParameters
) -> Tensor:
    """Any attack class of torchattacks."""
    return run_torchattacks(classifier, images, targets, parameters.name, parameters.arguments)

"""Gradient × input under modified backward passes: CP-LRP, AttnLRP, LibraGrad."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from vitfaith.errors import ConfigError
from vitfaith.explainers.passes import masking
from vitfaith.explainers.registry import PixelLevel, explainer
from vitfaith.registry import Parameters

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.context import Context
    from vitfaith.explainers.relevance.forwards import AttentionRule, GateRule
    from vitfaith.explainers.relevance.full_gradient import FullGradient

At = Literal["pixels", "tokens"]


class _InputParameters(PixelLevel):
    """Where gradient and input are multiplied, and at which resolution."""

    at: At

    @model_validator(mode="after")
    def _check_resolution(self) -> _InputParameters:
        if self.resolution == "pixel" and self.at == "tokens":
            raise ConfigError("resolution 'pixel' keeps pixels, of which tokens have none; set at: pixels too")
        return self


class PixelParameters(_InputParameters):
    """Explainers that multiply at the pixels by default."""

    at: At = Field(
        "pixels", description="input that is multiplied: normalised pixels, or tokens entering the first block"
    )


class CpLrpParameters(PixelParameters):
    """Settings of ``cp_lrp``."""

    gamma: float = Field(
        0,
        ge=0,
        description="γ-rule of the MLPs' linear layers and the head: how much contributions of the output's sign count more",
    )
    gamma_patches: float | None = Field(
        None, ge=0, description="γ-rule of the patch embedding; as gamma where it is not given"
    )

    @property
    def gammas(self) -> tuple[float, float]:
        """γ of the linear layers and of the patch embedding."""
        return self.gamma, self.gamma if self.gamma_patches is None else self.gamma_patches


class AttnLrpParameters(PixelParameters):
    """Settings of ``attnlrp``."""

    gamma: float = Field(
        0, ge=0, description="γ-rule of all linear layers: how much contributions of the output's sign count more"
    )
    gamma_patches: float = Field(0, ge=0, description="γ-rule of the patch embedding; the authors try 0.1 to 100")


class TokenParameters(_InputParameters):
    """Settings of ``libragrad_input_x_gradient``."""

    at: At = Field(
        "tokens", description="input that is multiplied: normalised pixels, or tokens entering the first block"
    )


LIBRAGRAD = "Mehri, Soleymani Baghshah and Pilehvar, LibraGrad: Balancing Gradient Flow, CVPR 2025"


@explainer(
    "cp_lrp",
    family="relevance",
    class_specific=True,
    citation="Ali et al., XAI for Transformers: Better Explanations through Conservative Propagation, ICML 2022",
    parameters=CpLrpParameters,
)
def cp_lrp(context: Context, parameters: CpLrpParameters) -> Tensor:
    """Gradient × input with attention matrices, norm scales, activation gates and gated MLPs' gates held constant.

    A gated MLP ``act(g) ⊙ x`` (SwiGLU) passes its gradient to x alone, as in the code of AttnLRP's authors for CP-LRP and
    in the rule for gates of Arras et al. 2017.

    With ``gamma`` the linear layers of MLPs and head, and the patch embedding, follow the γ-rule (see ``attnlrp``), while
    those inside attention keep their gradient: the recipe of the ViT example by AttnLRP's authors, who search ``gamma`` in
    0, 0.01, 0.05, 0.1, 1 and ``gamma_patches`` in 0.1, 0.25, 100. Cost per image: 1 forward, 1 backward with the two
    ``libragrad`` maps; with γ a separate pass, in which these layers run backward four times.

    Returns:
        (B, rows, columns) or (B, H, W) float32, signed; sums over channels and patch.

    Raises:
        InputError: a module has no rule (see :func:`vitfaith.explainers.relevance.support.check_gradient_rules`).
    """
    return _input_map(context, "constant", "constant", parameters, parameters.gammas)


@explainer(
    "attnlrp",
    family="relevance",
    class_specific=True,
    citation="Achtibat et al., AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for Transformers, ICML 2024",
    parameters=AttnLrpParameters,
)
def attnlrp(context: Context, parameters: AttnLrpParameters) -> Tensor:
    """Gradient × input with halved gradients at both attention products and the softmax's own gradient.

    Gated MLPs (SwiGLU) halve the gradient at their product in the same way (eq. 7), with their activation by its own rule.
    Norm scales and activation gates are held constant; linear layers follow the ε-rule with ε = 0, which gradient ×
    input is, or for ViTs the γ-rule (Montavon et al. 2019, generalised to inputs of both signs), which counts
    contributions of an output's own sign 1 + γ times; 0 is the ε-rule. γ is of all linear layers here, those inside attention
    included. The authors' ViT example is another recipe: CP-LRP inside attention and γ outside it, which is ``cp_lrp`` with
    ``gamma``. Cost per image: 1 forward, 1 backward; with γ linear layers go back four times.

    Returns:
        (B, rows, columns) or (B, H, W) float32, signed; sums over channels and patch.

    Raises:
        InputError: as ``cp_lrp``.
    """
    return _input_map(context, "uniform", "uniform", parameters, (parameters.gamma, parameters.gamma_patches))


@explainer(
    "libragrad_input_x_gradient",
    family="relevance",
    class_specific=True,
    citation=LIBRAGRAD,
    parameters=TokenParameters,
)
def libragrad_input_x_gradient(context: Context, parameters: TokenParameters) -> Tensor:
    """Libra Input × Grad: gradient × token at the first block, in the FullGrad-complete backward pass (§3.5).

    For models without gated MLPs its backward pass equals ``cp_lrp``'s; the two differ in where they multiply (the
    authors take the tokens with positions), and with equal ``at`` they are equal. A gated MLP ``act(g) ⊙ x`` passes half of its
    gradient to each factor here, as in the authors' code, and all of it to x in ``cp_lrp``; such models take a separate
    pass. Cost, errors: as ``cp_lrp``.

    Returns:
        (B, rows, columns) float32, signed.
    """
    return _input_map(context, "constant", "uniform", parameters)


@explainer(
    "libragrad_fullgrad_plus",
    family="relevance",
    class_specific=True,
    citation=LIBRAGRAD,
)
def libragrad_fullgrad_plus(context: Context, parameters: Parameters) -> Tensor:
    """Libra FullGrad+: gradient × input of every block plus gradient × bias of every layer, summed (§2.1).

    A bias counts at the token where it is added; biases after pooling belong to no patch and are left out, like what
    falls on class and register tokens. FullGrad (the first block's inputs and all biases) is complete; the sum over
    blocks is not, by definition. Cost, errors: as ``cp_lrp``.

    Returns:
        (B, rows, columns) float32, signed.
    """
    passed = _full_gradient(context, "constant", "uniform")
    return context.on_grid(passed.inputs.sum(1) + passed.biases)


def _input_map(
    context: Context,
    attention: AttentionRule,
    gates: GateRule,
    parameters: _InputParameters,
    gammas: tuple[float, float] = (0, 0),
) -> Tensor:
    passed = _full_gradient(context, attention, gates, gammas)
    if parameters.at == "tokens":
        return context.on_grid(passed.inputs[:, 0])
    patches = context.classifier.patches
    return masking.at_resolution(passed.pixels.float(), patches, parameters.resolution, pool="sum")


def _full_gradient(
    context: Context, attention: AttentionRule, gates: GateRule, gammas: tuple[float, float] = (0, 0)
) -> FullGradient:
    """The modified pass of this batch, run once for all maps of one rule; without gated MLPs their rules are one."""
    from vitfaith.explainers.relevance.full_gradient import full_gradient
    from vitfaith.explainers.relevance.modified import Rules
    from vitfaith.explainers.relevance.support import GATED_MLPS

    if not any(isinstance(module, GATED_MLPS) for module in context.classifier.modules()):
        gates = "uniform"

    def run() -> FullGradient:
        return full_gradient(context.classifier, context.images, context.targets, Rules(attention, *gammas, gates))

    return context.once(f"full gradient {attention} {gates} {gammas}", run)

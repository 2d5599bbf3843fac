"""Modified backward passes: single modules of one model get another gradient for the time of a ``with`` block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from timm.layers.attention_pool import AttentionPoolLatent
from timm.models.vision_transformer import ParallelScalingBlock
from torch import nn

from vitfaith.errors import InputError
from vitfaith.explainers.relevance import forwards
from vitfaith.explainers.relevance.forwards import AttentionRule, Forward, GateRule, OnBias
from vitfaith.explainers.relevance.gamma import gamma_convolution, gamma_linear
from vitfaith.explainers.relevance.support import (
    ACTIVATIONS,
    ATTENTIONS,
    GATED_MLPS,
    NORMS,
    POOLS,
    check_gradient_rules,
    modules_of,
)


@dataclass(frozen=True)
class Rules:
    """The choices of one modified pass.

    Attributes:
        attention: see :data:`AttentionRule`.
        gamma: γ of linear layers; 0 leaves them their gradient. With ``constant`` attention those inside attention keep
            it too, as in the ViT example of AttnLRP's authors.
        gamma_patches: γ of the patch embedding.
        gates: see :data:`GateRule`; for gated MLPs.
    """

    attention: AttentionRule
    gamma: float = 0
    gamma_patches: float = 0
    gates: GateRule = "uniform"


@contextmanager
def modified_backward(network: nn.Module, rules: Rules, on_bias: OnBias | None = None) -> Iterator[None]:
    """Inside, backward passes through ``network`` follow the rules; its outputs are the same up to rounding.

    Normalisation holds its scale fixed (the mean stays linear), activations ``x·gate(x)`` hold their gate fixed,
    attention, gated MLPs and linear layers follow ``rules``. The forwards of these module instances are replaced while the block
    runs and put back at its end, also after an error; no class and no other model is touched. Backward passes must run
    inside. Not for two threads on one model at the same time.

    ``on_bias`` hears of the biases of queries, keys and values that are no part of a linear layer (EVA's, BEiT's).

    Raises:
        InputError: a module of ``network`` has no rule.
    """
    check_gradient_rules(network)
    before: list[tuple[nn.Module, Forward | None]] = []
    try:
        spared = _inside_attention(network) if rules.attention == "constant" else set()
        for name, module in modules_of(network):
            if isinstance(module, ParallelScalingBlock) and rules.gamma:
                raise InputError(
                    f"the γ-rule has no form for '{name}' (ParallelScalingBlock), whose layers are of attention and MLP at once; "
                    "set gamma: 0"
                )
            forward = None if module in spared else _modified_forward(module, rules, on_bias)
            if forward is not None:
                before.append((module, module.__dict__.get("forward")))
                module.__dict__["forward"] = forward
        yield
    finally:
        for module, previous in reversed(before):
            if previous is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = previous


def _inside_attention(network: nn.Module) -> set[nn.Module]:
    """The linear layers of attention modules, without the layers of a pooling's MLP."""
    found: set[nn.Module] = set()
    for _, module in modules_of(network):
        if isinstance(module, ATTENTIONS):
            found |= {layer for layer in module.modules() if isinstance(layer, nn.Linear)}
        if isinstance(module, AttentionPoolLatent):
            found |= {module.q, module.kv, module.proj}
    return found


def _modified_forward(module: nn.Module, rules: Rules, on_bias: OnBias | None) -> Forward | None:
    if isinstance(module, nn.Linear) and rules.gamma:
        return gamma_linear(module, rules.gamma)
    if isinstance(module, nn.Conv2d) and rules.gamma_patches:
        return gamma_convolution(module, rules.gamma_patches)
    if isinstance(module, (*ATTENTIONS, *POOLS, ParallelScalingBlock)):
        inside = rules.gamma if rules.attention == "uniform" else 0
        return forwards.attention(module, rules.attention, inside, on_bias)
    if isinstance(module, GATED_MLPS):
        return forwards.gated_mlp(module, rules.gates)
    if type(module) in NORMS:
        return forwards.norm(module)
    if type(module) in ACTIVATIONS:
        return forwards.activation(module)
    return None

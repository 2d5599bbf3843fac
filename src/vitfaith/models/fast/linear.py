"""Linear layers by oneDNN on a CPU, where no gradient of the weights is wanted: the same numbers in less time.

For float32 matrix products torch calls MKL, which leaves half the vector width of processors of other makes unused. oneDNN,
which comes with torch and computes its convolutions already, uses all of it. Sums may be taken in another order, so results
agree up to rounding; a row of a result does not depend on how many other rows there are.

The processor's instruction set decides which of the two is used, and no timing does: the same machine always gives the same
bits. :func:`kernels` names the choice, for provenance.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitfaith.models.fast.compiler import without_compiler
from vitfaith.models.fast.switch import is_on

with without_compiler():
    from timm.layers.mlp import Mlp

CAPABILITIES = frozenset({"AVX2", "AVX512"})
"""Instruction sets, as ``torch.backends.cpu.get_cpu_capability`` names them, for which oneDNN was measured to be faster."""

SINCE = "2.12"
"""First torch version whose oneDNN gives a row the same bits for any other rows (tested); oneDNN of torch 2.10 and older does not."""


@cache
def has_onednn() -> bool:
    """Whether oneDNN computes linear layers on this processor; builds of torch without it (macOS) compute as they always do."""
    return (
        torch.__version__ >= SINCE  # compares as versions do
        and bool(torch.backends.mkldnn.is_available())
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and torch.backends.cpu.get_cpu_capability() in CAPABILITIES
    )


def kernels(device: str, *, quick: bool = True) -> dict[str, str]:
    """Kernels of a job's networks on ``device`` (cpu, cuda), for provenance.

    Keys: ``fast`` (on, off), ``linear`` (oneDNN, or torch for torch's own choice) and on a CPU ``processor``, the
    instruction set that torch has chosen (AVX2, AVX512 …): float32 results differ in rounding between these.

    Args:
        quick: whether the networks ran inside :func:`quick_linear_layers`; networks of denoisers and trainings do not.
    """
    on_cpu = torch.device(device).type == "cpu"
    by = "oneDNN" if quick and on_cpu and is_on() and has_onednn() else "torch"
    found = {"fast": "on" if is_on() else "off", "linear": by}
    return found | ({"processor": torch.backends.cpu.get_cpu_capability()} if on_cpu else {})


@contextmanager
def quick_linear_layers(network: nn.Module) -> Iterator[None]:
    """Inside, every ``nn.Linear`` of ``network`` computes :func:`linear`, and a timm MLP its first layer with its GELU at once.

    Layers with a replaced forward, and MLPs whose parts have hooks, stay unchanged. Nothing is replaced where the
    fast paths are off or oneDNN is not used.
    """
    changed: list[nn.Module] = []
    for module in network.modules() if is_on() and has_onednn() else ():
        if "forward" in module.__dict__:
            continue
        if type(module) is nn.Linear:
            module.forward = partial(_forward, module)  # type: ignore[method-assign]
        elif type(module) is Mlp and _is_plain(module):
            module.forward = partial(_mlp, module)  # type: ignore[method-assign]
        else:
            continue
        changed.append(module)
    try:
        yield
    finally:
        for module in changed:
            del module.forward


def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None, *, gelu: bool = False) -> Tensor:
    """As ``functional.linear``: (…, O) for ``inputs`` (…, I), ``weight`` (O, I) and ``bias`` (O,) or None, of any dtype.

    By oneDNN for float32 on a CPU where no gradient of the weights is recorded and no autocast is on; else by torch's own
    choice. With ``gelu``, the result goes through x · Φ(x), while it is still in the processor's cache where no gradient of
    the inputs is recorded either. Differentiable in the inputs any number of times.
    """
    recorded = torch.is_grad_enabled()
    if not _suits(inputs, weight) or (recorded and any(p is not None and p.requires_grad for p in (weight, bias))):
        found = functional.linear(inputs, weight, bias)
    elif recorded and inputs.requires_grad:
        found = _Linear.apply(inputs, weight, bias)
    else:
        return _product(inputs, weight, bias, gelu=gelu)
    return functional.gelu(found) if gelu else found


class _Linear(torch.autograd.Function):
    """The product of :func:`linear`, whose gradient in the inputs is again one."""

    @staticmethod
    def forward(context: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        context.save_for_backward(weight)
        return _product(inputs, weight, bias)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = context.saved_tensors
        return linear(gradient, weight.t().contiguous(), None), None, None


def _product(inputs: Tensor, weight: Tensor, bias: Tensor | None, *, gelu: bool = False) -> Tensor:
    rows = inputs.reshape(-1, inputs.shape[-1])
    if len(rows) == 1:  # a product with a single vector uses another kernel, with other rounding
        rows = rows.expand(2, -1)
    after, algorithm = ("gelu", "none") if gelu else ("none", "")  # algorithm "none": the GELU without approximation
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows.contiguous(), weight, bias, after, [], algorithm)
    return product[: inputs.shape[:-1].numel()].reshape(*inputs.shape[:-1], len(weight))


def _forward(layer: nn.Linear, inputs: Tensor) -> Tensor:
    return linear(inputs, layer.weight, layer.bias)


def _is_plain(mlp: Any) -> bool:
    """Whether a timm MLP is linear, GELU, linear, and nobody watches the steps between."""
    first, act = mlp.fc1, mlp.act
    if type(first) is not nn.Linear or type(mlp.fc2) is not nn.Linear or type(act) is not nn.GELU:
        return False
    watched = any(m._forward_hooks or m._forward_pre_hooks for m in (first, act))
    changed = any("forward" in m.__dict__ for m in (first, act))
    return act.approximate == "none" and not watched and not changed


def _mlp(mlp: Any, tokens: Tensor) -> Tensor:
    hidden = mlp.norm(mlp.drop1(linear(tokens, mlp.fc1.weight, mlp.fc1.bias, gelu=True)))
    found: Tensor = mlp.drop2(mlp.fc2(hidden))
    return found


QUICK = (_forward, _mlp)
"""What :func:`quick_linear_layers` puts in place of a module's forward."""


def _suits(inputs: Tensor, weight: Tensor) -> bool:
    return (
        is_on()
        and has_onednn()
        and bool(torch.backends.mkldnn.enabled)
        and inputs.dtype == weight.dtype == torch.float32
        and inputs.device.type == weight.device.type == "cpu"
        and inputs.numel() > 0
        and not torch.is_autocast_enabled("cpu")
    )

"""User changes to a module that its class does not show: hooks, a replaced forward, use in two places."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from torch import nn

from vitfaith.models.fast.linear import QUICK


def has_own_forward(module: nn.Module) -> bool:
    """Whether ``forward`` was replaced on this very module; the quick layers of a pass do not count."""
    own = module.__dict__.get("forward")
    return own is not None and not (isinstance(own, partial) and own.func in QUICK)


def is_altered(*modules: nn.Module | None) -> bool:
    """Whether one of ``modules`` has hooks or a replaced forward, so its output may differ from its class's output."""
    given = [module for module in modules if module is not None]
    return any(has_own_forward(m) or m._forward_hooks or m._forward_pre_hooks for m in given)


def found_twice(network: nn.Module) -> tuple[str, str] | None:
    """Two names of one module with weights below ``network``, None where each has one place."""
    names: dict[nn.Module, str] = {}
    for name, module in network.named_modules(remove_duplicate=False):
        if next(module.parameters(), None) is None:
            continue
        if module in names:
            return names[module], name
        names[module] = name
    return None


def is_same(blocks: Iterable[nn.Module]) -> bool:
    """Whether one of ``blocks`` is there twice."""
    listed = list(blocks)
    return len(set(listed)) != len(listed)

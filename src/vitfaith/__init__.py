"""Faithfulness of Vision Transformer explanations.

The public names below are looked up when they are first used, so that ``import vitfaith`` takes milliseconds and imports
neither torch nor pandas. Inside the package nobody imports from here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import vitfaith.api.plot as plot
    import vitfaith.register as register
    from vitfaith.api.attack import Attacked, attack
    from vitfaith.api.catalogue import available, describe
    from vitfaith.api.certify import certify
    from vitfaith.api.evaluate import Evaluation, evaluate, score
    from vitfaith.api.explain import explain
    from vitfaith.api.maps import Maps
    from vitfaith.api.results import read
    from vitfaith.api.smooth import Smoothed, load_denoiser, smooth
    from vitfaith.api.summary import compare_maps, leaderboard
    from vitfaith.api.trust import trust
    from vitfaith.api.wrap import wrap
    from vitfaith.errors import ArtifactError, ConfigError, InputError, VitfaithError

_WHERE = {
    "Attacked": "vitfaith.api.attack",
    "attack": "vitfaith.api.attack",
    "available": "vitfaith.api.catalogue",
    "describe": "vitfaith.api.catalogue",
    "certify": "vitfaith.api.certify",
    "Evaluation": "vitfaith.api.evaluate",
    "evaluate": "vitfaith.api.evaluate",
    "score": "vitfaith.api.evaluate",
    "explain": "vitfaith.api.explain",
    "Maps": "vitfaith.api.maps",
    "read": "vitfaith.api.results",
    "Smoothed": "vitfaith.api.smooth",
    "load_denoiser": "vitfaith.api.smooth",
    "smooth": "vitfaith.api.smooth",
    "compare_maps": "vitfaith.api.summary",
    "leaderboard": "vitfaith.api.summary",
    "trust": "vitfaith.api.trust",
    "wrap": "vitfaith.api.wrap",
    "ArtifactError": "vitfaith.errors",
    "ConfigError": "vitfaith.errors",
    "InputError": "vitfaith.errors",
    "VitfaithError": "vitfaith.errors",
}
"""Public name → the module that has it."""

_MODULES = {"plot": "vitfaith.api.plot", "register": "vitfaith.register"}
"""Public modules."""

__all__ = [
    "ArtifactError",
    "Attacked",
    "ConfigError",
    "Evaluation",
    "InputError",
    "Maps",
    "Smoothed",
    "VitfaithError",
    "attack",
    "available",
    "certify",
    "compare_maps",
    "describe",
    "evaluate",
    "explain",
    "leaderboard",
    "load_denoiser",
    "plot",
    "read",
    "register",
    "score",
    "smooth",
    "trust",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name not in _WHERE:
        raise AttributeError(f"module 'vitfaith' has no attribute '{name}'; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""The classes of torchattacks and their arguments, read from its source without importing torch."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from vitfaith.attacks.registry import Bound, check_eps, check_radius
from vitfaith.errors import ConfigError, did_you_mean

_LINF = {
    "FGSM", "BIM", "RFGSM", "PGD", "EOTPGD", "FFGSM", "TPGD", "MIFGSM", "UPGD", "DIFGSM", "TIFGSM", "Jitter", "NIFGSM",
    "PGDRS", "SINIFGSM", "VMIFGSM", "VNIFGSM", "SPSA",
}  # fmt: skip
_L2 = {"PGDL2", "PGDRSL2"}
_BY_ARGUMENT = {"APGD", "APGDT", "FAB", "Square", "AutoAttack"}
_BATCHED = {
    "VANILA", "GN", "FGSM", "BIM", "RFGSM", "PGD", "EOTPGD", "FFGSM", "TPGD", "MIFGSM", "UPGD", "Jitter", "NIFGSM",
    "SINIFGSM", "VMIFGSM", "VNIFGSM", "PGDL2",
}  # fmt: skip
"""Classes whose rows do not see each other. The others share random transforms, early stopping or restarts."""
SUMS_GRADIENTS = frozenset({"SINIFGSM", "VMIFGSM", "VNIFGSM"})
"""Classes that add gradients of several points before they normalise the sum, so that each one's size counts."""
READS_PROBABILITIES = frozenset({"TPGD", "PGDRS", "PGDRSL2", "OnePixel", "Pixle"})
"""Classes whose loss is made of softmax probabilities."""
_RADII = ("eps", "max_epsilon")
_RESERVED = {
    "model": "comes from the study",
    "seed": "comes from the study, keyed per image",
    "verbose": "is not supported: jobs log through the workflow",
}


@cache
def signatures() -> dict[str, dict[str, Any]]:
    """Attack class → argument → default (None where it is not a literal), of the installed torchattacks."""
    spec = importlib.util.find_spec("torchattacks")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("torchattacks is not installed; install it with `pip install torchattacks`")
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(Path(spec.submodule_search_locations[0], "attacks").glob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and any(ast.unparse(b) == "Attack" for b in node.bases):
                init = next((f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__init__"), None)
                found[node.name] = {} if init is None else _arguments(init)
    return found


def _arguments(init: ast.FunctionDef) -> dict[str, Any]:
    names = [a.arg for a in init.args.args][1:]
    defaults: list[ast.expr | None] = [None] * (len(names) - len(init.args.defaults)) + list(init.args.defaults)
    return {n: _literal(d) for n, d in zip(names, defaults, strict=True)}


def _literal(node: ast.expr | None) -> Any:
    """Value of a literal or of a quotient of two (``8 / 255``); None for anything else."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return float(ast.literal_eval(node.left)) / float(ast.literal_eval(node.right))
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return None


def check_arguments(name: str, arguments: Mapping[str, Any]) -> None:
    """Raise :class:`ConfigError` unless torchattacks has the class ``name`` and it takes ``arguments``."""
    known = signatures()
    if name not in known:
        raise ConfigError(f"torchattacks has no attack '{name}'{did_you_mean(name, known)}; known: {', '.join(known)}")
    if name == "AutoAttack":
        raise ConfigError(
            "torchattacks.AutoAttack is not the published ensemble: APGD and FAB stop at 10 of 100 steps, Square rescales "
            "its schedule; use the attack 'autoattack'"
        )
    for argument in arguments:
        if argument in _RESERVED:
            raise ConfigError(f"torchattacks.{name}: argument '{argument}' {_RESERVED[argument]}; remove it")
        if argument not in known[name]:
            takes = [a for a in known[name] if a not in _RESERVED]
            raise ConfigError(
                f"torchattacks.{name} takes no argument '{argument}'{did_you_mean(argument, takes)}; "
                f"it takes {', '.join(takes) or 'none'}"
            )
        value = arguments[argument]
        if argument in _RADII and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ConfigError(f"torchattacks.{name}: {argument} is {value!r}; give a number in [0, 1] pixel units")
    promise = bound_of(name, arguments)
    eps = {**known[name], **arguments}.get("eps") if promise is None else promise.eps
    if isinstance(eps, (int, float)):
        (check_eps if promise is not None and promise.norm == "linf" else check_radius)(float(eps))


def bound_of(name: str, arguments: Mapping[str, Any]) -> Bound | None:
    """The bound that a torchattacks class promises; None for l0, l1, perceptual and minimal-norm attacks."""
    settings = {**signatures()[name], **arguments}
    if name in ("PIFGSM", "PIFGSMPP"):
        return Bound("linf", float(settings["max_epsilon"]))
    if name in _LINF:
        return Bound("linf", float(settings["eps"]))
    if name in _L2:
        return Bound("l2", float(settings["eps"]))
    if name in _BY_ARGUMENT and settings["norm"] in ("Linf", "L2"):
        return Bound("linf" if settings["norm"] == "Linf" else "l2", float(settings["eps"]))
    return None


def is_batched(name: str) -> bool:
    """Whether a torchattacks class may see several images at once without mixing them."""
    return name in _BATCHED

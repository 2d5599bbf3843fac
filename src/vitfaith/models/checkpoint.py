"""Weights from files: safetensors, or torch files whose unpickler may build tensors and nothing else."""

from __future__ import annotations

import argparse
import json
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vitfaith.artifacts.record import check_recorded, record_beside
from vitfaith.errors import ArtifactError

NESTED = ("state_dict_ema", "model_ema", "ema", "state_dict", "model", "module", "network", "net")
"""Keys below which training scripts keep the weights, in the order in which they are taken (as timm: averages first)."""

_PREFIXES = ("module.", "_orig_mod.")
_SHOWN = 3


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and what is stored beside them.

    Attributes:
        state: tensors by name; on the device ``meta`` (shape and type, no numbers) when only shapes were asked for.
        description: what vitfaith's own training stored (mean, std …); empty for other files.
    """

    state: dict[str, Tensor]
    description: dict[str, Any]


def read_checkpoint(path: Path, *, shapes_only: bool = False) -> Checkpoint:
    """Read ``path``: ``*.safetensors``, or a file of ``torch.save`` (.pt, .pth, .bin, .tar …).

    A torch file is read with ``weights_only``: its unpickler builds tensors and plain containers (and the
    ``argparse.Namespace`` that training scripts store beside them), never other objects. Weights nested below one of
    :data:`NESTED` are found; prefixes of ``DataParallel`` and ``torch.compile`` are taken off.

    Args:
        shapes_only: read the header alone; takes milliseconds for a safetensors file of any size.

    Weights that a study has trained are compared with the digest that was recorded with them.

    Raises:
        ArtifactError: the file is missing, broken, altered, holds other objects, no tensors, or (unless only shapes are
            asked for) NaN or infinite numbers; the text says which.
    """
    if path.exists() and not path.is_file():
        raise ArtifactError(
            f"weights '{path}' cannot be read: it is a folder, a pipe or a device; name the file itself"
        )
    if not shapes_only:
        check_recorded(path, record_beside(path))
    if path.suffix == ".safetensors":
        found = _read_safetensors(path, shapes_only)
        if not shapes_only:
            check_finite(found.state, path)
        return found
    content = _read_torch(path, "meta" if shapes_only else "cpu")
    state = _find_state(content, path)
    if not shapes_only:
        check_finite(state, path)
    while prefix := next((p for p in _PREFIXES if any(k.startswith(p) for k in state)), None):
        # keys without the prefix are counters of the wrapper, such as n_averaged
        state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    return Checkpoint(state, {})


def check_finite(state: Mapping[str, Tensor], path: Path) -> None:
    """Raise :class:`ArtifactError` where a tensor holds NaN or infinite values; the text names the first."""
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ArtifactError(
                f"weights '{path}': tensor '{name}' holds NaN or infinite values; take a checkpoint from before training failed"
            )


def fit_weights(module: nn.Module, state: Mapping[str, Tensor], path: Path, hint: str, *, assign: bool = False) -> None:
    """Load ``state`` strictly into ``module``.

    Args:
        path: named in the error.
        hint: the way out, the end of the error's sentence.
        assign: take the tensors themselves, for a module built on the device ``meta``.

    Raises:
        ArtifactError: names are missing or left over, or shapes differ; one sentence with the first few of each.
    """
    problem = misfit(module.state_dict(), state)
    if problem is not None:
        raise ArtifactError(f"weights '{path}' do not fit the model: {problem}; {hint}")
    module.load_state_dict(state, strict=True, assign=assign)


def misfit(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """The reason why ``found`` cannot be loaded as ``expected``, or None."""
    reshaped = [
        f"{k} ({_shape(found[k])}, the model has {_shape(v)})"
        for k, v in expected.items()
        if k in found and found[k].shape != v.shape
    ]
    parts = [
        _counted("missing", [k for k in expected if k not in found]),
        _counted("unexpected", [k for k in found if k not in expected]),
        _counted("of another shape", reshaped),
    ]
    return ", ".join(p for p in parts if p) or None


def _counted(what: str, names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    return f"{len(names)} {what}: {shown}" if names else ""


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"


def _read_safetensors(path: Path, shapes_only: bool) -> Checkpoint:
    try:
        with safe_open(str(path), framework="pt") as handle:
            description = json.loads((handle.metadata() or {}).get("vitfaith", "{}"))
            names = list(handle.keys())
            if shapes_only:
                state = {n: torch.empty(handle.get_slice(n).get_shape(), device="meta") for n in names}
            else:
                state = {n: handle.get_tensor(n) for n in names}
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ArtifactError(f"weights '{path}' cannot be read: {_first_line(error)}") from error
    return Checkpoint(state, dict(description))


def _read_torch(path: Path, device: str) -> object:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location=device, weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise ArtifactError(
            f"weights '{path}' cannot be read without running code that it brings along ({_first_line(error)}); "
            "save the state_dict alone, best as safetensors"
        ) from error
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, IndexError) as error:
        raise ArtifactError(f"weights '{path}' cannot be read: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _find_state(content: object, path: Path) -> dict[str, Tensor]:
    found = content
    for _ in range(3):  # {"model": {"state_dict": …}} is as deep as it gets in practice
        if not isinstance(found, Mapping):
            break
        tensors = {str(k): v for k, v in found.items() if isinstance(v, Tensor)}
        inner = next((found[k] for k in NESTED if isinstance(found.get(k), Mapping)), None)
        if inner is None:
            if tensors:
                return tensors
            break
        found = inner
    raise ArtifactError(
        f"weights '{path}' hold no tensors by name (found {_outline(content)}); save a state_dict, bare or below one of "
        f"the keys {', '.join(NESTED)}"
    )


def _outline(content: object) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    keys: Iterable[object] = list(content)[:_SHOWN]
    return f"keys {', '.join(map(str, keys))}" if content else "an empty mapping"

"""Maps by method, with the classes that they explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vitfaith.artifacts.maps import raw_mean
from vitfaith.errors import InputError
from vitfaith.map_values import map_flags


class Maps(dict[str, Tensor]):
    """Method → maps (B, rows, columns) float32 on the CPU; larger values mean more important for the explained class.

    ``maps | {"mine": tensor}``, ``{"mine": tensor} | maps`` and ``maps.copy()`` keep the attributes; ``{**maps}`` and
    ``dict(maps)`` are plain dicts without them. Values become tensors. Assigning to a method drops its entries in
    ``explainers`` and ``sample_maps``, because they belong to the replaced map.

    Attributes:
        target: (B,) int64, the explained class of each image.
        image_ids: B names; with ``seed`` they key every random number.
        seed: seed of the random numbers.
        explainers: method → registered name of its explainer; your own maps have none.
        sample_maps: behind a smoothing, method → the raw maps (B, S, rows, columns) float32 of the S noise samples; else
            empty.

    Raises:
        InputError: ``maps`` is not a mapping, a name is not text, or a value is not an array of real numbers; assignments
            raise it too.
    """

    def __init__(
        self,
        maps: Mapping[str, Tensor],
        *,
        target: Tensor,
        image_ids: Sequence[str],
        seed: int = 0,
        explainers: Mapping[str, str] | None = None,
        sample_maps: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(named_maps(maps))
        self.target, self.image_ids, self.seed = target, list(image_ids), seed
        self.explainers, self.sample_maps = dict(explainers or {}), dict(sample_maps or {})

    @property
    def flags(self) -> dict[str, list[str]]:
        """Method → for each map ``"nan"`` (NaN or infinite values), ``"constant"`` (it ranks nothing), or ``""``."""
        return {method: map_flags(maps.cpu().float().numpy()) for method, maps in self.items()}

    @property
    def raw(self) -> dict[str, Tensor] | None:
        """Behind a smoothing, method → mean of the samples' raw maps, for scale-dependent metrics; else None."""
        if not self.sample_maps:
            return None
        means = {method: raw_mean(one.numpy()) for method, one in self.sample_maps.items()}
        return {method: torch.from_numpy(means[method]) if method in means else maps for method, maps in self.items()}

    def copy(self) -> Maps:
        """The same maps and attributes; the tensors are shared."""
        return _made(dict(self), self._facts())

    def update(self, *others: Any, **named: Any) -> None:
        """As in a dict; if both have a method, the other's map replaces this one's.

        Raises:
            InputError: the other maps have other images, classes or another seed.
        """
        new = named_maps(dict(*others, **named))
        for other in others:
            if isinstance(other, Maps):
                self._check_same_images(other)
        for method, one in new.items():
            self[method] = one
        for other in others:
            if isinstance(other, Maps):
                self.explainers |= {m: name for m, name in other.explainers.items() if m not in named}
                self.sample_maps |= {m: one for m, one in other.sample_maps.items() if m not in named}

    def setdefault(self, method: str, default: Any = None) -> Tensor:
        """As in a dict."""
        if method not in self:
            self[method] = default
        return self[method]

    def pop(self, method: str, *default: Any) -> Any:
        """As in a dict."""
        self._forget(method)
        return super().pop(method, *default)

    def popitem(self) -> tuple[str, Tensor]:
        """As in a dict."""
        method, one = super().popitem()
        self._forget(method)
        return method, one

    def clear(self) -> None:
        """As in a dict."""
        super().clear()
        self.explainers, self.sample_maps = {}, {}

    def __setitem__(self, method: str, one: Any) -> None:
        new = named_maps({method: one})
        self._forget(method)
        super().__setitem__(method, new[method])

    def __delitem__(self, method: str) -> None:
        super().__delitem__(method)
        self._forget(method)

    def __or__(self, other: Any) -> Maps:  # type: ignore[override]
        """These maps and others of the same images; where both have a method, the other's.

        Raises:
            InputError: the others are of other images, classes or seed.
        """
        if not isinstance(other, Mapping):
            return NotImplemented
        both = self.copy()
        both.update(other)
        return both

    def __ror__(self, other: Any) -> Maps:  # type: ignore[override]
        if not isinstance(other, Mapping):
            return NotImplemented
        both = _made(other, self._facts() | {"explainers": {}, "sample_maps": {}})
        both.update(self)
        return both

    def __ior__(self, other: Any) -> Maps:  # type: ignore[override]
        self.update(other)
        return self

    def __reduce__(
        self,
    ) -> tuple[Any, ...]:  # a copy of a dict assigns item by item, which would drop what belongs to it
        return _made, (dict(self), self._facts())

    def _facts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("target", "image_ids", "seed", "explainers", "sample_maps")}

    def _forget(self, method: str) -> None:
        """Drop what was said of the map that goes."""
        self.explainers.pop(method, None)
        self.sample_maps.pop(method, None)

    def _check_same_images(self, other: Maps) -> None:
        if other.image_ids != self.image_ids or not torch.equal(other.target, self.target) or other.seed != self.seed:
            raise InputError("these maps are of other images, classes or another seed; score them in a separate call")


def _made(maps: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Maps:
    return Maps(maps, **facts)


def named_maps(maps: Any) -> dict[str, Tensor]:
    """``maps`` as a plain dict of method → tensor; raises :class:`InputError` if it is not a mapping to arrays."""
    if not isinstance(maps, Mapping):
        raise InputError(f"maps is a {type(maps).__name__}; give {{'name': maps (B, rows, columns)}}")
    for method in maps:
        if not isinstance(method, str):
            raise InputError(f"maps: the name {method!r} is a {type(method).__name__}; name each method with text")
    return {method: tensor_of(f"maps['{method}']", one) for method, one in maps.items()}


def tensor_of(name: str, values: Any, instead: str = "a tensor") -> Tensor:
    """``values`` (a tensor, or anything that NumPy converts to an array) as a tensor without gradients.

    Raises:
        InputError: these are no real numbers; ``name`` says which argument it is, ``instead`` what to give.
    """
    try:  # NumPy's are copied, since a tensor takes no negative strides, and a read-only array only with a warning
        found = values.detach() if isinstance(values, Tensor) else torch.from_numpy(np.array(values, order="C"))
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        told = "None" if values is None else f"a {type(values).__name__} that is not an array of numbers"
        raise InputError(f"{name} is {told}; give {instead}") from error
    if found.is_complex():
        raise InputError(f"{name} is {found.dtype}; give real numbers, such as the absolute values")
    return found

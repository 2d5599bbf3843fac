"""Random numbers inside foreign attacks, keyed by image: a draw does not depend on the batch it is made for."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vitfaith.errors import InputError
from vitfaith.rng import derive_seed, generator
from vitfaith.transfer import upload

_IN_PLACE = {
    "uniform_", "normal_", "bernoulli_", "random_", "exponential_", "cauchy_", "geometric_", "log_normal_",
}  # fmt: skip
_UNIFORM = {"rand", "rand_like"}
_NORMAL = {"randn", "randn_like"}
_INTEGER = {"randint", "randint_like"}
_WHOLE = {"randperm", "multinomial", "bernoulli", "normal"}
_ACTIVE: ContextVar[KeyedRandom | None] = ContextVar("_ACTIVE", default=None)


class KeyedRandom(TorchFunctionMode):
    """While active, torch's random functions draw row i from a generator keyed by (seed, image i, purpose, draw).

    A draw whose leading size is the number of images is made row by row; with a single image every draw is keyed by
    that image. Numbers are drawn on the CPU, so that every device sees the same. Calls that bring their own
    ``generator`` are left alone.

    Raises:
        InputError: (inside the block) a draw of another leading size for several images, which would be shared by
            the batch: such an attack has to run image by image.
    """

    def __init__(self, seed: int, image_ids: Sequence[str], purpose: str = "attack") -> None:
        super().__init__()
        self.seed, self.image_ids, self.purpose = seed, list(image_ids), purpose
        self.draws = 0
        self._outer: list[Token[KeyedRandom | None]] = []

    def __enter__(self) -> KeyedRandom:
        """Key the draws of the block."""
        self._outer.append(_ACTIVE.set(self))
        super().__enter__()
        return self

    def __exit__(self, *failure: Any) -> None:
        """Key the draws as before the block."""
        super().__exit__(*failure)
        _ACTIVE.reset(self._outer.pop())

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace random functions, pass everything else on."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        if name in _IN_PLACE:
            return self._fill(args[0], name, args[1:], kwargs)
        if name in _UNIFORM:
            return self._fill(func(*args, **kwargs).detach(), "uniform_", (), {}, kwargs)
        if name in _NORMAL:
            return self._fill(func(*args, **kwargs).detach(), "normal_", (), {}, kwargs)
        if name in _INTEGER:
            return self._fill(func(*args, **kwargs), "random_", _range(name, args, kwargs), {})
        if name in _WHOLE:
            return self._whole(func, args, kwargs)
        return func(*args, **kwargs)

    def _generators(self, shape: Sequence[int]) -> list[torch.Generator]:
        self.draws += 1
        if len(self.image_ids) > 1 and (not shape or shape[0] != len(self.image_ids)):
            raise InputError(
                f"an attack drew random numbers of shape {tuple(shape)} for a batch of {len(self.image_ids)} images, "
                "which would mix them; register it with batched=lambda p: False"
            )
        return [generator(self.seed, i, self.purpose, self.draws - 1) for i in self.image_ids]

    @torch.no_grad()
    def _fill(
        self,
        out: Tensor,
        method: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        factory: dict[str, Any] | None = None,
    ) -> Tensor:
        sources = self._generators(out.shape)
        drawn = torch.empty(out.shape, dtype=out.dtype)
        rows = [drawn] if len(sources) == 1 else list(drawn)
        for row, source in zip(rows, sources, strict=True):
            getattr(row, method)(*args, **{**kwargs, "generator": source})
        out.copy_(upload(drawn, out.device))
        return out.requires_grad_() if (factory or {}).get("requires_grad") else out

    def _whole(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        template = func(*args, **kwargs)
        sources = self._generators(template.shape)
        device = template.device
        args = tuple(a.cpu() if isinstance(a, Tensor) else a for a in args)
        kwargs = {k: v.cpu() if isinstance(v, Tensor) else v for k, v in kwargs.items() if k != "device"}
        if len(sources) == 1:
            return func(*args, **kwargs, generator=sources[0]).to(device)
        if getattr(func, "__name__", "") != "bernoulli" or not args:
            raise InputError(f"an attack called torch.{func.__name__} for several images; run it image by image")
        return torch.stack([func(p, generator=g) for p, g in zip(args[0], sources, strict=True)]).to(device)


def _range(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, int]:
    """Lower and upper limit of a randint or randint_like call."""
    numbers = [a for a in (args[1:] if name == "randint_like" else args) if isinstance(a, int)]
    low, high = kwargs.get("low"), kwargs.get("high")
    if high is None:
        high = numbers[-1]
        numbers = numbers[:-1]
    if low is None:
        low = numbers[0] if numbers else 0
    return int(low), int(high)


@contextmanager
def common_draws(purpose: str) -> Iterator[None]:
    """Every block of one ``purpose`` draws the same numbers; draws outside go on as if the block had made none.

    Images that a random defence judges are comparable only on common random numbers. Inside :class:`KeyedRandom`, draws
    are keyed by (seed, image, its purpose/``purpose``, draw in this block). Without it, torch's generators are seeded by
    ``purpose`` for the block.
    """
    keyed = _ACTIVE.get()
    if keyed is None:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(derive_seed(0, "", purpose))
            yield
        return
    before = keyed.purpose, keyed.draws
    keyed.purpose, keyed.draws = f"{keyed.purpose}/{purpose}", 0
    try:
        yield
    finally:
        keyed.purpose, keyed.draws = before


@contextmanager
def forked_random(seed: int, image_ids: Sequence[str], purpose: str, device: torch.device) -> Iterator[None]:
    """Seed the global generators of torch, NumPy and Python for the block, and restore them after it.

    Some attacks call ``np.random`` or seed torch themselves; neither must reach the caller.
    """
    devices = [device] if device.type == "cuda" else []
    key = derive_seed(seed, "\x1e".join(image_ids), purpose)
    numpy_state, python_state = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(key)
        np.random.seed(key % 2**32)
        random.seed(key)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)

"""A GPU that is none: tensors with their numbers on the CPU that say ``cuda:0``, and refuse to meet tensors of the CPU.

A subclass sees every operation that computes, also those inside torch's functions and in backward passes, and raises
:class:`MismatchError` where a GPU would. A function mode sees the calls that name a device. So a missing ``.to(device)`` is
found on a machine without a GPU, by real numbers. A division by the number 255 ends a bit off, as on CUDA.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

CUDA = torch.device("cuda:0")
MEMORY = 2**30
"""Bytes of the GPU."""


class MismatchError(RuntimeError):
    """Tensors of two devices met where CUDA raises."""


class OnCuda(Tensor):
    """A tensor of the CPU that says it is on ``cuda:0``."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    device = CUDA  # type: ignore[assignment]
    is_cuda = True
    is_cpu = False

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Compute on the CPU; the result is on the GPU."""
        kwargs = kwargs or {}
        _check(func, args, kwargs)
        func, args = _as_on_cuda(func, args)
        with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
            found = func(*args, **kwargs)
        written = _written(func, args, kwargs)
        if written is not None:
            return written
        return tree_map(_claimed, found)

    def numpy(self, *, force: bool = False) -> Any:
        """As of a tensor on a GPU."""
        if force:
            return self.detach().cpu().numpy()
        raise TypeError("can't convert cuda:0 device type tensor to numpy; use Tensor.cpu() first")

    def __format__(self, form: str) -> str:
        return format(self.item(), form) if not self.ndim else super().__format__(form)

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.numpy()


def _claimed(found: Any) -> Any:
    if isinstance(found, Tensor) and not isinstance(found, OnCuda):
        return Tensor._make_subclass(OnCuda, found)
    return found


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What an operation in place, or with ``out``, returns: the arguments that it wrote to."""
    returns = func._schema.returns
    if not returns or any(r.alias_info is None or not r.alias_info.is_write for r in returns):
        return None
    found = _written_arguments(func, args, kwargs)
    return found[0] if len(found) == 1 else tuple(found)


def _written_arguments(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """In the order of the results that they become."""
    names = {}
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[place] if place < len(args) else kwargs.get(argument.name)
            names[frozenset(argument.alias_info.before_set)] = given
    order = [frozenset(r.alias_info.before_set) for r in func._schema.returns if r.alias_info is not None]
    return [names[key] for key in order if key in names] or list(names.values())


def _as_on_cuda(func: Any, args: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """CUDA multiplies by the rounded 1/255 where a number of the CPU divides: pixels end a bit off."""
    if func is torch.ops.aten.div.Tensor and not isinstance(args[1], OnCuda) and args[0].dtype == torch.float32:
        number = float(args[1]) if not isinstance(args[1], Tensor) or not args[1].ndim else 0.0
        if number == 255:
            return torch.ops.aten.mul.Tensor, (args[0], torch.ones(()) / 255)
    return func, args


_COPIES = {"copy_", "_copy_from", "_copy_from_and_resize"}
"""Take a tensor of any device, and the CPU waits for the queue."""
_READ = {"index", "_unsafe_index", "index_put_", "index_put", "_index_put_impl_", "_unsafe_index_put"}
"""Take indices from the CPU, and upload them in the same way."""


def _is_outside() -> bool:
    """Whether the code that waits is that of another package, which may copy as it likes."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in ("torchattacks", "vitfaith") and frame.f_code.co_name != "__torch_function__":
            return package == "torchattacks"
        frame = frame.f_back
    return False


def _check(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise where a GPU would, and where it would copy by itself, for which the CPU waits; copies go through ``vitfaith.transfer``.

    A single number of the CPU may join element-wise operations on a GPU.
    """
    name = func._schema.name.removeprefix("aten::")
    if name in _COPIES:
        if isinstance(args[0], OnCuda) != isinstance(args[1], OnCuda) and not _is_outside():
            raise MismatchError(f"{name}: a copy between devices for which the CPU waits; use upload or Download")
        return
    given: Any = (args, kwargs)
    if name in _READ:
        given = (args[0], *args[2:], kwargs)
        there = isinstance(args[0], OnCuda)
        wrong = [index for index in args[1] if isinstance(index, Tensor) and isinstance(index, OnCuda) != there]
        if wrong and (not there or not _is_outside()):
            raise MismatchError(f"{name}: indices on one device into a tensor on the other")
    tensors = [x for x in tree_flatten(given)[0] if isinstance(x, Tensor)]
    if not any(isinstance(x, OnCuda) for x in tensors):
        return
    written = [x for x in _written_arguments(func, args, kwargs) if isinstance(x, Tensor)]
    if any(not isinstance(x, OnCuda) for x in written):
        raise MismatchError(f"{name}: numbers of the GPU into a tensor of the CPU")
    other = [tuple(x.shape) for x in tensors if not isinstance(x, OnCuda) and (x.ndim or name in ("cat", "stack"))]
    if other and torch._C._current_graph_task_id() != -1:  # autograd fills in zeros for gradients that are missing
        other = [tuple(x.shape) for x in tensors if not isinstance(x, OnCuda) and x.ndim and bool(x.any())]
    if other:
        raise MismatchError(f"{name}: a tensor on the GPU with tensors of the CPU of shape {other}")


class _Move(torch.autograd.Function):
    """A copy on the other device."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, to_gpu: bool) -> Tensor:
        ctx.from_gpu = isinstance(tensor, OnCuda)
        with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
            copied = torch.clone(tensor.detach())
        return Tensor._make_subclass(OnCuda, copied) if to_gpu else copied

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        return _moved(gradient, ctx.from_gpu), None


def _moved(tensor: Tensor, to_gpu: bool) -> Tensor:
    if isinstance(tensor, OnCuda) == to_gpu:
        return tensor
    found: Tensor = _Move.apply(tensor, to_gpu)
    return found


def _is_gpu(device: Any) -> bool:
    return device is not None and (isinstance(device, int) or torch.device(device).type == "cuda")


class FakeCuda(TorchFunctionMode):
    """Answers calls that name a device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Let the call run on the CPU, and claim its result where it named the GPU."""
        kwargs = dict(kwargs or {})
        special = _SPECIAL.get(func)
        if special is not None:
            return special(*args, **kwargs)
        if kwargs.get("device") is None:
            return func(*args, **kwargs)
        on_gpu = _is_gpu(kwargs["device"])
        if on_gpu or isinstance(args[0] if args else None, OnCuda):
            kwargs["device"] = torch.device("cpu")
        found = func(*args, **kwargs)
        return tree_map(lambda x: _placed(x, on_gpu), found)


def _placed(found: Any, on_gpu: bool) -> Any:
    if not isinstance(found, Tensor):
        return found
    wanted = found.requires_grad and found.is_leaf
    placed = _moved(found.detach() if wanted else found, on_gpu)
    return placed.requires_grad_() if wanted else placed


def _to(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    on_gpu = isinstance(tensor, OnCuda)
    rest = []
    for given in [*args, kwargs.pop("device", None)]:
        if isinstance(given, Tensor):
            on_gpu = isinstance(given, OnCuda)
            rest.append(given.dtype)
        elif isinstance(given, str | torch.device):
            on_gpu = _is_gpu(given)
        elif given is not None:
            rest.append(given)
    if "other" in kwargs:
        other = kwargs.pop("other")
        on_gpu, rest = isinstance(other, OnCuda), [other.dtype, *rest]
    rest = [value for place, value in enumerate(rest) if not isinstance(value, bool)]
    kwargs.pop("non_blocking", None)
    converted = tensor.to(*rest, **kwargs) if rest or kwargs else tensor
    return _moved(converted, on_gpu)


def _parse_to(*args: Any, **kwargs: Any) -> Any:
    named = [x for x in args if isinstance(x, str | torch.device | int)] + [kwargs.get("device")]
    if not any(_is_gpu(x) for x in named if not isinstance(x, bool)):
        return _PARSE_TO(*args, **kwargs)
    kwargs.pop("device", None)
    given = [x for x in args if isinstance(x, torch.dtype)]
    return (CUDA, *_PARSE_TO("cpu", *given, **kwargs)[1:])


def _new_tensor(tensor: Tensor, data: Any, **kwargs: Any) -> Tensor:
    device = kwargs.pop("device", None)
    on_gpu = isinstance(tensor, OnCuda) if device is None else _is_gpu(device)
    with torch._C._DisableTorchDispatch():
        made = torch.tensor(data, dtype=kwargs.pop("dtype", tensor.dtype), **kwargs)
    return _placed(made, on_gpu)


def _pin_memory(tensor: Tensor) -> Tensor:
    if isinstance(tensor, OnCuda):
        raise RuntimeError("cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned")
    return tensor.clone()


def _one_hot(tensor: Tensor, *args: Any) -> Tensor:
    """Torch makes the numbers that it compares with inside, on a device that it reads past us."""
    return _moved(torch.nn.functional.one_hot(_moved(tensor, False), *args), isinstance(tensor, OnCuda))


def _set_gradient(tensor: Tensor, gradient: Tensor | None) -> None:
    if gradient is not None and isinstance(gradient, OnCuda) != isinstance(tensor, OnCuda):
        raise MismatchError("assigned grad has data located on a different device")
    Tensor.grad.__set__(tensor, gradient)  # type: ignore[attr-defined]


_PARSE_TO = torch._C._nn._parse_to
_SPECIAL: dict[Any, Callable[..., Any]] = {
    Tensor.to: _to,
    Tensor.cpu: lambda tensor, **_: _moved(tensor, False),
    Tensor.cuda: lambda tensor, *_, **__: _moved(tensor, True),
    Tensor.tolist: lambda tensor: _moved(tensor.detach(), False).tolist(),
    Tensor.pin_memory: _pin_memory,
    Tensor.is_pinned: lambda tensor: False,
    Tensor.new_tensor: _new_tensor,
    torch.nn.functional.one_hot: _one_hot,
    _PARSE_TO: _parse_to,
    Tensor.grad.__set__: _set_gradient,  # type: ignore[attr-defined]
    Tensor.data.__get__: lambda tensor, *_: tensor.detach(),  # type: ignore[attr-defined]
}


class _Generator(torch.Generator):
    """Of any device: its numbers are those of the CPU."""

    def __new__(cls, device: Any = "cpu") -> _Generator:
        return super().__new__(cls)


class _Autocast(torch.autocast):
    """Of the CPU, where the numbers are."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu" if device_type == "cuda" else device_type, *args, **kwargs)


_FORK = torch.random.fork_rng
_IDLE = ("synchronize", "empty_cache", "reset_peak_memory_stats", "set_per_process_memory_fraction")
_ZERO = ("memory_reserved", "memory_allocated", "max_memory_allocated", "max_memory_reserved")
_STANDS_IN: dict[Any, dict[str, Any]] = {
    torch: {"Generator": _Generator, "autocast": _Autocast},
    torch.random: {"fork_rng": lambda devices=None, **_: _FORK(devices=[])},
    torch.optim.Optimizer: {"_accelerator_graph_capture_health_check": lambda _: None},
    torch.cuda: {
        **dict.fromkeys(_IDLE, lambda *_: None), **dict.fromkeys(_ZERO, lambda *_: 0),
        "is_available": lambda: True, "device_count": lambda: 1, "current_device": lambda: 0,
        "get_device_name": lambda *_: "fake", "mem_get_info": lambda *_: (MEMORY, MEMORY),
        "get_device_properties": lambda *_: SimpleNamespace(total_memory=MEMORY, name="fake", major=9, minor=0),
        "get_per_process_memory_fraction": lambda *_: 1.0,
        "Event": lambda: SimpleNamespace(record=lambda: None, synchronize=lambda: None),
    },
}  # fmt: skip
"""What torch asks of the driver."""


@contextmanager
def fake_cuda() -> Iterator[None]:
    """In the block, ``cuda`` is a device: ``.to("cuda")`` and ``device="cuda"`` give tensors that say so."""
    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    with ExitStack() as stack:
        for owner, patches in _STANDS_IN.items():
            stack.enter_context(mock.patch.multiple(owner, **patches))
        stack.enter_context(FakeCuda())
        try:
            yield
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(overwrite)

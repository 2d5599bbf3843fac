"""Values that enter and leave modules during a forward pass."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Key = TypeVar("Key")


class Watch(Generic[Key]):
    """Keeps what enters or leaves chosen modules while the ``with`` block runs; its hooks go at the end.

    Attributes:
        seen: (key of the module, value) in the order in which the pass made them, with their graph.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[Key, Tensor]] = []
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Watch[Key]:
        """Nothing is watched yet."""
        return self

    def __exit__(self, *error: Any) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def entering(self, module: nn.Module, key: Key) -> None:
        """Keep the first input of ``module``."""

        def hook(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            self.seen.append((key, inputs[0] if inputs else next(iter(named.values()))))

        self._handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def leaving(self, module: nn.Module, key: Key) -> None:
        """Keep the output of ``module``."""

        def hook(_module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
            self.seen.append((key, output))

        self._handles.append(module.register_forward_hook(hook))

    def argument(self, module: nn.Module, name: str, key: Key) -> None:
        """Keep the keyword argument ``name`` of ``module`` where it is a tensor."""

        def hook(_module: nn.Module, _inputs: tuple[Any, ...], arguments: dict[str, Any]) -> None:
            if isinstance(arguments.get(name), Tensor):
                self.seen.append((key, arguments[name]))

        self._handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

"""Watches the attention of transformer blocks during a forward pass, without touching the model.

Fused attention never forms the attention matrix, and forward hooks do not see rotary embeddings or position biases.
The recorder therefore looks at the calls themselves: a ``TorchFunctionMode`` sees the arguments of
``scaled_dot_product_attention`` (fused) or of the softmax and the product with the values (unfused), whatever module
made them. Post-softmax attention is rebuilt later from what was seen, one layer at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from vitfaith.errors import InputError
from vitfaith.explainers.passes.refusal import INSIDE
from vitfaith.models.rows import matmul


@dataclass
class AttentionCall:
    """One self-attention as it ran.

    Attributes:
        query, key: (B, H, N, d) after normalisation and rotary embedding; None for unfused attention.
        value: (B, H, N, d).
        bias: what is added to the scaled scores, broadcastable to (B, H, N, N), or None.
        scale: factor of the scores.
        scores: (B, H, N, N) input of the softmax; None for fused attention.
        output: (B, H, N, d) product of attention and values, before any norm, gate or projection.
    """

    query: Tensor | None
    key: Tensor | None
    value: Tensor
    bias: Tensor | None
    scale: float
    scores: Tensor | None
    output: Tensor

    def pre_softmax(self, rows: slice) -> Tensor:
        """Scores (B, H, len(rows), N) float32 that the softmax saw, for the queries ``rows``."""
        if self.scores is not None:
            return self.scores[:, :, rows].float()
        assert self.query is not None
        assert self.key is not None
        scores = matmul(self.query[:, :, rows].float() * self.scale, self.key.float().transpose(-2, -1))
        if self.bias is None:
            return scores
        bias = self.bias if self.bias.shape[-2] == 1 else self.bias[..., rows, :]
        return scores + bias.float()

    def softmax(self, rows: slice) -> Tensor:
        """Attention (B, H, len(rows), N) float32 of the queries ``rows``; each row sums to 1."""
        return self.pre_softmax(rows).softmax(-1)

    def of(self, images: slice) -> AttentionCall:
        """The same for some of the images."""

        def cut(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[images]

        bias = self.bias
        if bias is not None and bias.ndim == 4 and len(bias) > 1:
            bias = bias[images]
        return AttentionCall(
            cut(self.query), cut(self.key), self.value[images], bias, self.scale, cut(self.scores), self.output[images]
        )

    def detach(self) -> AttentionCall:
        """The same numbers without their autograd graph."""

        def cut(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.detach()

        return AttentionCall(
            cut(self.query), cut(self.key), self.value.detach(), cut(self.bias), self.scale, cut(self.scores),
            self.output.detach(),
        )  # fmt: skip


class Place(NamedTuple):
    """A value of the autograd graph without its memory."""

    edge: GradientEdge
    shape: torch.Size


def _place(tensor: Tensor) -> Place:
    return Place(get_gradient_edge(tensor), tensor.shape)


class Recorder(TorchFunctionMode):
    """Records block inputs and attention calls of ``blocks`` while the ``with`` block runs; its hooks go at the end.

    Attributes:
        calls: the attention of each block, filled when ``attention`` was asked for.
        hidden: inputs of all blocks, then the output of the last one: depth + 1 tensors (B, N, D).
        attended: outputs (B, N, D) of the blocks' modules ``attn``, as ``calls``; empty where blocks have none.
        branches: layer → where in the graph the input of the block's second norm and the input of its MLP's second linear
            layer were made, as ``branches`` asks; not their values, which nobody needs and autograd does not keep.
        features: the normed tokens that enter the last block's attention: the output of its first norm, or of the norm
            that attention and MLP share (``in_norm``); the block's input where it normalises behind its attention. None
            where the block has neither.
        normed_after: the blocks whose first norm acts on the attention's output, as far as ``attention`` asks.
    """

    def __init__(self, blocks: Sequence[nn.Module], *, attention: bool, branches: bool = False) -> None:
        """See the class; ``attention`` asks for the calls too, ``branches`` for the inner values of the second half."""
        super().__init__()
        self.blocks = list(blocks)
        self.attention = attention
        self.found: list[list[AttentionCall]] = [[] for _ in self.blocks]
        self.hidden: list[Tensor] = []
        self.attended: list[Tensor] = []
        self.branches: dict[int, list[Place]] = {}
        self._inside = branches
        self.features: Tensor | None = None
        self.normed_after: set[int] = set()
        self._layer: int | None = None
        self._softmax: tuple[Tensor, Tensor] | None = None
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Recorder:
        """Set the hooks and start watching."""
        for layer, block in enumerate(self.blocks):
            self._handles.append(block.register_forward_pre_hook(self._enter_block(layer), with_kwargs=True))
            self._handles.append(block.register_forward_hook(self._leave_block(layer)))
            self._watch_inside(block, layer)
        if self.blocks:
            self._watch_features(self.blocks[-1])
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """Stop watching and remove the hooks."""
        super().__exit__(*error)
        for handle in self._handles:
            handle.remove()

    def _watch_inside(self, block: nn.Module, layer: int) -> None:
        attn, norm1 = getattr(block, "attn", None), getattr(block, "norm1", None)
        if self.attention and isinstance(attn, nn.Module):
            self._handles.append(attn.register_forward_hook(lambda _m, _i, output: self.attended.append(output)))
            if isinstance(norm1, nn.Module):
                self._handles.append(norm1.register_forward_pre_hook(self._enter_norm1(layer)))
        inner = [getattr(block, "norm2", None), getattr(getattr(block, "mlp", None), "fc2", None)]
        if self._inside and all(isinstance(module, nn.Module) for module in inner):
            kept = self.branches[layer] = []
            for module in inner:
                assert isinstance(module, nn.Module)
                self._handles.append(
                    module.register_forward_pre_hook(lambda _m, args, kept=kept: kept.append(_place(args[0])))
                )

    @property
    def calls(self) -> list[AttentionCall]:
        """One call for each block; raises :class:`InputError` where a block made none or several."""
        for layer, found in enumerate(self.found):
            if len(found) != 1:
                raise InputError(
                    f"block {layer} ({type(self.blocks[layer]).__name__}) made {len(found)} self-attention calls; "
                    "explainers that read attention need exactly one per block; choose gradient or perturbation explainers"
                )
        return [found[0] for found in self.found]

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run ``func`` and look at it if it belongs to an attention."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if self._layer is None or not self.attention:
            return result
        if func is F.scaled_dot_product_attention:
            self._fused(_bind(args, kwargs), result)
        else:
            self._unfused(getattr(func, "__name__", ""), args, result)
        return result

    def _fused(self, call: Mapping[str, Any], output: Tensor) -> None:
        assert self._layer is not None
        query, key, value = call["query"], call["key"], call["value"]
        if query.shape[-2] != key.shape[-2]:
            return  # cross attention, such as pooling onto a learned query
        if key.shape[1] != query.shape[1]:
            repeats = query.shape[1] // key.shape[1]
            key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
        scale = call["scale"] if call["scale"] is not None else query.shape[-1] ** -0.5
        bias = _additive(call["attn_mask"], call["is_causal"], query)
        self.found[self._layer].append(AttentionCall(query, key, value, bias, scale, None, output))

    def _unfused(self, name: str, args: Sequence[Any], result: Any) -> None:
        assert self._layer is not None
        if name == "softmax" and result.ndim == 4 and result.shape[-1] == result.shape[-2]:
            self._softmax = (result, args[0])
        elif name in ("matmul", "__matmul__") and self._softmax is not None and args[0] is self._softmax[0]:
            self.found[self._layer].append(AttentionCall(None, None, args[1], None, 1.0, self._softmax[1], result))
            self._softmax = None

    def _enter_block(self, layer: int) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._layer = layer
            self.hidden.append(_tokens(args[0] if args else kwargs["x"], self.blocks[layer]))

        return hook

    def _leave_block(self, layer: int) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> None:
            self._layer = None
            if layer == len(self.blocks) - 1:
                self.hidden.append(_tokens(output, self.blocks[layer]))

        return hook

    def _enter_norm1(self, layer: int) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
            if self.attended and args[0] is self.attended[-1]:
                self.normed_after.add(layer)

        return hook

    def _watch_features(self, block: nn.Module) -> None:
        """Keep the tokens that enter the attention of the last block, with a gradient that comes through it."""
        norm = next((m for n in ("norm1", "in_norm") if isinstance(m := getattr(block, n, None), nn.Module)), None)
        attn = getattr(block, "attn", None)
        if norm is None:
            return

        def left_norm(_module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
            if self.features is None:
                self.features = output.view_as(output) if output is args[0] else output  # a norm that does nothing
                return self.features
            return None

        def enter_attention(
            _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
            if self.features is not None or not args:
                return None
            self.features = args[0].view_as(args[0])  # apart from the residual, which takes the same tokens
            return (self.features, *args[1:]), kwargs

        self._handles.append(norm.register_forward_hook(left_norm))
        if isinstance(attn, nn.Module):
            self._handles.append(attn.register_forward_pre_hook(enter_attention, with_kwargs=True))


def _tokens(value: Any, block: nn.Module) -> Tensor:
    if not isinstance(value, Tensor):
        raise InputError(
            f"block {type(block).__name__} takes or gives a {type(value).__name__}, not one sequence of tokens, so {INSIDE}"
        )
    return value


def _bind(args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of ``scaled_dot_product_attention`` by name."""
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    bound: dict[str, Any] = {"attn_mask": None, "is_causal": False, "scale": None}
    return bound | dict(zip(names, args, strict=False)) | dict(kwargs)


def _additive(mask: Tensor | None, causal: bool, query: Tensor) -> Tensor | None:
    """Mask of an attention call as an additive bias."""
    if causal:
        tokens = query.shape[-2]
        return query.new_full((tokens, tokens), float("-inf")).triu(1)
    if mask is not None and mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, float("-inf"))
    return mask

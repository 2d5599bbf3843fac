"""Forward passes whose last block computes the class token alone, since no other token of it reaches the logits.

In a ViT that is read at its class token, the last block's other outputs are not needed: one query instead of N, and one row
of the projection and the MLP instead of N. The logits are the same up to rounding; a ViT of L blocks saves up to 1/L.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from vitfaith.models.fast.compiler import without_compiler
from vitfaith.models.fast.linear import linear
from vitfaith.models.fast.switch import is_on

with without_compiler():
    from timm.layers.attention import Attention
    from timm.models.vision_transformer import Block, VisionTransformer


@contextmanager
def class_token_alone(classifier: nn.Module) -> Iterator[bool]:
    """Inside, the last block of ``classifier.backbone`` returns its class token (B, 1, D) where that is all that counts.

    Yields whether it does: other architectures, other pooling, and blocks with hooks are left as they are, and all where the
    fast paths are off.
    """
    block = _last_block(getattr(classifier, "backbone", None)) if is_on() else None
    if block is None:
        yield False
        return

    def forward(tokens: Tensor, attn_mask: None = None, is_causal: bool = False) -> Tensor:
        return _class_token(block, tokens)

    block.forward = forward
    try:
        yield True
    finally:
        del block.forward


def _last_block(backbone: Any) -> Any:
    """The last block, or None where something else than its class token may be read or its parts are not timm's own."""
    if type(backbone) is not VisionTransformer or backbone.global_pool != "token" or backbone.attn_pool is not None:
        return None
    block = backbone.blocks[-1]
    attention = getattr(block, "attn", None)
    if type(block) is not Block or type(attention) is not Attention or type(attention.qkv) is not nn.Linear:
        return None
    changed = any(m._forward_hooks or m._forward_pre_hooks or "forward" in m.__dict__ for m in block.modules())
    return None if changed or block.training or getattr(attention, "gate", None) is not None else block


def _class_token(block: Any, tokens: Tensor) -> Tensor:
    """The first token (B, 1, D) of the block's output for ``tokens`` (B, N, D)."""
    attention = block.attn
    count, length, width = len(tokens), tokens.shape[1], attention.attn_dim
    heads = (attention.num_heads, attention.head_dim)
    weight, bias = attention.qkv.weight, attention.qkv.bias
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    normed = block.norm1(tokens)
    query = linear(normed[:, :1], weight[:width], bias[:width]).reshape(count, 1, *heads).transpose(1, 2)
    pairs = linear(normed, weight[width:], bias[width:]).reshape(count, length, 2, *heads).permute(2, 0, 3, 1, 4)
    key, value = pairs.unbind(0)
    mixed = scaled_dot_product_attention(attention.q_norm(query), attention.k_norm(key), value, scale=attention.scale)
    mixed = attention.norm(mixed.transpose(1, 2).reshape(count, 1, width))
    first = tokens[:, :1] + block.drop_path1(block.ls1(attention.proj_drop(attention.proj(mixed))))
    found: Tensor = first + block.drop_path2(block.ls2(block.mlp(block.norm2(first))))
    return found

"""The attention of a pooling layer, which is what LeGrad reads of models that pool by attention (SigLIP and its kin)."""

from __future__ import annotations

from timm.layers.attention_pool import AttentionPoolLatent
from torch import Tensor, autograd, nn

from vitfaith.explainers.passes.graph import ordinary, target_logits, with_graph
from vitfaith.explainers.passes.readout import class_logits_of_features, readout_rows
from vitfaith.explainers.passes.watch import Watch
from vitfaith.models.rows import matmul


def latent_pooler(backbone: nn.Module) -> AttentionPoolLatent | None:
    """The layer whose learned queries attend to the tokens, or None where the model pools in another way."""
    pool = getattr(backbone, "attn_pool", None)
    return pool if isinstance(pool, AttentionPoolLatent) else None


def pooler_gradient(
    backbone: nn.Module, pool: AttentionPoolLatent, tokens: Tensor, targets: Tensor, *, norm: bool
) -> Tensor:
    """Gradient of the class logit at the pooler's attention, had ``tokens`` been the model's last.

    Fused attention stays on: with O = A·V the gradient is G·Vᵀ, G that at O.

    Args:
        backbone: timm ViT with the pooler ``pool``.
        tokens: (B, N, D) after some block, prefix included.
        targets: (B,) int64.
        norm: whether the model's final norm comes before the pooler, as it does after the last block.

    Returns:
        (B, heads, queries, patches) float32; (B, heads, queries, N) where the pooler reads prefix tokens too.
    """
    with with_graph(), Watch[str]() as watch:
        watch.leaving(pool.kv, "keys and values")
        watch.entering(pool.proj, "mixed")
        leaves = ordinary(tokens).to(pool.proj.weight.dtype).requires_grad_()
        ready = backbone.norm(leaves) if norm else leaves  # type: ignore[operator]
        logits = class_logits_of_features(backbone, pool(ready[:, readout_rows(backbone)])).float()
        seen = dict(watch.seen)
        (gradient,) = autograd.grad(target_logits(logits, ordinary(targets)).sum(), seen["mixed"])
    by_head = gradient.unflatten(-1, (pool.num_heads, pool.head_dim)).transpose(1, 2).float()
    values = seen["keys and values"].unflatten(-1, (2, pool.num_heads, pool.head_dim))[:, :, 1]
    return matmul(by_head, values.detach().float().permute(0, 2, 3, 1))

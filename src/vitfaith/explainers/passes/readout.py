"""The tokens that the head of a timm ViT reads."""

from __future__ import annotations

from torch import Tensor, nn

from vitfaith.errors import InputError


def readout_rows(backbone: nn.Module) -> slice:
    """The token positions that the classification head reads.

    ``slice(0, 1)`` for a class token, ``slice(0, 2)`` for DeiT's class and distillation tokens (their heads are
    averaged), all patches for average, maximum and attention pooling (all tokens where pooling includes the prefix,
    as the attention pooling of EVA and Perception Encoder does).
    """
    prefix = int(getattr(backbone, "num_prefix_tokens", 0))
    if getattr(backbone, "head_dist", None) is not None:
        return slice(0, 2)
    by_attention = getattr(backbone, "attn_pool", None) is not None
    if by_attention or getattr(backbone, "global_pool", "token") not in ("token", ""):
        # Classes of timm without the flag pool all tokens by attention, and patches alone by their mean.
        return slice(0 if getattr(backbone, "pool_include_prefix", by_attention) else prefix, None)
    return slice(0, 1) if prefix else slice(0, None)


def blocks_of(backbone: nn.Module) -> list[nn.Module] | None:
    """The transformer blocks over one token sequence, or None where the model has none (Swin, convolutional ones).

    None for lists of lists (Twins), for models that reorder their tokens (Hiera), and where two branches are fused (CrossViT).
    """
    blocks = getattr(backbone, "blocks", None)
    if not isinstance(blocks, nn.Sequential | nn.ModuleList) or len(blocks) == 0 or hasattr(backbone, "unroll"):
        return None
    if any(isinstance(block, nn.ModuleList) for block in blocks):
        return None
    return list(blocks)


def class_logits_of_tokens(backbone: nn.Module, tokens: Tensor) -> Tensor:
    """Logits (B, K) that the model's own attention pooling, norm and head give to ``tokens`` (B, N, D).

    Models with attention pooling keep it in place of the mean.
    """
    norm, _ = _norm_and_head(backbone)
    pool = getattr(backbone, "attn_pool", None)
    return (
        class_logits_of_mean(backbone, tokens.mean(1))
        if pool is None
        else class_logits_of_features(backbone, pool(norm(tokens)))
    )


def class_logits_of_mean(backbone: nn.Module, means: Tensor) -> Tensor:
    """Logits (B, K) that the model's own final norm and head give to mean tokens (B, D).

    Raises:
        InputError: the model has no ``norm`` and ``head`` like timm's ViT.
    """
    return class_logits_of_features(backbone, _norm_and_head(backbone)[0](means))


def _norm_and_head(backbone: nn.Module) -> tuple[nn.Module, nn.Module]:
    norm, head = getattr(backbone, "norm", None), getattr(backbone, "head", None)
    if not isinstance(norm, nn.Module) or not isinstance(head, nn.Module):
        raise InputError(
            f"model {type(backbone).__name__} has no norm and head like timm's ViT, which legrad needs for the score "
            "of a single layer; leave legrad out"
        )
    return norm, head


def class_logits_of_features(backbone: nn.Module, features: Tensor) -> Tensor:
    """Logits (B, K) that what comes after the model's own pooling gives to pooled features (B, D).

    Raises:
        InputError: the model has no ``norm`` and ``head`` like timm's ViT, or its head reads more than one token.
    """
    fc_norm = getattr(backbone, "fc_norm", None)
    if isinstance(fc_norm, nn.Module):
        features = fc_norm(features)
    head = _norm_and_head(backbone)[1]
    if isinstance(head, nn.Linear) and head.in_features != features.shape[-1]:
        raise InputError(
            f"the head of {type(backbone).__name__} reads {head.in_features} features, a token has {features.shape[-1]}, so "
            "legrad has no score of a single layer; leave legrad out"
        )
    logits: Tensor = head(features)
    distilled = getattr(backbone, "head_dist", None)
    return logits if distilled is None else (logits + distilled(features)) / 2

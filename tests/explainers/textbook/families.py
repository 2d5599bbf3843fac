"""timm's ViT families written out head by head: one image, float64, with the gradient rules of CP-LRP and its kin as detached factors."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vitfaith.models.classifier import Classifier


def half(x: Tensor) -> Tensor:
    """``x`` with half its gradient."""
    return x / 2 + x.detach() / 2


@dataclass
class Written:
    """One forward pass.

    ``rule`` is "plain" (ordinary gradients), "constant" or "uniform"; ``gates`` "constant" or "uniform". ``tokens`` are the
    inputs of the blocks, ``blocks`` and ``pool`` what happened inside, ``leaves`` the biases with the first token they
    are added to (None after pooling).
    """

    net: Any
    rule: str = "plain"
    gates: str = "uniform"
    tokens: list[Tensor] = field(default_factory=list)
    blocks: list[dict[str, Any]] = field(default_factory=list)
    pool: dict[str, Any] = field(default_factory=dict)
    leaves: list[tuple[Tensor, int | None]] = field(default_factory=list)

    def logit(self, pixels: Tensor, target: int) -> Tensor:
        """Of normalised ``pixels`` (C, H, W)."""
        net = self.net
        x = net.patch_embed.proj(pixels[None])[0].flatten(1).T
        x = self.patches = self.norm(getattr(net.patch_embed, "norm", None), x, None, keep=False)
        names = ("cls_token", "dist_token", "reg_token")
        self.prefix = [getattr(net, n)[0] for n in names if getattr(net, n, None) is not None]
        position = getattr(net, "pos_embed", None)
        if position is not None and getattr(net, "no_embed_class", False):
            x = torch.cat([*self.prefix, x + position[0]])
        else:
            x = torch.cat([*self.prefix, x])
            x = x if position is None else x + position[0]
        self.embedded = x
        x = self.norm(getattr(net, "norm_pre", None), x, None, keep=False)
        for layer, block in enumerate(net.blocks):
            if x.requires_grad:
                x.retain_grad()
            self.tokens.append(x)
            x = self.block(block, layer, x)
        x = self.final = self.norm(net.norm, x, 0)
        x = self.norm(net.fc_norm, self.pooled(x), None)
        self.head_input = x
        return self.affine(x, net.head.weight, net.head.bias, None)[target]

    # ---------------------------------------------------------------- layers

    def affine(self, x: Tensor, weight: Tensor, bias: Tensor | None, first: int | None) -> Tensor:
        return self.biased(x @ weight.T, bias, first)

    def biased(self, x: Tensor, bias: Tensor | None, first: int | None) -> Tensor:
        if bias is None:
            return x
        leaf = bias.detach().expand(x.shape).clone().requires_grad_()
        self.leaves.append((leaf, first))
        return x + leaf

    def norm(self, layer: Any, x: Tensor, first: int | None, keep: bool = True) -> Tensor:
        if layer is None or isinstance(layer, nn.Identity):
            return x
        x = x if "Rms" in type(layer).__name__ else x - x.mean(-1, keepdim=True)
        scale = torch.sqrt((x**2).mean(-1, keepdim=True) + layer.eps)
        x = x / (scale if self.rule == "plain" else scale.detach()) * layer.weight
        bias = getattr(layer, "bias", None)
        return self.biased(x, bias, first) if keep or bias is None else x + bias

    def act(self, layer: nn.Module, x: Tensor) -> Tensor:
        kind = type(layer).__name__
        if kind == "SiLU":
            gate = torch.sigmoid(x)
        elif kind == "GELUTanh":
            gate = 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        else:
            assert kind == "GELU", kind
            gate = 0.5 * (1 + torch.erf(x / math.sqrt(2)))
        return x * (gate if self.rule == "plain" else gate.detach())

    # ---------------------------------------------------------------- blocks

    def block(self, block: Any, layer: int, x: Tensor) -> Tensor:
        kept: dict[str, Any] = {"x": x}
        self.blocks.append(kept)
        kind = type(block).__name__
        if kind == "ParallelThingsBlock":
            x = x + sum(
                self.scaled(a.ls, self.attention(a.attn, layer, self.norm(a.norm, x, 0), {})) for a in block.attns
            )
            return x + sum(self.scaled(m.ls, self.mlp(m.mlp, self.norm(m.norm, x, 0), {}, 0)) for m in block.ffns)
        if kind == "ParallelScalingBlock":
            return x + self.scaled(block.ls, self.parallel(block, x))
        after = "Post" in kind
        gammas = [getattr(block, n, None) for n in ("gamma_1", "gamma_2")]
        gammas = [
            g if g is not None else getattr(getattr(block, n, None), "gamma", None)
            for g, n in zip(gammas, ("ls1", "ls2"), strict=True)
        ]
        kept["gammas"] = gammas
        kept["normed"] = x if after else self.norm(block.norm1, x, 0)
        out = self.attention(block.attn, layer, kept["normed"], kept)
        out = self.norm(block.norm1, out, 0) if after else out
        kept["branch1"] = out if gammas[0] is None else gammas[0] * out
        x = kept["middle"] = x + kept["branch1"]
        kept["mlp_in"] = x if after else self.norm(block.norm2, x, 0)
        out = self.mlp(block.mlp, kept["mlp_in"], kept, 0)
        out = self.norm(block.norm2, out, 0) if after else out
        kept["branch2"] = out if gammas[1] is None else gammas[1] * out
        return x + kept["branch2"]

    def scaled(self, scale: Any, x: Tensor) -> Tensor:
        return x * scale.gamma if hasattr(scale, "gamma") else x

    def mlp(self, mlp: Any, x: Tensor, kept: dict[str, Any], first: int | None) -> Tensor:
        if hasattr(mlp, "fc1_g"):
            gate, value = (self.affine(x, m.weight, m.bias, first) for m in (mlp.fc1_g, mlp.fc1_x))
        else:
            hidden = self.affine(x, mlp.fc1.weight, mlp.fc1.bias, first)
            if not hasattr(mlp, "gate_last"):
                hidden = self.act(mlp.act, hidden)
                gate = None
            else:
                size = hidden.shape[-1] // 2
                gate, value = hidden[..., :size], hidden[..., size:]
                gate, value = (value, gate) if mlp.gate_last else (gate, value)
        if gate is not None:
            gate = self.act(mlp.act, gate)
            if self.rule != "plain" and self.gates == "constant":
                hidden = gate.detach() * value
            else:
                hidden = gate * value if self.rule == "plain" else half(gate * value)
        kept["expanded"] = self.norm(mlp.norm, hidden, first)
        return self.affine(kept["expanded"], mlp.fc2.weight, mlp.fc2.bias, first)

    def attention(self, a: Any, layer: int, x: Tensor, kept: dict[str, Any]) -> Tensor:
        if getattr(a, "qkv", None) is not None:
            weight, bias = a.qkv.weight, a.qkv.bias
            if getattr(a, "q_bias", None) is not None:
                bias = torch.cat([a.q_bias, a.k_bias, a.v_bias])
        else:
            parts = (a.q_proj, a.k_proj, a.v_proj)
            weight = torch.cat([m.weight for m in parts])
            bias = torch.cat([torch.zeros(len(m.weight), dtype=x.dtype) if m.bias is None else m.bias for m in parts])
        kept["qkv_weight"] = weight
        groups = getattr(a, "num_kv_heads", a.num_heads)
        size = len(weight) // (a.num_heads + 2 * groups)
        q, k, v = self.affine(x, weight, bias, 0).reshape(len(x), -1, size).split([a.num_heads, groups, groups], 1)
        q = self.norm(getattr(a, "q_norm", None), q, None, keep=False)
        k = self.norm(getattr(a, "k_norm", None), k, None, keep=False)
        kept |= {"q": q, "k": k, "v": v, "size": size}
        mixed = self.product(q, k, v, kept, self.rotation(a, layer), self.position_bias(a))
        kept["mixed"] = self.norm(getattr(a, "norm", None), mixed.flatten(1), 0)
        return self.affine(kept["mixed"], a.proj.weight, a.proj.bias, 0)

    def product(
        self, q: Tensor, k: Tensor, v: Tensor, kept: dict[str, Any], rotate: Any, bias: Tensor | None
    ) -> Tensor:
        """Attention of (M, heads, d) queries to (N, groups, d) keys and values, one head at a time."""
        kept["rotate"], kept["scores"], kept["attention"] = rotate, [], []
        outputs = []
        if self.rule == "uniform":
            q, k, v = half(half(q)), half(half(k)), half(v)
        for head in range(q.shape[1]):
            group = head * k.shape[1] // q.shape[1]
            scores = rotate(q[:, head], head) @ rotate(k[:, group], head).T / math.sqrt(q.shape[-1])
            scores = scores if bias is None else scores + bias[head]
            found = torch.exp(scores) / torch.exp(scores).sum(-1, keepdim=True)
            if found.requires_grad:
                found.retain_grad()
            kept["scores"].append(scores)
            kept["attention"].append(found)
            outputs.append((found.detach() if self.rule == "constant" else found) @ v[:, group])
        return torch.stack(outputs, 1)

    def rotation(self, a: Any, layer: int) -> Any:
        """The rotary embedding of a head's rows, two coordinates at a time."""
        rope = getattr(self.net, "rope", None)
        if rope is None:
            return lambda x, head: x
        shape = self.net.patch_embed.grid_size
        table = rope.get_embed() if rope.feat_shape is not None else rope.get_embed(shape=shape)
        table = table[layer] if getattr(self.net, "rope_mixed", False) else table

        def rotate(x: Tensor, head: int) -> Tensor:
            sine, cosine = (table[head] if table.ndim == 3 else table).chunk(2, -1)
            first = a.num_prefix_tokens
            rows, size = x[first:], x.shape[-1]
            out: list[Any] = [None] * size
            for i in range(size // 2):
                one, two = (i, i + size // 2) if a.rotate_half else (2 * i, 2 * i + 1)
                out[one] = rows[:, one] * cosine[:, one] - rows[:, two] * sine[:, one]
                out[two] = rows[:, two] * cosine[:, two] + rows[:, one] * sine[:, two]
            return torch.cat([x[:first], torch.stack(out, 1)])

        return rotate

    def position_bias(self, a: Any) -> Tensor | None:
        if getattr(a, "relative_position_bias_table", None) is not None:
            return a._get_rel_pos_bias()[0]
        if getattr(a, "rel_pos", None) is not None:
            return a.rel_pos.get_bias()[0]
        if getattr(self.net, "rel_pos_bias", None) is not None:
            return self.net.rel_pos_bias()
        shared = getattr(self.net, "shared_rel_pos", None)
        return None if shared is None else shared.get_bias()[0]

    def parallel(self, block: Any, x: Tensor) -> Tensor:
        hidden = self.affine(self.norm(block.in_norm, x, 0), block.in_proj.weight, block.in_proj.bias, 0)
        size = x.shape[-1]
        up, q, k, v = hidden.split([hidden.shape[-1] - 3 * size, size, size, size], -1)
        up = self.act(block.mlp_act, self.biased(up, block.mlp_bias, 0))
        q, k, v = (y.reshape(len(x), block.num_heads, -1) for y in (q, k, v))
        q, k = (self.norm(m, y, None, keep=False) for m, y in ((block.q_norm, q), (block.k_norm, k)))
        mixed = self.product(q, k, v, {}, lambda y, _: y, None).flatten(1)
        if block.out_proj is not None:
            return self.affine(torch.cat([mixed, up], -1), block.out_proj.weight, block.out_proj.bias, 0)
        pairs = ((mixed, block.attn_out_proj), (up, block.mlp_out_proj))
        return sum(self.affine(y, m.weight, m.bias, 0) for y, m in pairs)  # type: ignore[return-value]

    # ---------------------------------------------------------------- pooling

    def pooled(self, x: Tensor) -> Tensor:
        net, pool = self.net, getattr(self.net, "attn_pool", None)
        first = sum(len(t) for t in self.prefix)
        self.first = 0 if pool is not None and (type(net).__name__ == "Eva" or net.pool_include_prefix) else first
        if pool is None and type(net).__name__ == "PairPooledViT":
            return torch.cat([x[0], x[first:].mean(0)])
        if pool is None:
            return x[0] if net.global_pool == "token" else x[first:].mean(0)
        x = x[self.first :]
        if type(pool).__name__ == "AttentionPoolPrr":
            heads = x.reshape(len(x), pool.num_heads, -1)
            return self.product(heads, heads, heads, {}, lambda y, _: y, None).flatten(1)[0]
        kept = self.pool = {"x": x}
        q = (pool.latent[0] @ pool.q.weight.T + pool.q.bias).reshape(1, pool.num_heads, -1)
        k, v = self.affine(x, pool.kv.weight, pool.kv.bias, self.first).chunk(2, -1)
        k, v = (y.reshape(len(x), pool.num_heads, -1) for y in (k, v))
        q, k = (self.norm(m, y, None, keep=False) for m, y in ((pool.q_norm, q), (pool.k_norm, k)))
        kept |= {"q": q, "k": k, "v": v}
        kept["mixed"] = self.product(q, k, v, kept, lambda y, _: y, None).flatten(1)[0]
        kept["middle"] = self.affine(kept["mixed"], pool.proj.weight, pool.proj.bias, None)
        kept["mlp_in"] = self.norm(pool.norm, kept["middle"], None)
        kept["branch2"] = self.mlp(pool.mlp, kept["mlp_in"], kept, None)
        return kept["middle"] + kept["branch2"]


def normalised(classifier: Classifier, image: Tensor) -> Tensor:
    return ((image.double() - classifier.mean[0]) / classifier.std[0]).detach()


def full_gradient(
    classifier: Classifier, image: Tensor, target: int, rule: str, gates: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradient × pixel (H, W), × token (L, N), × bias by token (N,), and × bias after pooling, of one image."""
    pixels = normalised(classifier, image).requires_grad_()
    written = Written(classifier.backbone, rule, gates)
    written.logit(pixels, target).backward()
    assert pixels.grad is not None
    tokens = torch.stack([(x * x.grad).sum(-1) for x in written.tokens]).detach()  # type: ignore[operator]
    by_token, pooled = torch.zeros_like(tokens[0]), torch.zeros((), dtype=tokens.dtype)
    for leaf, first in written.leaves:
        if leaf.grad is not None:
            term = (leaf * leaf.grad).sum(-1).detach()
            if first is None:
                pooled += term
            else:
                by_token[first:] += term
    return (pixels * pixels.grad).sum(0).detach(), tokens, by_token, pooled

"""The diffusion U-Net of Dhariwal & Nichol (arXiv 2105.05233, §3), written down step by step in float64.

It asks for each weight by its published name and shape, so that it also makes random checkpoints of any shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from vitfaith.denoisers.adm_settings import AdmSettings

Weight = Callable[[str, tuple[int, ...]], Tensor]


class Recorder:
    """Random weights, made when they are first asked for."""

    def __init__(self, seed: int) -> None:
        self.state: dict[str, Tensor] = {}
        self.source = torch.Generator().manual_seed(seed)

    def __call__(self, name: str, shape: tuple[int, ...]) -> Tensor:
        if name not in self.state:
            fan = math.prod(shape[1:]) if len(shape) > 1 else 100
            scale = len(shape) == 1 and name.endswith("weight")  # of a normalisation
            self.state[name] = scale + torch.randn(shape, generator=self.source) / math.sqrt(fan)
        assert tuple(self.state[name].shape) == shape
        return self.state[name].double()


def textbook(weight: Weight, settings: AdmSettings, images: Tensor, told: Tensor, labels: Tensor | None) -> Tensor:
    """The network's output for images (B, C, H, W) and what it is told of the timestep (B,)."""
    s, width = settings, settings.num_channels
    images = images.double()

    def linear(name: str, x: Tensor, out: int) -> Tensor:
        return functional.linear(x, weight(f"{name}.weight", (out, x.shape[1])), weight(f"{name}.bias", (out,)))

    def conv(name: str, x: Tensor, out: int, side: int, stride: int = 1) -> Tensor:
        kernel = weight(f"{name}.weight", (out, x.shape[1], side, side))
        return functional.conv2d(x, kernel, weight(f"{name}.bias", (out,)), stride=stride, padding=side // 2)

    def norm(name: str, x: Tensor) -> Tensor:
        channels = x.shape[1]
        grouped = x.reshape(len(x), 32, -1)
        centred = grouped - grouped.mean(-1, keepdim=True)
        scaled = (centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()).reshape(x.shape)
        ones = (1, channels, *[1] * (x.ndim - 2))
        return scaled * weight(f"{name}.weight", (channels,)).view(ones) + weight(f"{name}.bias", (channels,)).view(
            ones
        )

    def swish(x: Tensor) -> Tensor:
        return x / (1 + torch.exp(-x))

    def halve(x: Tensor) -> Tensor:
        return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4

    def double(x: Tensor) -> Tensor:
        return x.repeat_interleave(2, -1).repeat_interleave(2, -2)

    def residual(name: str, x: Tensor, out: int, resample: Callable[[Tensor], Tensor] = lambda x: x) -> Tensor:
        h = conv(f"{name}.in_layers.2", resample(swish(norm(f"{name}.in_layers.0", x))), out, 3)
        x = resample(x)
        added = linear(f"{name}.emb_layers.1", swish(time), 2 * out if s.use_scale_shift_norm else out)[
            :, :, None, None
        ]
        if s.use_scale_shift_norm:
            h = norm(f"{name}.out_layers.0", h) * (1 + added[:, :out]) + added[:, out:]
        else:
            h = norm(f"{name}.out_layers.0", h + added)
        h = conv(f"{name}.out_layers.3", swish(h), out, 3)
        return h + (x if x.shape[1] == out else conv(f"{name}.skip_connection", x, out, 1))

    def attention(name: str, x: Tensor, heads: int) -> Tensor:
        channels, depth = x.shape[1], x.shape[1] // heads
        tokens = x.flatten(2)
        rows = torch.einsum(
            "oc,bcn->bon",
            weight(f"{name}.qkv.weight", (3 * channels, channels, 1))[..., 0],
            norm(f"{name}.norm", tokens),
        )
        rows = rows + weight(f"{name}.qkv.bias", (3 * channels,))[None, :, None]
        mixed = []
        for head in range(heads):
            if s.use_new_attention_order:
                q, k, v = (rows[:, part * channels + head * depth :][:, :depth] for part in range(3))
            else:
                q, k, v = (rows[:, (3 * head + part) * depth :][:, :depth] for part in range(3))
            share = (torch.einsum("bcn,bcm->bnm", q, k) / math.sqrt(depth)).softmax(-1)
            mixed.append(torch.einsum("bnm,bcm->bcn", share, v))
        out = torch.einsum(
            "oc,bcn->bon", weight(f"{name}.proj_out.weight", (channels, channels, 1))[..., 0], torch.cat(mixed, 1)
        )
        return x + (out + weight(f"{name}.proj_out.bias", (channels,))[None, :, None]).reshape(x.shape)

    def heads_of(channels: int, upward: bool) -> int:
        if s.num_head_channels:
            return channels // s.num_head_channels
        return s.num_heads_upsample if upward and s.num_heads_upsample else s.num_heads

    frequencies = torch.exp(-math.log(10000) * torch.arange(width // 2, dtype=torch.float64) / (width // 2))
    angles = told.double()[:, None] * frequencies
    time = linear("time_embed.0", torch.cat([angles.cos(), angles.sin()], 1), 4 * width)
    time = linear("time_embed.2", swish(time), 4 * width)
    if s.class_cond:
        assert labels is not None
        time = time + weight("label_emb.weight", (s.num_classes, 4 * width))[labels]

    widths = [int(width * factor) for factor in s.levels]
    x = conv("input_blocks.0.0", images, widths[0], 3)
    kept, index = [x], 1
    for level, channels in enumerate(widths):
        attends = s.image_size // 2**level in s.attention_resolutions
        for _ in range(s.num_res_blocks):
            x = residual(f"input_blocks.{index}.0", x, channels)
            if attends:
                x = attention(f"input_blocks.{index}.1", x, heads_of(channels, False))
            kept.append(x)
            index += 1
        if level < len(widths) - 1:
            if s.resblock_updown:
                x = residual(f"input_blocks.{index}.0", x, channels, halve)
            else:
                x = conv(f"input_blocks.{index}.0.op", x, channels, 3, stride=2)
            kept.append(x)
            index += 1
    x = residual("middle_block.0", x, widths[-1])
    x = attention("middle_block.1", x, heads_of(widths[-1], False))
    x = residual("middle_block.2", x, widths[-1])
    index = 0
    for level in reversed(range(len(widths))):
        for block in range(s.num_res_blocks + 1):
            x = residual(f"output_blocks.{index}.0", torch.cat([x, kept.pop()], 1), widths[level])
            after = 1
            if s.image_size // 2**level in s.attention_resolutions:
                x = attention(f"output_blocks.{index}.1", x, heads_of(widths[level], True))
                after = 2
            if level and block == s.num_res_blocks:
                name = f"output_blocks.{index}.{after}"
                x = (
                    residual(name, x, widths[level], double)
                    if s.resblock_updown
                    else conv(f"{name}.conv", double(x), widths[level], 3)
                )
            index += 1
    outputs = s.image_channels * (2 if s.learn_sigma else 1)
    return conv("out.2", swish(norm("out.0", x)), outputs, 3)

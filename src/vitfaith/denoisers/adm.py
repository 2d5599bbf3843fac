"""OpenAI's diffusion U-Nets as diffusers networks: same function, other names and another order of the qkv rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from vitfaith.denoisers.adm_settings import AdmSettings
from vitfaith.errors import ArtifactError, ConfigError
from vitfaith.models.checkpoint import fit_weights, read_checkpoint
from vitfaith.models.fast.compiler import without_compiler
from vitfaith.models.shapes import without_numbers

with without_compiler():
    from diffusers.models.embeddings import TimestepEmbedding, Timesteps
    from diffusers.models.unets.unet_2d import UNet2DModel

_RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_EDGES = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}


@dataclass(frozen=True)
class Part:
    """A piece of the network under its published name and under diffusers' name.

    Attributes:
        kind: ``residual`` or ``attention`` block, or ``layer`` (one convolution).
        heads: attention heads; 0 for the others.
    """

    published: str
    ours: str
    kind: str
    heads: int = 0


def parts(settings: AdmSettings) -> Iterator[Part]:
    """The blocks in the published order: level by level down, the middle, and up again (arXiv 2105.05233, §3).

    A level is ``num_res_blocks`` residual blocks (one more on the way up), each followed by attention where the level
    has it, and a change of resolution to the next level.
    """
    last = len(settings.widths) - 1
    index = 1
    for level, width in enumerate(settings.widths):
        for block in range(settings.num_res_blocks):
            yield Part(f"input_blocks.{index}.0", f"down_blocks.{level}.resnets.{block}", "residual")
            if settings.attends(level):
                name = f"down_blocks.{level}.attentions.{block}"
                yield Part(f"input_blocks.{index}.1", name, "attention", settings.heads(width))
            index += 1
        if level < last:
            yield _resampling(settings, f"input_blocks.{index}.0", f"down_blocks.{level}.downsamplers.0", "op")
            index += 1
    middle = settings.heads(settings.widths[-1])
    yield Part("middle_block.0", "mid_block.resnets.0", "residual")
    yield Part("middle_block.1", "mid_block.attentions.0", "attention", middle)
    yield Part("middle_block.2", "mid_block.resnets.1", "residual")
    index = 0
    for step, level in enumerate(reversed(range(last + 1))):
        for block in range(settings.num_res_blocks + 1):
            yield Part(f"output_blocks.{index}.0", f"up_blocks.{step}.resnets.{block}", "residual")
            after = 1
            if settings.attends(level):
                heads = settings.heads(settings.widths[level], upward=True)
                yield Part(f"output_blocks.{index}.1", f"up_blocks.{step}.attentions.{block}", "attention", heads)
                after = 2
            if level and block == settings.num_res_blocks:
                name = f"output_blocks.{index}.{after}"
                yield _resampling(settings, name, f"up_blocks.{step}.upsamplers.0", "conv")
            index += 1


def _resampling(settings: AdmSettings, published: str, ours: str, convolution: str) -> Part:
    if settings.resblock_updown:
        return Part(published, ours, "residual")
    return Part(f"{published}.{convolution}", f"{ours}.conv", "layer")


def build_network(settings: AdmSettings) -> nn.Module:
    """A diffusers ``UNet2DModel`` that computes the same function as the published network with these settings, without weights.

    diffusers has one head width for all blocks, so the heads of each attention block are set afterwards (no weight
    depends on them). The same holds for the width of the timestep's sinusoids if the first level is narrower.

    Raises:
        ConfigError: no such network can be built.
    """
    _check(settings)
    plain = (
        ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D")
        if settings.resblock_updown
        else ("DownBlock2D", "UpBlock2D")
    )
    levels = range(len(settings.widths))
    sampling = "resnet" if settings.resblock_updown else "conv"
    with without_numbers():
        network = UNet2DModel(
            sample_size=settings.image_size,
            in_channels=settings.image_channels,
            out_channels=settings.image_channels * (2 if settings.learn_sigma else 1),
            time_embedding_dim=4 * settings.num_channels,
            block_out_channels=settings.widths,
            down_block_types=tuple("AttnDownBlock2D" if settings.attends(i) else plain[0] for i in levels),
            up_block_types=tuple("AttnUpBlock2D" if settings.attends(i) else plain[1] for i in reversed(levels)),
            layers_per_block=settings.num_res_blocks,
            downsample_type=sampling,
            upsample_type=sampling,
            attention_head_dim=_head_width(settings),
            norm_num_groups=32,
            attn_norm_num_groups=32,
            resnet_time_scale_shift="scale_shift" if settings.use_scale_shift_norm else "default",
            num_class_embeds=settings.num_classes if settings.class_cond else None,
        )
        if settings.widths[0] != settings.num_channels:
            network.time_proj = Timesteps(settings.num_channels, flip_sin_to_cos=True, downscale_freq_shift=0)
            network.time_embedding = TimestepEmbedding(settings.num_channels, 4 * settings.num_channels)
    for part in parts(settings):
        if part.kind == "attention":
            network.get_submodule(part.ours).heads = part.heads
    return network


def convert(state: Mapping[str, Tensor], settings: AdmSettings) -> dict[str, Tensor]:
    """Published tensors under diffusers' names, float32.

    The rows of a ``qkv`` weight are heads × (query, key, value) × channels in the older order and (query, key, value)
    × heads × channels in the newer; diffusers stores query, key and value separately. Tensors without a counterpart
    keep their names, so the loading error names them.
    """
    left = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    done: dict[str, Tensor] = {}

    def move(published: str, ours: str) -> None:
        for kind in ("weight", "bias"):
            if f"{published}.{kind}" in left:
                done[f"{ours}.{kind}"] = left.pop(f"{published}.{kind}")

    for published, ours in _EDGES.items():
        move(published, ours)
    move("label_emb", "class_embedding")
    for part in parts(settings):
        if part.kind == "layer":
            move(part.published, part.ours)
        elif part.kind == "residual":
            for published, ours in _RESIDUAL.items():
                move(f"{part.published}.{published}", f"{part.ours}.{ours}")
        else:
            move(f"{part.published}.norm", f"{part.ours}.group_norm")
            move(f"{part.published}.proj_out", f"{part.ours}.to_out.0")
            for kind in ("weight", "bias"):
                rows = left.pop(f"{part.published}.qkv.{kind}", None)
                if rows is not None:
                    names = [f"{part.ours}.to_{letter}.{kind}" for letter in "qkv"]
                    done.update(zip(names, _split_qkv(rows, part, settings), strict=True))
            matrix = f"{part.ours}.to_out.0.weight"
            if matrix in done and done[matrix].ndim == 3:  # a convolution over positions, of width 1
                done[matrix] = done[matrix].squeeze(-1)
    return done | left


def load_adm(path: Path, settings: AdmSettings, *, shapes_only: bool = False) -> nn.Module:
    """The network of a published checkpoint (``.pt``, or its tensors as safetensors).

    Args:
        shapes_only: check the file's header; the network stays on the device ``meta``, without weights.

    Raises:
        ArtifactError: the file cannot be read, or its tensors do not fit the settings.
        ConfigError: no such network can be built.
    """
    network = build_network(settings)
    try:
        state = convert(read_checkpoint(path, shapes_only=shapes_only).state, settings)
    except RuntimeError as error:
        raise ArtifactError(f"weights '{path}' do not fit the model: {error}; {_HINT}") from error
    fit_weights(network, state, path, _HINT, assign=True)
    return network


_HINT = "choose the checkpoint's preset, or give the flags that it was trained with under arguments"


def _split_qkv(rows: Tensor, part: Part, settings: AdmSettings) -> tuple[Tensor, Tensor, Tensor]:
    rows = rows.reshape(len(rows), *rows.shape[1:2])
    if settings.use_new_attention_order:
        grouped = rows.unflatten(0, (3, part.heads, -1))
    else:
        grouped = rows.unflatten(0, (part.heads, 3, -1)).transpose(0, 1)
    query, key, value = (group.flatten(0, 1).contiguous() for group in grouped)
    return query, key, value


def _head_width(settings: AdmSettings) -> int:
    """Channels per head in the last level; diffusers gets it for all blocks, before each block gets its own number."""
    return settings.widths[-1] // settings.heads(settings.widths[-1])


def _check(settings: AdmSettings) -> None:
    if any(width % 32 for width in settings.widths):
        raise ConfigError(
            f"adm: levels of {', '.join(map(str, settings.widths))} channels; each must be a multiple of 32, the groups of "
            "its normalisation"
        )
    attending = {w for level, w in enumerate(settings.widths) if settings.attends(level)} | {settings.widths[-1]}
    for width in attending:
        for heads in (settings.heads(width), settings.heads(width, upward=True)):
            if heads < 1 or width % heads or (settings.num_head_channels and width % settings.num_head_channels):
                raise ConfigError(
                    f"adm: {width} channels do not divide into heads; change num_heads or num_head_channels"
                )
    smallest = settings.image_size / 2 ** (len(settings.widths) - 1)
    if smallest != int(smallest):
        raise ConfigError(f"adm: image_size {settings.image_size} cannot be halved {len(settings.widths) - 1} times")

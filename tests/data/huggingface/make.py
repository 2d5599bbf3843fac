"""Made the folders beside this file with transformers 5.23.0 and torch 2.15.0 (python make.py, one thread).

Each folder is what ``save_pretrained`` writes for a tiny classifier with random weights. ``outputs.safetensors`` holds
``images`` (3, 3, 16, 16), ``larger`` (3, 3, 24, 24) and ``oblong`` (3, 3, 8, 32) in [0, 1], and for each folder
``NAME.logits``, ``NAME.larger_logits`` and ``NAME.oblong_logits`` of the normalised images, the latter two with
transformers' resized position tables. Tests read the files; they do not need transformers.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    BeitConfig,
    BeitForImageClassification,
    CLIPConfig,
    CLIPForImageClassification,
    DeiTConfig,
    DeiTForImageClassification,
    DeiTForImageClassificationWithTeacher,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    Siglip2Config,
    Siglip2ForImageClassification,
    SiglipConfig,
    SiglipForImageClassification,
    SwinConfig,
    SwinForImageClassification,
    Swinv2Config,
    Swinv2ForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

HERE = Path(__file__).parent
NAMES = {0: "owl", 1: "fox", 2: "bee", 3: "cod", 4: "elk"}
SHAPE = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, image_size=16, patch_size=4, id2label=NAMES)
TOWER = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40, patch_size=4)
TEXT = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
WINDOWS = dict(
    image_size=16, patch_size=2, embed_dim=12, depths=[2, 1], num_heads=[2, 3], window_size=2, id2label=NAMES
)
MODELS = {
    "vit": (ViTForImageClassification, ViTConfig(**SHAPE, intermediate_size=40)),
    "vit_grey": (
        ViTForImageClassification,
        ViTConfig(
            **SHAPE, intermediate_size=48, num_channels=1, qkv_bias=False, hidden_act="gelu_new", layer_norm_eps=1e-3
        ),
    ),
    "deit": (DeiTForImageClassification, DeiTConfig(**SHAPE, intermediate_size=48)),
    "deit_teacher": (DeiTForImageClassificationWithTeacher, DeiTConfig(**SHAPE, intermediate_size=48)),
    "dinov2": (Dinov2ForImageClassification, Dinov2Config(**SHAPE, mlp_ratio=2)),
    "dinov2_swiglu": (Dinov2ForImageClassification, Dinov2Config(**SHAPE, mlp_ratio=3, use_swiglu_ffn=True)),
    "dinov2_registers": (
        Dinov2WithRegistersForImageClassification,
        Dinov2WithRegistersConfig(**SHAPE, mlp_ratio=2, num_register_tokens=3),
    ),
    "beit": (
        BeitForImageClassification,
        BeitConfig(**SHAPE, intermediate_size=40, use_mask_token=True, use_relative_position_bias=True),
    ),
    "beit_shared": (
        BeitForImageClassification,
        BeitConfig(
            **SHAPE,
            intermediate_size=48,
            use_absolute_position_embeddings=True,
            use_shared_relative_position_bias=True,
            use_mean_pooling=False,
            layer_scale_init_value=0.0,
            hidden_act="gelu_new",
        ),
    ),
    "clip": (
        CLIPForImageClassification,
        CLIPConfig(text_config=TEXT, vision_config={**TOWER, "image_size": 16}, id2label=NAMES),
    ),
    "siglip": (
        SiglipForImageClassification,
        SiglipConfig(text_config=TEXT, vision_config={**TOWER, "image_size": 16}, id2label=NAMES),
    ),
    "siglip2": (
        Siglip2ForImageClassification,
        Siglip2Config(
            text_config=TEXT, vision_config={**TOWER, "num_patches": 16, "vision_use_head": False}, id2label=NAMES
        ),
    ),
    "swin": (SwinForImageClassification, SwinConfig(**WINDOWS, mlp_ratio=2.0, layer_norm_eps=1e-3, hidden_act="relu")),
    "swinv2": (Swinv2ForImageClassification, Swinv2Config(**WINDOWS, mlp_ratio=3.0, pretrained_window_sizes=[3, 0])),
}


def logits(name: str, model: torch.nn.Module, images: Tensor) -> Tensor:
    """Of normalised images, as a user of transformers gets them."""
    if name == "siglip2":
        grid = (images.shape[2] // 4, images.shape[3] // 4)
        cells = images.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)
        mask = torch.ones(cells.shape[:2], dtype=torch.long)
        shapes = torch.tensor([grid] * len(images))
        return model(cells, pixel_attention_mask=mask, spatial_shapes=shapes).logits
    resizes = name.startswith(("dinov2", "swin")) or images.shape[2:] == (16, 16)
    return model(images, **({} if resizes else {"interpolate_pos_encoding": True})).logits


torch.set_num_threads(1)
torch.manual_seed(7)
outputs = {"images": torch.rand(3, 3, 16, 16)}
larger = torch.rand(3, 3, 24, 24)
oblong = torch.rand(3, 3, 8, 32, generator=torch.Generator().manual_seed(7))
outputs |= {"larger": larger, "oblong": oblong}
for name, (kind, config) in MODELS.items():
    model = kind(config).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            scale = "norm" in key and key.endswith("weight")
            parameter.copy_(scale + 0.3 * torch.randn_like(parameter))
    channels = getattr(config, "num_channels", 3)
    mean, std = [0.48, 0.45, 0.4][:channels], [0.23, 0.22, 0.25][:channels]
    model.save_pretrained(HERE / name)
    ViTImageProcessor(size={"height": 16, "width": 16}, image_mean=mean, image_std=std).save_pretrained(HERE / name)
    for key, images in (("logits", outputs["images"]), ("larger_logits", larger), ("oblong_logits", oblong)):
        normalised = (images[:, :channels] - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(1, -1, 1, 1)
        with torch.no_grad():
            outputs[f"{name}.{key}"] = logits(name, model, normalised)
    print(name, outputs[f"{name}.logits"][0].tolist())
save_file(outputs, HERE / "outputs.safetensors")

"""Made the folders beside this file with transformers 5.23.0 and torch 2.15.0 (python make.py, one thread).

Each folder is what ``save_pretrained`` writes for a tiny classifier with random weights. ``outputs.safetensors`` holds
``images`` (3, 3, 16, 16) and ``larger`` (3, 3, 24, 24) in [0, 1], and for each folder ``NAME.logits`` and
``NAME.larger_logits`` of the normalised images, the latter with transformers' resized position table. Tests read the
files; they do not need transformers.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    DeiTConfig,
    DeiTForImageClassification,
    DeiTForImageClassificationWithTeacher,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

HERE = Path(__file__).parent
NAMES = {0: "owl", 1: "fox", 2: "bee", 3: "cod", 4: "elk"}
SHAPE = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, image_size=16, patch_size=4, id2label=NAMES)
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
}

torch.set_num_threads(1)
torch.manual_seed(7)
outputs = {"images": torch.rand(3, 3, 16, 16)}
larger = torch.rand(3, 3, 24, 24)
outputs["larger"] = larger
for name, (kind, config) in MODELS.items():
    model = kind(config).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            scale = "norm" in key and key.endswith("weight")
            parameter.copy_(scale + 0.3 * torch.randn_like(parameter))
    channels = config.num_channels
    mean, std = [0.48, 0.45, 0.4][:channels], [0.23, 0.22, 0.25][:channels]
    model.save_pretrained(HERE / name)
    ViTImageProcessor(size={"height": 16, "width": 16}, image_mean=mean, image_std=std).save_pretrained(HERE / name)
    for key, images, options in (
        ("logits", outputs["images"], {}),
        ("larger_logits", larger, {} if name.startswith("dinov2") else {"interpolate_pos_encoding": True}),
    ):
        normalised = (images[:, :channels] - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(1, -1, 1, 1)
        with torch.no_grad():
            outputs[f"{name}.{key}"] = model(normalised, **options).logits
    print(name, outputs[f"{name}.logits"][0].tolist())
save_file(outputs, HERE / "outputs.safetensors")

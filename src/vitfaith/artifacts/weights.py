"""Writing weights as safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from vitfaith.artifacts.store import atomic_path


def write_weights(state: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write tensors as a safetensors file, atomically; equal tensors and metadata give equal bytes.

    Raises:
        ArtifactError: the disk is full or the folder cannot be written.
    """
    tensors = {name: value.detach().contiguous() for name, value in state.items()}
    with atomic_path(path) as temporary:
        # The library's own writing to a file hides which error the file system raised.
        temporary.write_bytes(save(tensors, dict(metadata)))

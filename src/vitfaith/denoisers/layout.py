"""Paths of a denoiser's files in the diffusers layout. Imports no torch."""

from __future__ import annotations

from pathlib import Path

WEIGHTS = "diffusion_pytorch_model.safetensors"


def is_hub_id(name: str) -> bool:
    """Whether ``name`` means a model of the Hugging Face hub: ``owner/name``, without a folder ``owner`` here."""
    path = Path(name)
    return not path.is_absolute() and name.count("/") == 1 and not name.startswith(".") and not path.parent.exists()


def folder_files(folder: Path) -> tuple[Path, Path, Path]:
    """The network's config, its weights and the scheduler's config: in ``unet/`` and ``scheduler/``, or side by side."""
    flat = (folder / "config.json").is_file()
    unet, scheduler = (folder, folder) if flat else (folder / "unet", folder / "scheduler")
    return unet / "config.json", unet / WEIGHTS, scheduler / "scheduler_config.json"

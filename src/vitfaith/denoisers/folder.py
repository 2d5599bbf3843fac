"""Denoisers in the diffusers layout: a folder with ``unet/`` and ``scheduler/``, a flat one, or a hub id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from vitfaith.artifacts.json_file import read_json_object
from vitfaith.artifacts.record import OF_FOLDER, check_recorded
from vitfaith.denoisers.layout import WEIGHTS, folder_files, is_hub_id
from vitfaith.errors import ArtifactError, ConfigError
from vitfaith.models.checkpoint import check_finite, misfit, read_checkpoint
from vitfaith.models.fast.compiler import without_compiler
from vitfaith.models.shapes import without_numbers


def local_folder(folder: str | Path, *, download: bool = True) -> Path:
    """``folder`` if it is a folder, else the local copy of the hub's model with that id (``owner/name``).

    Raises:
        ArtifactError: neither exists; without ``download``, also if the hub's model has not been fetched yet.
    """
    path = Path(folder)
    if path.is_dir():
        return path
    name = str(folder)
    if not is_hub_id(name):
        raise ArtifactError(f"denoiser folder '{folder}' does not exist; give a folder with unet/ and scheduler/")
    from huggingface_hub import snapshot_download

    options: dict[str, Any] = {} if download else {"local_files_only": True}
    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", f"*{WEIGHTS}"], **options))
    except Exception as error:
        raise ArtifactError(
            f"denoiser '{folder}' is not a folder, and the Hugging Face hub does not provide it: {error}"
        ) from error


def load_unet(folder: Path, *, shapes_only: bool = False) -> nn.Module:
    """The ``UNet2DModel`` of a folder; with ``shapes_only`` on the device ``meta``, its weights' header checked.

    Raises:
        ArtifactError: a file is missing, broken or altered since it was trained, or the weights do not fit.
        ConfigError: the folder has another kind of network.
    """
    config_file, weights, scheduler = folder_files(folder)
    for file in (config_file, scheduler) if shapes_only else (config_file, weights, scheduler):
        check_recorded(file, folder / OF_FOLDER)
    config = read_json_object(config_file, "denoiser")
    kind = config.get("_class_name", "UNet2DModel")
    if kind != "UNet2DModel":
        raise ConfigError(
            f"denoiser '{folder}' is a {kind}; only UNet2DModel (unconditional, pixel space) is supported"
        )
    if not weights.is_file():
        raise ArtifactError(f"denoiser '{folder}' has no {weights}; only safetensors weights are read")
    if not shapes_only:
        network = _load_network(weights.parent)
        check_finite(network.state_dict(), weights)
        return network
    with without_compiler():
        from diffusers.models.unets.unet_2d import UNet2DModel

    state = read_checkpoint(weights, shapes_only=True).state
    with without_numbers():
        network = UNet2DModel.from_config(config)
    problem = misfit(network.state_dict(), state)
    if problem is not None:
        raise ArtifactError(f"denoiser: weights in '{weights.parent}' do not fit config.json: {problem}")
    return network


def _load_network(unet: Path) -> nn.Module:
    with without_compiler():
        from diffusers.models.unets.unet_2d import UNet2DModel
        from diffusers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()  # avoids a notice about accelerate in every job's log
    try:
        network, report = UNet2DModel.from_pretrained(
            unet, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False, output_loading_info=True
        )
    except Exception as error:  # safetensors, os and shape errors; diffusers wraps them in several ways
        reason = " ".join(str(error).split("\n")[:2]).replace("\t", "")
        raise ArtifactError(f"denoiser: weights in '{unet}' cannot be loaded: {reason}") from error
    finally:
        logging.set_verbosity(level)
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report.get(problem):
            raise ArtifactError(
                f"denoiser: weights in '{unet}' do not fit config.json: {problem.replace('_', ' ')} "
                f"{', '.join(map(str, list(report[problem])[:3]))}"
            )
    return network

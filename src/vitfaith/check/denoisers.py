"""Whether a denoiser's weights fit, and whether it can denoise these images at this noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.check.datasets import DatasetFacts
from vitfaith.check.report import Report
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.denoisers.folder import local_folder
from vitfaith.denoisers.layout import is_hub_id
from vitfaith.errors import ArtifactError
from vitfaith.metrics.fills.diffusion import DiffusionParameters, working_size
from vitfaith.metrics.fills.registry import settings_of_fill
from vitfaith.registry import Parameters
from vitfaith.smoothings.dds import DdsParameters, check_passes, noise_level

if TYPE_CHECKING:
    from pathlib import Path

    from vitfaith.study.plan import Plan


def denoiser_of(plan: Plan, id_: str, path: str, files: list[Path], report: Report) -> Denoiser | None:
    """The denoiser ``id_`` without weights, after comparing its files' headers; None, with a report, if a file is missing."""
    key, section = f"denoisers.{id_}", plan.study.denoisers[id_]
    missing = [file for file in files if not file.is_file()]
    if missing and section.path == "trained":
        report.notes.append(f"{key}: is trained first, '{missing[0]}' does not exist yet")
        return None
    if missing:
        report.problem(f"{key}.path", f"'{missing[0]}' does not exist; give a folder in the diffusers layout, a hub id "
                       "(owner/name), or a checkpoint with format adm")  # fmt: skip
        return None
    if section.format == "diffusers" and is_hub_id(path):
        try:
            local_folder(path, download=False)
        except ArtifactError:
            report.notes.append(
                f"{key}: the first job downloads '{path}' from the Hugging Face hub; where jobs have no network, download "
                "before (the cache is HF_HOME)"
            )
            return None
    with report.about(key):
        return Denoiser.load(path, section.spec(), shapes_only=True)
    return None


def check_fill(
    id_: str, parameters: Parameters, denoiser: Denoiser, datasets: dict[str, DatasetFacts], report: Report
) -> None:
    """Report images that cannot go through the network of a metric's diffusion in-fill, or steps that it does not have."""
    settings = settings_of_fill(parameters)
    if not isinstance(settings, DiffusionParameters):
        return
    for dataset, facts in datasets.items():
        with report.about(f"metrics.{id_}.fill, datasets.{dataset}"):
            working_size(denoiser, facts.shape, settings)


def check_smoothing(
    id_: str, parameters: Parameters, denoiser: Denoiser, datasets: dict[str, DatasetFacts], report: Report
) -> None:
    """Report noise beyond the denoiser's schedule, and images that cannot go through its network."""
    if not isinstance(parameters, DdsParameters):
        return
    with report.about(f"smoothings.{id_}"):
        level = noise_level(denoiser.schedule, parameters)
        for dataset, facts in datasets.items():
            with report.about(f"smoothings.{id_}, datasets.{dataset}"):
                check_passes(denoiser, facts.shape, parameters, level)

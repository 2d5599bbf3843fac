"""Attacks on the prediction behind the smoothing. Importing this module imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import model_validator

from vitfaith.attacks.registry import attack, linf_bound
from vitfaith.attacks.smoothed import Defence, SmoothedSteps
from vitfaith.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.models.classifier import Classifier


class AdaptivePgdParameters(SmoothedSteps):
    """Projected gradient ascent through the smoothing, in an l∞ ball."""

    @model_validator(mode="after")
    def _check_through(self) -> AdaptivePgdParameters:
        if self.through is None:
            raise ConfigError("attack adaptive_pgd needs 'through', the id of the smoothing it attacks; or use pgd")
        return self


@attack(
    "adaptive_pgd",
    parameters=AdaptivePgdParameters,
    bound=linf_bound,
    aims_at="smoothed_prediction",
    citation="Salman et al. 2019, arXiv 1906.04584; Athalye et al. 2018, arXiv 1802.00420",
)
def adaptive_pgd(
    classifier: Classifier, images: Tensor, targets: Tensor, parameters: AdaptivePgdParameters, *, defence: Defence
) -> Tensor:
    """PGD on the smoothed prediction: −log of the mean probability over noise draws, through the denoiser."""
    from vitfaith.attacks.craft.smoothed_pgd import SmoothedPGD

    return SmoothedPGD(classifier, defence, parameters)(images, targets)

"""Attacks on the prediction behind the smoothing. Importing this module imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from vitfaith.attacks.registry import Epsilon, Step, Steps, attack, linf_bound
from vitfaith.attacks.smoothed import Defence, SmoothedParameters
from vitfaith.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.models.classifier import Classifier


class AdaptivePgdParameters(SmoothedParameters):
    """Projected gradient ascent through the smoothing, in an l∞ ball."""

    eps: Epsilon = 8 / 255
    alpha: Step | None = Field(None, description="step size, in [0, 1] pixel units; without it eps / 5")
    steps: Steps = 10
    random_start: bool = Field(True, description="start at a uniformly random point of the ball")

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

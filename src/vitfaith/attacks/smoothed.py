"""The smoothing as an adaptive attacker sees it: random copies of the image with gradients through the denoiser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from vitfaith.attacks.registry import LinfSteps
from vitfaith.errors import ConfigError
from vitfaith.lazy import torch
from vitfaith.registry import Ids, Item, Parameters
from vitfaith.smoothings.aggregate import aggregate_maps
from vitfaith.smoothings.dds import DdsParameters
from vitfaith.smoothings.registry import map_aggregation, smoothings_with_gradient

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.denoisers.denoiser import Denoiser

_MOVED = tuple(name for name in DdsParameters.model_fields if name != "steps")
"""Settings of the smoothing that an attack used to have itself, or might be given; 'steps' are the attack's own."""

_OLD_EOT = 4
"""Draws of an attack that named the denoiser itself and no eot."""


class SmoothedParameters(Parameters):
    """The smoothing that an attack sees through, and how it takes gradients."""

    through: Annotated[str | None, Ids("smoothings")] = Field(
        None,
        description="id of an entry of the section smoothings: the attack sees the model behind it, with all its "
        "settings; without it the attack ignores smoothing",
    )
    eot: int | None = Field(
        None,
        ge=1,
        description="noise draws per step that gradients are averaged over; without it the smoothing's samples",
    )
    gradient: Literal["full", "bpda"] = Field(
        "full", description="full: through the denoiser; bpda: as if the denoised image were the image itself"
    )

    @model_validator(mode="before")
    @classmethod
    def _show_new_form(cls, raw: Any) -> Any:
        """Refuse settings of the smoothing; what they say stands in the smoothing's own entry."""
        moved = {k: v for k, v in raw.items() if k in _MOVED and v is not None} if isinstance(raw, Mapping) else {}
        if moved:
            kept = {k: v for k, v in raw.items() if k not in _MOVED}
            through = kept.get("through") or "dds"
            # Who named the denoiser here had four draws where nothing else was said; a new attack has the smoothing's.
            draws = {"eot": kept.get("eot", _OLD_EOT)} if "denoiser" in moved and "samples" not in moved else {}
            here = {**kept, **draws, "through": through}
            raise ConfigError(
                f"{', '.join(map(repr, moved))}: an attack names the smoothing it sees through and takes its settings; "
                f"write {_flow(here)} beside the name of the attack, and {through}: {_flow(moved)} in the section smoothings"
            )
        return raw


class SmoothedSteps(LinfSteps, SmoothedParameters):
    """Steps in an l∞ ball on the model behind the smoothing, where one is named."""


def _flow(settings: Mapping[str, Any]) -> str:
    """Settings as YAML on one line."""
    return "{" + ", ".join(f"{key}: {value}" for key, value in settings.items()) + "}"


def smoothed_log_probability(logits: Tensor, draws: int) -> Tensor:
    """log of the mean softmax over draws: logits (draws·B, K), draw by draw, to (B, K)."""
    per_draw = logits.log_softmax(1).unflatten(0, (draws, -1))
    return per_draw.logsumexp(0) - torch.log(torch.tensor(float(draws)))


@dataclass(frozen=True)
class Defence:
    """The smoothing that an attack sees through: the pipeline of the stages denoise, predict and attribute, with gradients.

    Attributes:
        smoothing: the smoothing with all settings of its entry in the configuration.
        denoiser: its network; None where it has none.
    """

    smoothing: Item
    denoiser: Denoiser | None

    def __post_init__(self) -> None:
        known = smoothings_with_gradient()
        if self.smoothing.name not in known:
            raise ConfigError(
                f"smoothing '{self.smoothing.name}' has no gradient in the image, so no attack sees through it; "
                f"known: {', '.join(known)}"
            )

    def draws(self, attack: SmoothedParameters) -> int:
        """Noise draws per step: the attack's ``eot``, else the smoothing's ``samples``."""
        return attack.eot or int(getattr(self.smoothing.parameters, "samples", 1))

    def copies(self, images: Tensor, attack: SmoothedParameters) -> Tensor:
        """Smoothed copies of ``images`` (B, C, H, W), (draws·B, C, H, W), draw by draw.

        Expectation over transformation (Athalye et al. 2018, arXiv 1802.00420): every call draws new noise, by
        ``torch.randn_like``, which attacks key per image. With ``gradient: bpda`` the backward pass is the identity.
        """
        smooth = self.smoothing.traits["gradient"]
        count = self.draws(attack)

        def draw(like: Tensor) -> Tensor:
            return torch.cat([torch.randn_like(part) for part in like.detach().chunk(count)])

        repeated = images.repeat(count, 1, 1, 1)
        if attack.gradient == "full":
            smoothed: Tensor = smooth(self.denoiser, repeated, self.smoothing.parameters, draw)
            return smoothed
        with torch.no_grad():
            smoothed = smooth(self.denoiser, repeated, self.smoothing.parameters, draw)
        return repeated + (smoothed - repeated).detach()

    def aggregate(self, maps: Tensor, draws: int) -> Tensor:
        """The map (B, rows, columns) behind the smoothing, from ``maps`` (draws·B, rows, columns), draw by draw."""
        return aggregate_maps(maps.unflatten(0, (draws, -1)), map_aggregation(self.smoothing.parameters))[0]

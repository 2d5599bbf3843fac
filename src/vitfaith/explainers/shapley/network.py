"""The head that reads Shapley values from a frozen trunk's tokens, and the surrogate whose answers they divide."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from vitfaith.explainers.passes.masking import Fill, fill_values, forward
from vitfaith.explainers.shapley.kernel import efficient
from vitfaith.models.classifier import Classifier
from vitfaith.models.patches import Patches
from vitfaith.transfer import upload


class ShapleyHead(nn.Module):
    """One transformer block and two layers on the patch tokens of a frozen trunk: a value for each patch and class."""

    def __init__(self, width: int, classes: int, hidden: int | None = None) -> None:
        super().__init__()
        self.width, self.classes, self.hidden = width, classes, hidden or 2 * width
        self.mix = nn.TransformerEncoderLayer(
            width, math.gcd(width, 4), 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.read = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, self.hidden), nn.GELU(), nn.Linear(self.hidden, classes)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Values (B, P, K) float32, before they are made efficient, from tokens (B, P, D)."""
        values: Tensor = self.read(self.mix(tokens.float()))
        return values


def new_head(width: int, classes: int, hidden: int | None = None, *, generator: Generator) -> ShapleyHead:
    """An untrained head whose values are zero, so that the efficient ones are equal shares."""
    head = ShapleyHead(width, classes, hidden)
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * parameter.shape[1] ** -0.5)
            elif name.endswith("bias"):
                parameter.zero_()
        last: nn.Linear = head.read[-1]  # type: ignore[assignment]
        last.weight.zero_()
    return head


@dataclass(frozen=True)
class Game:
    """v(S): the surrogate's class probabilities for an image of which only the patches in S are seen.

    Attributes:
        surrogate: frozen; takes the images of the explained model and has its classes.
        fill: what hides a patch.
    """

    surrogate: Classifier
    fill: Fill

    def of_sets(self, images: Tensor, sets: Tensor, patches: Patches) -> Tensor:
        """v (B, n, K) float32 of ``sets`` (B, n, P) bool of the ``patches`` of ``images`` (B, C, H, W)."""
        count, sets = sets.shape[1], upload(sets, images.device)
        kept = patches.to_pixels(sets.flatten(0, 1).unflatten(1, patches.grid).to(torch.uint8), beyond=1).bool()
        filled = fill_values(self.surrogate, images, self.fill)
        shown = torch.where(
            kept[:, None],
            images.repeat_interleave(count, 0),
            filled.repeat_interleave(count, 0),
        )
        return forward(self.surrogate, shown).softmax(1).unflatten(0, (len(images), count))

    def ends(self, images: Tensor, patches: Patches) -> tuple[Tensor, Tensor]:
        """v of no patch and v of all patches, (B, K) float32 each; two forwards per image."""
        both = torch.tensor([[False], [True]]).expand(2, math.prod(patches.grid))
        answers = self.of_sets(images, both.expand(len(images), -1, -1), patches)
        return answers[:, 0], answers[:, 1]

    def divide(self, values: Tensor, images: Tensor, patches: Patches) -> Tensor:
        """Values (B, P, K) of a head made efficient: they sum to v(all) − v(none) for every class."""
        none, everything = self.ends(images, patches)
        return efficient(values, everything - none)

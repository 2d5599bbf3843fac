"""The gates of Vision DiffMask: L + 2 small networks that read one hidden state each and vote on every patch.

u⁽ˡ⁾ = α·tanh(w·tanh(W[h⁽⁰⁾; h⁽ˡ⁾] + a) + b) + β⁽ˡ⁾ with weight-normed W and w. All gates run as one grouped layer. The term of
h⁽⁰⁾, which they share as input, is one matrix product for all of them: W[h⁽⁰⁾; h⁽ˡ⁾] = W_a h⁽⁰⁾ + W_b h⁽ˡ⁾.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn


class Gates(nn.Module):
    """Locations u of the hard concrete gates.

    Attributes:
        directions: (G, H, 2D) of W's rows; their norms are ``lengths`` (G, H) instead.
        offsets: a, (G, H).
        out_directions: (G, H) of w, with length ``out_lengths`` (G,).
        out_offsets: b, (G,).
        beta: (G,), learned.
        classes: (K, G, H), added inside the inner tanh for the explained class; absent where the masks are of no class.
    """

    def __init__(
        self,
        gates: int,
        width: int,
        hidden: int,
        *,
        stretch: float = 15.0,
        beta: float = 8.0,
        classes: int = 0,
        generator: Generator | None = None,
    ) -> None:
        """Draw the weights as ``nn.Linear`` does; class terms start at zero.

        Args:
            gates: G = L + 2.
            width: D of the tokens.
            hidden: H of the inner layer (the paper: D/4).
            stretch: α, fixed.
            beta: start of β.
            classes: K for masks of a class, else 0.
            generator: source of the weights.
        """
        super().__init__()
        self.stretch = stretch

        def draw(bound: float, *shape: int) -> nn.Parameter:
            return nn.Parameter((2 * torch.rand(*shape, generator=generator) - 1) * bound)

        inner, outer = 1 / math.sqrt(2 * width), 1 / math.sqrt(hidden)
        self.directions = draw(inner, gates, hidden, 2 * width)
        self.lengths = nn.Parameter(self.directions.detach().norm(dim=-1))
        self.offsets = draw(inner, gates, hidden)
        self.out_directions = draw(outer, gates, hidden)
        self.out_lengths = nn.Parameter(self.out_directions.detach().norm(dim=-1))
        self.out_offsets = draw(outer, gates)
        self.beta = nn.Parameter(torch.full((gates,), float(beta)))
        self.classes = nn.Parameter(torch.zeros(classes, gates, hidden)) if classes else None

    @property
    def count(self) -> int:
        """G."""
        return len(self.beta)

    def forward(self, states: Sequence[Tensor], targets: Tensor | None = None) -> Tensor:
        """Locations u (B, G, P) float32 within β ± α.

        Args:
            states: G tensors (B, P, D) of any float type, the patch embedding first.
            targets: (B,) int64, the explained classes; needed exactly where the gates have classes.
        """
        return (self.stretch * self.centred(states, targets)).add(self.beta[:, None])

    def centred(self, states: Sequence[Tensor], targets: Tensor | None = None) -> Tensor:
        """(u − β)/α in (−1, 1), (B, G, P) float32."""
        batch, patches, width = states[0].shape
        # scaled directions, (G, H, 2D)
        weight = self.directions * (self.lengths / self.directions.norm(dim=-1))[..., None]
        first = states[0].float().reshape(batch * patches, width)
        stacked = torch.stack([state.float().reshape(batch * patches, width) for state in states])
        hidden = torch.baddbmm(self.offsets[:, None], stacked, weight[..., width:].transpose(1, 2))
        shared = first @ weight[..., :width].reshape(-1, width).T
        hidden = hidden + shared.view(batch * patches, self.count, -1).transpose(0, 1)
        if self.classes is not None:
            assert targets is not None
            own = self.classes[targets].transpose(0, 1)  # (G, B, H)
            hidden = hidden.view(self.count, batch, patches, -1) + own[:, :, None]
            hidden = hidden.view(self.count, batch * patches, -1)
        out = self.out_directions * (self.out_lengths / self.out_directions.norm(dim=-1))[:, None]
        # sums of products: a product with one vector would round by the number of images
        votes = (torch.tanh(hidden) * out[:, None]).sum(-1) + self.out_offsets[:, None]
        return torch.tanh(votes).view(self.count, batch, patches).transpose(0, 1)

"""The gradient of an image is its own, alone or in a batch, also behind a batch norm whose output is transposed (XCiT)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitfaith.models.batch_norm import straight_gradients


class Stem(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.conv(images)).flatten(2).transpose(1, 2)


def gradient(stem: Stem, images: Tensor, weights: Tensor) -> Tensor:
    leaves = images.clone().requires_grad_()
    with straight_gradients(stem):
        tokens = stem(leaves)
    return torch.autograd.grad((tokens * weights).sum(), leaves)[0]


def test_a_batch_is_a_stack_of_singles() -> None:
    source = torch.Generator().manual_seed(0)
    stem = Stem().eval().requires_grad_(False)
    stem.norm.running_var.uniform_(0.5, 2, generator=source)
    images, weights = torch.rand(3, 3, 8, 12, generator=source), torch.randn(3, 24, 8, generator=source)
    together = gradient(stem, images, weights)
    singles = torch.cat([gradient(stem, images[i : i + 1], weights[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(singles, together)
    step = 1e-2 * torch.randn(images.shape, generator=source)
    change = ((stem(images + step) - stem(images - step)) * weights).sum((1, 2)) / 2  # linear in evaluation mode
    torch.testing.assert_close((together * step).sum((1, 2, 3)), change, rtol=1e-3, atol=1e-4)
    assert not stem.norm._forward_hooks

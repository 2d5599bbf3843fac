"""A gradient that is the same for all tokens, taken through an MLP's second linear layer once per image instead of once per token.

LeGrad's score of a block is read from its mean token, so its gradient at the block's output is one vector for all tokens.
The last step of a plain timm block is x + ls2(fc2(…)): the gradient behind ``fc2`` is one vector too, which autograd would
compute for each token.
"""

from __future__ import annotations

from torch import Tensor, nn

from vitfaith.models.fast.altered import is_altered
from vitfaith.models.fast.compiler import without_compiler
from vitfaith.models.fast.linear import linear
from vitfaith.models.fast.switch import is_on

with without_compiler():
    from timm.layers.layer_scale import LayerScale
    from timm.layers.mlp import Mlp
    from timm.models.vision_transformer import Block


def ends_plainly(block: nn.Module) -> bool:
    """Whether the block adds ``ls2(fc2(…))`` to its second residual, and nothing else, in evaluation mode.

    False for all blocks where the fast paths are off.
    """
    return (
        is_on()
        and type(block) is Block
        and type(block.mlp) is Mlp
        and type(block.mlp.fc2) is nn.Linear
        and isinstance(block.ls2, LayerScale | nn.Identity)
        and not is_altered(block, block.mlp, block.mlp.fc2, block.mlp.drop2, block.ls2, block.drop_path2)
    )


def through_second_linear(block: nn.Module, gradient: Tensor) -> Tensor:
    """(B, 1, D) at the output of a block that :func:`ends_plainly`, to (B, 1, W) at the input of its MLP's second linear layer."""
    assert isinstance(block, Block)
    assert isinstance(block.mlp, Mlp)
    scale = block.ls2.gamma if isinstance(block.ls2, LayerScale) else None
    scaled = gradient if scale is None else gradient * scale.detach()
    return linear(scaled, block.mlp.fc2.weight.detach().t().contiguous(), None)

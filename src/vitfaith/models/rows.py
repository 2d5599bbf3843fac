"""Functions that give an image the same bits whatever batch it is in.

Three things make torch round an image differently in another batch on a CPU. Sigmoid, GELU and SiLU take another exponential for the last
few numbers of a tensor, which do not fill a vector register, than for the others. A sum over the first axis adds those last columns in
another order. And a product of stacked matrices takes other kernels where the stack is one matrix, where it is of one row, whose kernel
rounds by the place in memory, and where one image keeps the strides that a larger batch loses by being copied. Products of matrices whose
sides are no multiples of 16 may still round by their place in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from vitfaith.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def sigmoid(values: Tensor) -> Tensor:
    """1 / (1 + e^−x) of each number, by functions that round each number alike wherever it stands."""
    return torch.nn.functional.logsigmoid(values).exp()


def total(tensors: Iterable[Tensor]) -> Tensor:
    """Sum of tensors of one shape, one after the other."""
    return reduce(add, tensors)


def matmul(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` for stacks of matrices (…, M, K) and (…, K, N), computed for one image as for several."""
    if left.shape[-2] == 1:
        return (left.transpose(-2, -1) * right).sum(-2, keepdim=True)
    if left.shape[:-2].numel() == 1:
        return (torch.cat([left, left]) @ torch.cat([right, right]))[:1]
    return _laid_out(left) @ _laid_out(right)


def _laid_out(stack: Tensor) -> Tensor:
    """Torch copies a stack whose batch and heads are not one axis of memory; with one image it need not, and does not."""
    whole = stack.ndim < 4 or stack.stride(0) == stack.shape[1] * stack.stride(1)
    return stack if whole else stack.contiguous()

"""The loss that attacks on the prediction maximise: cross-entropy in a form that does not round to 0 for confident images."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


def wrong_log_odds(values: Tensor, labels: Tensor) -> Tensor:
    """log((1 − p_y)/p_y) of each row, the log-odds of the wrong classes, in float64.

    This is logsumexp over k ≠ y of z_k, minus z_y. The cross-entropy −log p_y is its softplus: both order images alike and
    their gradients point the same way, ∇(−log p_y) = (1 − p_y) ∇ log-odds. Where p_y rounds to 1 the cross-entropy and
    the label's part of its gradient are 0 in floating point, and at leads above 100 logits all of it; the log-odds stay
    as large as the logits.

    Args:
        values: (B, K) logits or log-probabilities, K ≥ 2.
        labels: (B,) int64 classes y.

    Returns:
        (B,) float64.
    """
    wide = values.double()
    others = wide.scatter(1, labels[:, None], float("-inf")).logsumexp(1)
    return others - wide.gather(1, labels[:, None])[:, 0]


class ConfidentCrossEntropy(TorchFunctionMode):
    """While active, the cross-entropy of class numbers is the sum over the batch of a form that keeps its direction.

    ``F.cross_entropy`` of logits and ``F.nll_loss`` of log-probabilities (also by their modules) give Σ
    :func:`wrong_log_odds`, or its rows with ``reduction="none"``. The sum and not the mean, since the images of a batch
    have nothing to do with each other.

    Args:
        keep_size: give the cross-entropy itself, in float64 and times 2⁶⁴, for attacks that add gradients of several
            points before they normalise the sum. Float32 then holds gradients of images that lead by up to 120 logits.
    """

    def __init__(self, keep_size: bool = False) -> None:
        super().__init__()
        self.keep_size = keep_size

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace the two losses, pass everything else on."""
        kwargs = kwargs or {}
        if func not in (functional.cross_entropy, functional.nll_loss):
            return func(*args, **kwargs)
        loss = wrong_log_odds(args[0], args[1])
        if self.keep_size:
            loss = functional.softplus(loss) * 2.0**64
        return loss if kwargs.get("reduction") == "none" else loss.sum()

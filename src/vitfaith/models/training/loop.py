"""What every training here shares: seeded batches, a warm-up cosine schedule, an exponential moving average, a log."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from vitfaith.errors import VitfaithError
from vitfaith.rng import derive_seed


def batches(count: int, batch_size: int, epoch: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Index batches of one epoch: a permutation keyed by (seed, epoch); the incomplete last batch is left out."""
    order = np.random.default_rng(derive_seed(seed, "epoch", "order", epoch)).permutation(count)
    for start in range(0, count - batch_size + 1, batch_size):
        yield order[start : start + batch_size]


def learning_rate_factor(step: int, total: int, warmup: int) -> float:
    """Linear warm-up over ``warmup`` steps, then a half cosine to zero at ``total``."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


class MovingAverage:
    """Exponential moving average of a network's parameters and buffers, with a warm start."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move a step of ``1 − decay`` towards ``network`` (larger steps in the first updates)."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        state = network.state_dict()
        for name, average in self.network.state_dict().items():
            if average.is_floating_point():
                average.lerp_(state[name], 1 - decay)
            else:
                average.copy_(state[name])


def fit(
    network: nn.Module,
    loss_of: Callable[[NDArray[np.int64], int], Tensor],
    *,
    count: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    ema_decay: float,
    seed: int,
    evaluate: Callable[[nn.Module], dict[str, float]],
    rate_of: Callable[[str], float] = lambda name: 1.0,
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """Minimise ``loss_of(indices, step)`` with AdamW; returns the averaged network and one log row per epoch.

    Args:
        rate_of: factor on the learning rate by the parameter's name; 0 freezes it.

    Raises:
        VitfaithError: the loss became NaN or infinite; the text gives the step.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        rate = rate_of(name)
        parameter.requires_grad_(rate > 0)
        if rate > 0:
            groups.setdefault((rate, weight_decay if parameter.ndim > 1 else 0.0), []).append(parameter)
    optimiser = torch.optim.AdamW(
        [{"params": found, "weight_decay": decay, "rate": rate} for (rate, decay), found in groups.items()],
        lr=learning_rate,
        betas=(0.9, 0.98),
    )
    steps_per_epoch = count // batch_size
    total = epochs * steps_per_epoch
    warmup = max(1, min(total // 20, 500))
    average = MovingAverage(network, ema_decay)
    log: list[dict[str, Any]] = []
    start, step = time.perf_counter(), 0
    for epoch in range(epochs):
        network.train()
        losses = torch.zeros(())
        for indices in tqdm(
            batches(count, batch_size, epoch, seed),
            total=steps_per_epoch,
            desc=f"epoch {epoch + 1}/{epochs}",
            mininterval=10,
        ):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * group["rate"] * learning_rate_factor(step, total, warmup)
            loss = loss_of(indices, step)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            average.update(network)
            losses += loss.detach().cpu()
            step += 1
        mean_loss = float(losses) / max(1, steps_per_epoch)
        if not math.isfinite(mean_loss):
            raise VitfaithError(f"training diverged: loss is {mean_loss} after step {step}; lower the learning rate")
        row = {"epoch": epoch + 1, "step": step, "loss": mean_loss, "seconds": time.perf_counter() - start}
        log.append(row | evaluate(average.network))
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in log[-1].items()}, flush=True)
    return average.network, log

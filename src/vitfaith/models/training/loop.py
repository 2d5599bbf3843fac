"""Shared by all trainings: seeded batches, timm's schedule and moving average, a log."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from tqdm import tqdm

from vitfaith.errors import VitfaithError
from vitfaith.models.training.optimiser import optimiser
from vitfaith.models.training.resume import Checkpoint
from vitfaith.rng import derive_seed


class Schedule(Protocol):
    """Settings that every recipe has: how long, in what steps, and at which rates."""

    @property
    def epochs(self) -> int: ...  # noqa: D102
    @property
    def batches(self) -> int | None: ...  # noqa: D102
    @property
    def batch_size(self) -> int: ...  # noqa: D102
    @property
    def learning_rate(self) -> float: ...  # noqa: D102
    @property
    def weight_decay(self) -> float: ...  # noqa: D102
    @property
    def ema_decay(self) -> float: ...  # noqa: D102


def batches(count: int, batch_size: int, epoch: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Index batches of one epoch: a permutation keyed by (seed, epoch); the incomplete last batch is left out."""
    order = np.random.default_rng(derive_seed(seed, "epoch", "order", epoch)).permutation(count)
    for start in range(0, count - batch_size + 1, batch_size):
        yield order[start : start + batch_size]


def steps_per_epoch(recipe: Schedule, count: int) -> int:
    """Number of batches of an epoch over ``count`` images."""
    return min(count // recipe.batch_size, recipe.batches or count)


def warmup_cosine(optimiser: torch.optim.Optimizer, total: int, warmup: int) -> Callable[[int], None]:
    """A function that sets every group's rate before step 0, 1, …: linear warm-up, then a half cosine to zero at ``total``.

    The peak is each group's ``lr`` now. timm's warm-up starts from zero, so that it is asked for one step ahead: the first
    step takes 1/``warmup`` of the peak, the last one of the warm-up and the one behind it all of it.
    """
    schedule = CosineLRScheduler(
        optimiser, max(1, total - warmup), warmup_t=warmup, warmup_prefix=True, t_in_epochs=False
    )
    return lambda step: schedule.step_update(step + (step < warmup))


def moving_average(network: nn.Module, decay: float) -> ModelEmaV3:
    """timm's exponential moving average of parameters and buffers; decay is (1 + n)/(10 + n) in update n = 1, 2, … while that is less."""
    average = ModelEmaV3(network, decay, use_warmup=True, warmup_gamma=9, warmup_power=1, update_after_step=-2)
    return average.requires_grad_(False)


def fit(
    network: nn.Module,
    loss_of: Callable[[NDArray[np.int64], int], Tensor],
    recipe: Schedule,
    *,
    count: int,
    seed: int,
    evaluate: Callable[[nn.Module], dict[str, float]],
    rate_of: Callable[[str], float] = lambda name: 1.0,
    orthogonal: frozenset[str] = frozenset(),
    checkpoint: Checkpoint | None = None,
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """Minimise ``loss_of(indices, step)``; returns the averaged network and one log row per epoch.

    Args:
        recipe: epochs, batches per epoch where they are not all, batch size, peak of the learning rate, decay of the weights and of their average.
        count: training images; ``indices`` are below it.
        seed: of the order of the images.
        evaluate: further columns of the log, from the averaged network after each epoch.
        rate_of: factor on the learning rate by the parameter's name; 0 freezes it.
        orthogonal: names of the parameters that Muon moves instead of AdamW.
        checkpoint: file from which a killed training continues, written after each epoch.

    Raises:
        VitfaithError: the loss became NaN or infinite; the text gives the step.
        ArtifactError: ``checkpoint`` is damaged.
    """
    learner = optimiser(
        network.named_parameters(),
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        rate_of=rate_of,
        orthogonal=orthogonal,
    )
    steps = steps_per_epoch(recipe, count)
    total = recipe.epochs * steps
    set_rates = warmup_cosine(learner, total, max(1, min(total // 20, 500)))
    average = moving_average(network, recipe.ema_decay)
    networks = {"network": network, "average": average.module}
    log: list[dict[str, Any]] = [] if checkpoint is None else checkpoint.load(networks, learner)
    step = len(log) * steps
    start = time.perf_counter() - (log[-1]["seconds"] if log else 0.0)
    for epoch in range(len(log), recipe.epochs):
        network.train()
        losses: Tensor | float = 0.0  # where the network is, so the CPU waits for a GPU once per epoch
        for indices in tqdm(
            islice(batches(count, recipe.batch_size, epoch, seed), steps),
            total=steps,
            desc=f"epoch {epoch + 1}/{recipe.epochs}",
            mininterval=10,
        ):
            set_rates(step)
            loss = loss_of(indices, step)
            learner.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            learner.step()
            losses = losses + loss.detach()
            step += 1
            average.update(network, step)
        mean_loss = float(losses) / max(1, steps)
        if not math.isfinite(mean_loss):
            raise VitfaithError(f"training diverged: loss is {mean_loss} after step {step}; lower the learning rate")
        row = {"epoch": epoch + 1, "step": step, "loss": mean_loss, "seconds": time.perf_counter() - start}
        log.append(row | evaluate(average.module))
        if checkpoint is not None and epoch + 1 < recipe.epochs:
            checkpoint.save(networks, learner, log)
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in log[-1].items()}, flush=True)
    return average.module, log

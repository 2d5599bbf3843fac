"""Evaluation of the masks of a bank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vitfaith.errors import InputError
from vitfaith.metrics.bank.masks import BankRequest, by_image, each
from vitfaith.metrics.bank.store import Bank
from vitfaith.metrics.context import ScoreContext
from vitfaith.metrics.engine.engine import Engine
from vitfaith.metrics.engine.requests import Clean
from vitfaith.models.classifier import Classifier
from vitfaith.models.precision import Precision


def build_bank(
    classifier: Classifier,
    images: Tensor,
    targets: Tensor,
    image_ids: Sequence[str],
    requests: Sequence[BankRequest],
    *,
    grid: tuple[int, int] | None = None,
    seed: int = 0,
    batch_size: int = 256,
    precision: Precision = "float32",
    extras: Mapping[str, Any] | None = None,
) -> Bank:
    """Evaluate the masks of ``requests``, each once, plus one forward pass per clean image.

    Args:
        classifier: frozen model in evaluation mode.
        images: (B, C, H, W) in [0, 1].
        targets: (B,) int64, the explained classes.
        image_ids: B different names; with ``seed`` they key the random sets.
        requests: mask sets with their fills.
        grid: rows and columns of the maps that will be scored (default: the classifier's patches).
        seed: the study's seed.
        batch_size: maximum number of images in a forward pass; halved when memory runs out.
        precision: of the forward passes.
        extras: further inputs of fills, see :class:`~vitfaith.metrics.context.ScoreContext`.

    Raises:
        InputError: an argument has a wrong shape or range, or a mask set does not fit the grid.
    """
    device = classifier.mean.device
    images = images.to(device, torch.float32)
    classifier.check_images(images)
    if not len(images) == len(targets) == len(image_ids) == len(set(image_ids)):
        raise InputError(
            f"images ({len(images)}), targets ({len(targets)}) and different image_ids must agree in number"
        )
    rows, columns = classifier.grid if grid is None else grid
    nothing = images.new_zeros(len(images), 0, rows, columns)
    context = ScoreContext(
        classifier,
        images,
        targets.long().to(device),
        tuple(image_ids),
        (),
        nothing,
        nothing[:, :, 0, 0].bool(),
        seed,
        extras=dict(extras or {}),
    )
    answers = Engine(context, batch_size, precision).answer([Clean(), *requests])
    return Bank(
        seed,
        (rows, columns),
        tuple(image_ids),
        targets.long().cpu(),
        each(answers[Clean()], torch.Tensor.cpu),
        {request.key: each(by_image(answers[request], len(images)), torch.Tensor.cpu) for request in requests},
    )

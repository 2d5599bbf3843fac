"""The prediction table of a condition: mean probabilities and votes over noise samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor


def prediction_table(
    image_ids: Sequence[str], labels: NDArray[np.integer], targets: NDArray[np.integer], probabilities: Tensor
) -> pa.Table:
    """Rows of schema PREDICTIONS.

    Args:
        labels, targets: (B,) integer classes.
        probabilities: (B, S, K) of S noise samples (1 without smoothing).
    """
    mean = probabilities.double().mean(1)
    classes = probabilities.shape[-1]
    votes = torch.nn.functional.one_hot(probabilities.argmax(-1), classes).sum(1)
    target = torch.as_tensor(np.asarray(targets, np.int64))
    return pa.table(
        {
            "image_id": pa.array(list(image_ids)),
            "label": pa.array(labels),
            "target": pa.array(targets),
            "prediction": pa.array(mean.argmax(1).numpy()),
            "target_probability": pa.array(mean.gather(1, target[:, None])[:, 0].float().numpy()),
            "probabilities": pa.array(list(mean.float().numpy())),
            "votes": pa.array(list(votes.int().numpy())),
            "samples": pa.array(np.full(len(mean), probabilities.shape[1])),
        }
    )

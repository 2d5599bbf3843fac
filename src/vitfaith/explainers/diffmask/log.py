"""The log of a training, which the figure ``diffmask_training`` reads."""

from __future__ import annotations

import pyarrow as pa

LOG = pa.schema(
    [
        pa.field("step", pa.int32(), nullable=False),
        pa.field("images", pa.int64(), nullable=False),
        *(
            pa.field(name, pa.float32(), nullable=False)
            for name in ("kl", "kept_share", "objective", "multiplier", "agreement", "gradient_norm")
        ),
        *(pa.field(name, pa.float32()) for name in ("test_kl", "test_kept_share", "test_agreement")),
    ]
)
"""One row every ``log_every`` steps; see :func:`vitfaith.explainers.diffmask.train.train_diffmask`."""

"""Certified radii of predictions and maps behind a smoothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from vitfaith.api.inputs import Target
from vitfaith.api.items import Choices, items_of
from vitfaith.api.smooth import Smoothed
from vitfaith.artifacts.schemas import CERTIFICATES as ROWS
from vitfaith.certificates.norms import check_noise
from vitfaith.certificates.radii.votes import Samples, Votes
from vitfaith.errors import ConfigError
from vitfaith.noise import certified_noise
from vitfaith.smoothings.registry import certified_sigma

if TYPE_CHECKING:
    from pandas import DataFrame


def certify(
    smoothed: Smoothed,
    certificates: Choices,
    *,
    explainers: Choices = (),
    target: Target = "prediction",
    labels: Tensor | Sequence[int] | None = None,
) -> DataFrame:
    """Radii within which the prediction, or the most important patches of a map, cannot change.

    Args:
        smoothed: from :func:`vitfaith.smooth`; useful radii need hundreds of samples.
        certificates: names from the section certificates, in the form of ``explainers`` of :func:`vitfaith.explain`.
        explainers: the explainers whose maps are certified; certificates of the prediction need none.
        target, labels: see :meth:`vitfaith.Smoothed.explain`.

    Returns:
        One row for each image, method, certificate, k and β: the columns of schema CERTIFICATES (docs/columns.md), such as
        radius (l2) and linf, both in [0, 1] pixel units, 0 where nothing is certified.

    Raises:
        ConfigError: unknown certificate or wrong settings, too few samples, a smoothing that no certificate covers, or
            noise for which a certificate does not hold.

    Source: each certificate's own (:func:`vitfaith.describe`); docs/certificates.md.

    Example:
        >>> import timm, torch, vitfaith as vf
        >>> network = timm.create_model("vit_tiny_patch16_224", img_size=28, patch_size=4, in_chans=1, depth=1, num_classes=10)
        >>> model = vf.wrap(network, mean=[0.5], std=[0.5])
        >>> denoiser = vf.load_denoiser("vitfaith:denoisers/fashion_mnist")
        >>> smoothed = vf.smooth(model, torch.rand(1, 1, 28, 28), "dds", denoiser=denoiser, sigma=0.25, samples=30)
        >>> vf.certify(smoothed, ("cohen", {"selection": 10}))["certificate"].tolist()
        ['cohen']
    """
    items = items_of("certificates", certificates)
    sigma = certified_sigma(smoothed.smoothing.parameters)
    if sigma is None:
        raise ConfigError(f"no certificate stands on smoothing '{smoothed.smoothing.id}' with these settings")
    noise = certified_noise(smoothed.smoothing.parameters)
    for item in items.values():
        check_noise(f"certificates.{item.id}", item.entry, noise)
    table = smoothed.predict(target=target, labels=labels)
    votes = Votes(
        smoothed.image_ids,
        table["label"].to_numpy(),
        np.stack(table["sample_predictions"].to_list()).astype(np.int64),
        np.stack(table["probabilities"].to_list()).astype(np.float64),
    )
    dimensions = smoothed.samples[0, 0].numel()
    alone = Samples(votes, sigma, dimensions, smoothed.seed, noise=noise)
    parts = [alone]
    if explainers:
        targets = torch.tensor(table["target"].to_numpy())  # found once, from the passes of the prediction
        maps = smoothed.explain(explainers, target=targets)
        parts += [
            replace(alone, method=method, maps=one.flatten(2).numpy(), shared={})
            for method, one in maps.sample_maps.items()
        ]
    rows = [
        row for part in parts for item in items.values() for row in item.implementation(item.id, item.parameters, part)
    ]
    return pa.concat_tables([ROWS.empty_table(), *rows]).to_pandas()

"""The attribute stage: maps of one family of explainers on a shard, smoothed over denoised samples where asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitfaith.artifacts.attacked import read_images
from vitfaith.artifacts.maps import RAW_MEAN, SAMPLES, raw_mean
from vitfaith.artifacts.provenance import provenance
from vitfaith.artifacts.samples import read_denoised
from vitfaith.artifacts.schemas import CERTIFIED_MAPS, MAPS, SMOOTHED_MAPS, WITHOUT_PIXELS
from vitfaith.artifacts.store import read_table, write_table
from vitfaith.artifacts.targets import explained_targets
from vitfaith.artifacts.tensors import image_tensor
from vitfaith.explainers.explain import check_files, explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.map_values import map_flags, tied_share
from vitfaith.models.facts import facts_of_passes
from vitfaith.models.load import job_classifier
from vitfaith.models.passes import PassCounter
from vitfaith.smoothings.aggregate import aggregate_maps
from vitfaith.smoothings.registry import SMOOTHINGS, map_aggregation
from vitfaith.transfer import upload


def map_table(
    image_ids: Sequence[str],
    method: str,
    targets: Tensor,
    maps: Tensor,
    spread: Tensor | None,
    sampled: Tensor | None = None,
    *,
    keep_samples: bool = True,
) -> pa.Table:
    """Rows of schema MAPS for one method; ``maps`` is (B, rows, columns) float32 on the CPU.

    With ``sampled``, the raw maps (S, B, rows, columns) of the noise samples, rows of schema CERTIFIED_MAPS: every
    certificate can be computed from them without a network. Without ``keep_samples`` only their mean is kept (schema
    SMOOTHED_MAPS).
    """
    count, rows, columns = maps.shape
    table = pa.table(
        {
            "image_id": pa.array(list(image_ids)),
            "method": pa.array([method] * count),
            "target": pa.array(targets.cpu().numpy()),
            "rows": pa.array(np.full(count, rows)),
            "columns": pa.array(np.full(count, columns)),
            "map": _lists(maps.numpy()),
            "spread": pa.nulls(count, pa.list_(pa.float32())) if spread is None else _lists(spread.numpy()),
            "samples": pa.array(np.full(count, 1 if sampled is None else len(sampled))),
            "flag": pa.array(map_flags(maps.numpy())),
            "tied": pa.array(tied_share(maps.numpy())),
        }
    )
    if sampled is None:
        return table
    each = sampled.transpose(0, 1).contiguous().numpy()
    table = table.append_column(RAW_MEAN, _lists(raw_mean(each)))
    return table.append_column(SAMPLES, _lists(each)) if keep_samples else table


def _lists(maps: NDArray[np.float32]) -> pa.Array:
    return pa.array(list(maps.reshape(len(maps), -1)), pa.list_(pa.float32()))


def run_attribute(
    spec: Mapping[str, Any],
    code: str,
    images: Path,
    denoised: Path | None,
    weights: Path | None,
    out: Path,
    *,
    pixels: Path | None = None,
    predictions: Path | None = None,
    device: str,
    batch_size: int,
) -> None:
    """Explain one shard with every method of ``spec['methods']`` (one family, one shared pass where possible).

    Args:
        pixels: the shard of these images; needed where ``images`` refers to it (:func:`~vitfaith.artifacts.attacked.read_images`).
        predictions: what decides the classes that ``spec['explained']`` means, see
            :func:`~vitfaith.artifacts.targets.explained_targets`.

    Behind a smoothing the raw mean is written beside the map, and with ``spec['sample_maps']`` the map of each sample.

    Raises:
        InputError: the model does not have an explained class.
    """
    table = read_images(images, pixels) if denoised is None else read_table(images, WITHOUT_PIXELS)
    ids = table.column("image_id").to_pylist()
    classifier = job_classifier(spec["model"], weights, device)
    precision = spec.get("precision", "float32")
    targets = explained_targets(spec, table, predictions, device)
    classifier.check_targets(targets, len(ids))
    methods = EXPLAINERS.from_specs(spec["methods"])
    check_files(classifier, methods)

    def explain_sample(batch: Tensor, sample: int) -> dict[str, Tensor]:
        return explain(
            classifier,
            batch,
            targets,
            ids,
            methods,
            seed=spec["seed"],
            batch_size=batch_size,
            sample=sample,
            precision=precision,
        )

    parts, schema = [], MAPS
    with PassCounter(classifier.backbone) as passes:
        if denoised is None:
            maps = explain_sample(image_tensor(table, str(images), device), 0)
            parts = [map_table(ids, m, targets, maps[m], None) for m in methods]
        else:
            cache = torch.from_numpy(read_denoised(denoised, ids).copy())  # PyTorch takes no read-only memory
            samples = cache.shape[1]
            per_sample = [explain_sample(upload(cache[:, s], device).float(), s) for s in range(samples)]
            smoothing = SMOOTHINGS.from_spec(spec["smoothing"])
            schema, keep = (CERTIFIED_MAPS, True) if spec.get(SAMPLES) else (SMOOTHED_MAPS, False)
            for id_ in methods:
                stacked = torch.stack([maps[id_] for maps in per_sample])
                mean, spread = aggregate_maps(stacked, map_aggregation(smoothing.parameters))
                parts.append(map_table(ids, id_, targets, mean, spread, stacked, keep_samples=keep))
    facts = provenance(
        "attribute",
        spec,
        code,
        **facts_of_passes(classifier, device, precision, forwards=passes.forwards, backwards=passes.backwards),
    )
    write_table(pa.concat_tables(parts), out, schema, facts)

"""Keeping the answers of the response bank, as a table that later explainers of the same condition read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from vitfaith.errors import ArtifactError, InputError
from vitfaith.lazy import torch
from vitfaith.score.bank import FIELDS, BankRequest, by_image, each
from vitfaith.score.plan import Clean

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.models.classifier import Classifier
    from vitfaith.score.metrics.base import Response, ScoreContext

BANK = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("target", pa.int32(), nullable=False),
        pa.field("masks", pa.string(), nullable=False),  # "clean", "singles", "cells(4)", "subsets(…)"
        pa.field("fill", pa.string(), nullable=False),  # empty for "clean"
        pa.field("step", pa.int32(), nullable=False),  # index of the mask; masks follow from (seed, image_id, masks)
        pa.field("probability", pa.float64(), nullable=False),  # of the target class
        pa.field("log_probability", pa.float64(), nullable=False),
        pa.field("kl", pa.float64(), nullable=False),  # KL(clean distribution ‖ this one), nats
        pa.field("prediction", pa.int32(), nullable=False),
    ]
)
"""One row per (image, mask); the schema's metadata hold ``seed``, ``rows`` and ``columns``."""


@dataclass(frozen=True)
class Bank:
    """Answers kept for the images of one condition.

    Attributes:
        seed, grid: what the masks follow from, with the image ids.
        image_ids: B names.
        targets: (B,) int64, the class that the probabilities are of.
        clean: response to the images themselves, (B,).
        responses: (masks, fill) as text → response (B, S), on the CPU.
    """

    seed: int
    grid: tuple[int, int]
    image_ids: tuple[str, ...]
    targets: Tensor
    clean: Response
    responses: Mapping[tuple[str, str], Response]

    def rows(self, context: ScoreContext) -> list[int] | None:
        """Where the images of ``context`` are, or None when the bank was made for others, another grid or seed.

        Raises:
            InputError: the bank explains another class of one of these images.
        """
        place = {image: row for row, image in enumerate(self.image_ids)}
        if (self.seed, self.grid) != (context.seed, tuple(context.maps.shape[2:])):
            return None
        if not all(image in place for image in context.image_ids):
            return None
        rows = [place[image] for image in context.image_ids]
        differs = self.targets[rows] != context.targets.cpu()
        if bool(differs.any()):
            image = context.image_ids[int(differs.nonzero()[0])]
            raise InputError(f"the response bank explains another class of image '{image}'; build it again")
        return rows

    def find(self, request: BankRequest | Clean, context: ScoreContext) -> Response | None:
        """Response (B, S), or (B,) for ``Clean``, to a request for the images of ``context``, or None if not kept."""
        kept = self.clean if isinstance(request, Clean) else self.responses.get(request.key)
        rows = self.rows(context) if kept is not None else None
        if kept is None or rows is None:
            return None
        return each(kept, lambda column: column[rows].to(context.images.device))

    def to_table(self) -> pa.Table:
        """Rows of the schema :data:`BANK`."""
        parts = {("clean", ""): each(self.clean, lambda column: column[:, None])}
        parts.update(self.responses)
        metadata = {"seed": str(self.seed), "rows": str(self.grid[0]), "columns": str(self.grid[1])}
        schema = BANK.with_metadata(metadata)
        tables = []
        for (masks, fill), response in parts.items():
            count, steps = response.probability.shape
            columns = {
                "image_id": np.repeat(np.asarray(self.image_ids, dtype=object), steps),
                "target": np.repeat(self.targets.numpy(), steps).astype(np.int32),
                "masks": pa.repeat(masks, count * steps),
                "fill": pa.repeat(fill, count * steps),
                "step": np.tile(np.arange(steps, dtype=np.int32), count),
                **{name: getattr(response, name).flatten().numpy() for name in FIELDS},
            }
            columns["prediction"] = columns["prediction"].astype(np.int32)
            tables.append(pa.table(columns, schema=schema))
        return pa.concat_tables(tables)

    @classmethod
    def from_table(cls, table: pa.Table, source: str = "response bank") -> Bank:
        """The bank that :meth:`to_table` wrote; rows may come in any order.

        Raises:
            ArtifactError: the columns or metadata are others, or the masks of an image are incomplete; the text begins
                with ``source``.
        """
        from vitfaith.score.metrics.base import Response

        metadata = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        missing = [name for name in BANK.names if name not in table.column_names]
        missing += [name for name in ("seed", "rows", "columns") if name not in metadata]
        if missing:
            raise ArtifactError(f"{source} lacks '{missing[0]}'; build it again")
        frame = table.select(BANK.names).to_pandas()
        clean = frame[frame.masks == "clean"].sort_values("image_id")
        ids = tuple(clean.image_id)
        if not ids:
            raise ArtifactError(f"{source} has no rows of the clean images; build it again")
        responses = {}
        for (masks, fill), part in frame.groupby(["masks", "fill"], sort=False):
            part = part.sort_values(["image_id", "step"])
            steps = int(part.step.max()) + 1
            expected = [(image, step) for image in ids for step in range(steps)]
            if list(zip(part.image_id, part.step, strict=True)) != expected:
                raise ArtifactError(f"{source}: rows of '{masks}' with fill '{fill}' are incomplete; build it again")
            shape = (len(ids), steps)
            responses[str(masks), str(fill)] = Response(
                **{name: torch.from_numpy(part[name].to_numpy().reshape(shape).copy()) for name in FIELDS[:3]},
                prediction=torch.from_numpy(part.prediction.to_numpy(dtype=np.int64).reshape(shape).copy()),
            )
        first = responses.pop(("clean", ""))
        return cls(
            seed=int(metadata["seed"]),
            grid=(int(metadata["rows"]), int(metadata["columns"])),
            image_ids=ids,
            targets=torch.from_numpy(clean.target.to_numpy(dtype=np.int64).copy()),
            clean=each(first, lambda column: column[:, 0]),
            responses=responses,
        )


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
) -> Bank:
    """Evaluate the masks of ``requests``, each once, with one more forward for each clean image.

    Args:
        classifier: frozen model in evaluation mode.
        images: (B, C, H, W) in [0, 1].
        targets: (B,) int64, the explained classes.
        image_ids: B different names; with ``seed`` they key the random sets.
        requests: mask sets with their fills.
        grid: rows and columns of the maps that will be scored (default: the classifier's patches).
        seed: the study's seed.
        batch_size: most images in a forward pass; halved when memory runs out.

    Raises:
        InputError: an argument has a wrong shape or range, or a mask set does not fit the grid.
    """
    from vitfaith.score.engine import Engine
    from vitfaith.score.metrics.base import ScoreContext

    device = classifier.mean.device
    images = images.to(device, torch.float32)
    classifier.check_images(images)
    if not len(images) == len(targets) == len(image_ids) == len(set(image_ids)):
        raise InputError(
            f"images ({len(images)}), targets ({len(targets)}) and different image_ids must agree in number"
        )
    rows, columns = classifier.grid if grid is None else grid
    nothing = torch.zeros(len(images), 0, rows, columns, device=device)
    context = ScoreContext(
        classifier,
        images,
        targets.long().to(device),
        tuple(image_ids),
        (),
        nothing,
        nothing[:, :, 0, 0].bool(),
        seed,
    )
    answers = Engine(context, batch_size).answer([Clean(), *requests])
    return Bank(
        seed,
        (rows, columns),
        tuple(image_ids),
        targets.long().cpu(),
        each(answers[Clean()], torch.Tensor.cpu),
        {request.key: each(by_image(answers[request], len(images)), torch.Tensor.cpu) for request in requests},
    )

"""The responses of the bank as a table, which later explainers of the same condition read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vitfaith.artifacts.store import read_table
from vitfaith.errors import ArtifactError, InputError
from vitfaith.lazy import np, pa, torch
from vitfaith.metrics.bank.masks import FIELDS, BankRequest, each
from vitfaith.metrics.context import Response
from vitfaith.metrics.engine.requests import Clean

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.metrics.context import ScoreContext


@dataclass(frozen=True)
class Bank:
    """Responses for the images of one condition.

    Attributes:
        seed, grid: they determine the masks, together with the image ids.
        image_ids: B names.
        targets: (B,) int64, the class of the probabilities.
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
        """Rows of the images of ``context``; None if the bank is for other images, another grid or another seed.

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
        """Response (B, S), or (B,) for ``Clean``, to a request for the images of ``context``, or None if the bank lacks it."""
        kept = self.clean if isinstance(request, Clean) else self.responses.get(request.key)
        rows = self.rows(context) if kept is not None else None
        if kept is None or rows is None:
            return None
        return each(kept, lambda column: column[rows].to(context.images.device))

    def to_table(self) -> pa.Table:
        """Rows of the schema ``BANK``."""
        from vitfaith.artifacts.schemas import BANK

        parts = {("clean", ""): each(self.clean, lambda column: column[:, None])}
        parts.update(self.responses)
        tables = []
        for (masks, fill), response in parts.items():
            count, steps = response.probability.shape
            total = count * steps
            columns = {
                "image_id": np.repeat(np.asarray(self.image_ids, dtype=object), steps),
                "target": np.repeat(self.targets.numpy(), steps).astype(np.int32),
                "masks": pa.repeat(masks, total),
                "fill": pa.repeat(fill, total),
                "step": np.tile(np.arange(steps, dtype=np.int32), count),
                "seed": pa.repeat(pa.scalar(self.seed, pa.int64()), total),
                "rows": pa.repeat(pa.scalar(self.grid[0], pa.int16()), total),
                "columns": pa.repeat(pa.scalar(self.grid[1], pa.int16()), total),
                **{name: getattr(response, name).flatten().numpy() for name in FIELDS},
            }
            columns["prediction"] = columns["prediction"].astype(np.int32)
            tables.append(pa.table(columns, schema=BANK))
        return pa.concat_tables(tables)

    @classmethod
    def from_table(cls, table: pa.Table, source: str = "response bank") -> Bank:
        """The bank that :meth:`to_table` wrote; rows may come in any order.

        Raises:
            ArtifactError: a column is missing, rows of several seeds or grids are mixed, or the masks of an image are
                incomplete; the text begins with ``source``.
        """
        from vitfaith.artifacts.schemas import BANK

        missing = [name for name in BANK.names if name not in table.column_names]
        if missing:
            raise ArtifactError(f"{source} lacks '{missing[0]}'; build it again")
        frame = table.select(BANK.names).to_pandas()
        clean = frame[frame.masks == "clean"].sort_values("image_id")
        ids = tuple(clean.image_id)
        if not ids:
            raise ArtifactError(f"{source} has no rows of the clean images; build it again")
        keys = frame[["seed", "rows", "columns"]].drop_duplicates()
        if len(keys) > 1:
            raise ArtifactError(f"{source} mixes several seeds or grids; build it again")
        seed, rows, columns = (int(value) for value in keys.iloc[0])
        responses = {}
        for (masks, fill), part in frame.groupby(["masks", "fill"], sort=False):
            part = part.sort_values(["image_id", "step"])
            steps = int(part.step.max()) + 1
            expected = [(image, step) for image in ids for step in range(steps)]
            if list(zip(part.image_id, part.step, strict=True)) != expected:
                raise ArtifactError(f"{source}: rows of '{masks}' with fill '{fill}' are incomplete; build it again")
            answers = {name: torch.from_numpy(part[name].to_numpy().reshape(len(ids), steps).copy()) for name in FIELDS}
            answers["prediction"] = answers["prediction"].long()
            responses[str(masks), str(fill)] = Response(**answers)
        first = responses.pop(("clean", ""))
        return cls(
            seed=seed,
            grid=(rows, columns),
            image_ids=ids,
            targets=torch.from_numpy(clean.target.to_numpy(dtype=np.int64).copy()),
            clean=each(first, lambda column: column[:, 0]),
            responses=responses,
        )


def read_bank(path: Path, image_ids: list[str], grid: tuple[int, int], seed: int) -> Bank:
    """The bank in ``path``, made for these images, this grid and seed.

    Raises:
        ArtifactError: the bank is incomplete, or is for other images, another grid or another seed.
    """
    from vitfaith.artifacts.schemas import BANK

    bank = Bank.from_table(read_table(path, BANK), f"'{path}'")
    if (bank.seed, bank.grid) != (seed, grid) or not set(image_ids) <= set(bank.image_ids):
        raise ArtifactError(
            f"'{path}' holds responses for other images, another seed or another grid than the maps; delete it and run again"
        )
    return bank

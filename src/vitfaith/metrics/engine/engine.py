"""The perturbation engine: every forward pass of the scoring stage, in full batches.

All requests of all metrics become one stream of jobs (image × method × step). Batches are cut from that stream without
regard to the ends of requests, so only the last batch is smaller. The content of the stream is decided by comparing
integers before anything is computed: equal images are evaluated once; clean and fully removed images once per image.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import vitfaith.metrics.fills  # noqa: F401  (fills are found by name: this makes all of them part of the code's fingerprint)
from vitfaith.errors import InputError
from vitfaith.metrics.context import Request, Response, ScoreContext, Segment
from vitfaith.metrics.engine.ranking import Ranking, ranking_of
from vitfaith.metrics.engine.requests import Clean, Curve, Features, Full, Groups, Interval
from vitfaith.metrics.engine.segments import CleanSegment, FullSegment, IntervalSegment
from vitfaith.metrics.fills.placeholder import PLACEHOLDER_EXTRA, marked_patches
from vitfaith.metrics.fills.registry import prepare_fill
from vitfaith.models.fast.class_token import class_token_alone
from vitfaith.models.fast.linear import quick_linear_layers
from vitfaith.models.memory import BatchSize, in_batches
from vitfaith.models.precision import Precision, forward_precision
from vitfaith.registry import Item
from vitfaith.transfer import upload

if TYPE_CHECKING:
    from vitfaith.metrics.fills.registry import Imputer


class Preparation:
    """Rankings and fill values of one context, each computed once; segments may share them."""

    def __init__(self, context: ScoreContext) -> None:
        """``context``: the batch to score."""
        self.context = context
        self._fills: dict[Item, Tensor | Imputer] = {}

    def ranking(self, features: Features) -> Ranking:
        """The ranking of ``features``."""
        return ranking_of(self.context, features)

    def filling(self, fill: Item) -> Tensor | Imputer:
        """The values of ``fill``."""
        if fill not in self._fills:
            self._fills[fill] = prepare_fill(fill, self.context)
        return self._fills[fill]


@dataclass
class Merged:
    """All interval requests for one kind of features and one fill.

    Attributes:
        image, low, high: (U,) the distinct intervals, by image.
        row: for each request, (B, S) index into these; −1 is padding.
    """

    image: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    total: NDArray[np.int64]
    row: dict[Interval, NDArray[np.int64]]

    @property
    def is_clean(self) -> NDArray[np.bool_]:
        """Rows that remove nothing."""
        return self.low == self.high

    @property
    def is_full(self) -> NDArray[np.bool_]:
        """Rows that remove everything."""
        return (self.low == 0) & (self.high == self.total)


def merge(requests: Sequence[Interval], totals: Sequence[int], image_ids: Sequence[str], seed: int) -> Merged:
    """Distinct intervals of ``requests`` for the images ``image_ids`` of ``totals`` features each."""
    base = max(totals) + 1
    codes = []
    for request in requests:
        low, high = request.intervals(totals, image_ids, seed)
        image, empty = np.arange(len(totals))[:, None], low == high
        # Every empty interval is the clean image, whatever its position.
        code = (image * base + np.where(empty, 0, low)) * base + np.where(empty, 0, high)
        codes.append(np.where(high < 0, -1, code))
    flat = np.concatenate([code.ravel() for code in codes])
    distinct = np.unique(flat[flat >= 0])
    image, interval = np.divmod(distinct, base * base)
    low, high = np.divmod(interval, base)
    rows = {
        request: np.where(code < 0, -1, np.searchsorted(distinct, code))
        for request, code in zip(requests, codes, strict=True)
    }
    return Merged(image, low, high, np.asarray(totals, dtype=np.int64)[image], rows)


class Engine:
    """Runs requests of one context through its classifier.

    Attributes:
        limit: maximum number of images at once; halved permanently when memory runs out.
        forwards: images that went through the classifier so far.
    """

    def __init__(self, context: ScoreContext, batch_size: int, precision: Precision = "float32") -> None:
        """Raises :class:`InputError` for a batch size below 1 or a classifier in training mode."""
        if context.classifier.training:
            raise InputError(
                "the classifier is in training mode, where results depend on the batch; call freeze() first"
            )
        self.context, self.limit, self.forwards, self.precision = context, BatchSize(batch_size), 0, precision
        self.preparation = Preparation(context)

    @cached_property
    def _dtype(self) -> torch.dtype:
        parameter = next(self.context.classifier.parameters(), None)
        return torch.float32 if parameter is None else parameter.dtype

    def answer(self, requests: Iterable[Request | Interval | Clean | Full]) -> dict[object, Response]:
        """Responses to ``requests``; each request is evaluated once."""
        wanted = list(dict.fromkeys(requests))
        if not wanted:
            return {}
        placeholder = self.context.extras.get(PLACEHOLDER_EXTRA)
        with (
            torch.inference_mode(),
            class_token_alone(self.context.classifier),
            quick_linear_layers(self.context.classifier),
            marked_patches(self.context.classifier, placeholder),
        ):
            return self._answer(wanted)

    def _answer(self, wanted: Sequence[Request | Interval | Clean | Full]) -> dict[object, Response]:
        context, preparation = self.context, self.preparation
        merged: dict[tuple[Features, Item], Merged] = {}
        for key in dict.fromkeys((r.features, r.fill) for r in wanted if isinstance(r, Curve | Groups)):
            same = [r for r in wanted if isinstance(r, Curve | Groups) and (r.features, r.fill) == key]
            merged[key] = merge(same, preparation.ranking(key[0]).totals, context.image_ids, context.seed)

        stream: dict[object, Segment] = {Clean(): CleanSegment(context.images)}
        for fill in dict.fromkeys(
            [r.fill for r in wanted if isinstance(r, Full)] + [key[1] for key, m in merged.items() if m.is_full.any()]
        ):
            stream[Full(fill)] = FullSegment(context.images, preparation.filling(fill))
        jobs = {key: self._jobs(key, part) for key, part in merged.items()}
        stream.update({key: segment for key, (segment, _) in jobs.items()})
        others = [r for r in wanted if not isinstance(r, Curve | Groups | Clean | Full)]
        stream.update({request: request.segment(context) for request in others})

        flat = dict(zip(stream, self._run(list(stream.values())), strict=True))
        responses: dict[object, Response] = {key: value for key, value in flat.items() if key not in merged}
        for key, part in merged.items():
            table = self._table(part, flat[key], jobs[key][1], flat[Clean()], flat.get(Full(key[1])))
            for request, rows in part.row.items():
                responses[request] = self._select(table, part, rows)
        return responses

    def _jobs(self, key: tuple[Features, Item], part: Merged) -> tuple[IntervalSegment, NDArray[np.int64]]:
        """Interior intervals × usable maps, map by map, and the place of each job in the flattened (U, M) table."""
        usable = self.context.usable.cpu().numpy()
        inner = np.flatnonzero(~part.is_clean & ~part.is_full)
        row, method = np.nonzero(usable[part.image[inner]])
        row = inner[row]
        order = np.lexsort((row, method, part.image[row]))
        row, method = row[order], method[order]
        ranking, filling = self.preparation.ranking(key[0]), self.preparation.filling(key[1])
        segment = IntervalSegment(
            self.context, ranking, filling, part.image[row], method, part.low[row], part.high[row]
        )
        return segment, row * usable.shape[1] + method

    def _table(
        self, part: Merged, inner: Response, places: NDArray[np.int64], clean: Response, full: Response | None
    ) -> Response:
        """Response to every distinct interval and method, (U + 1, M); the last row is padding."""
        device, methods = self.context.images.device, len(self.context.methods)
        at = upload(torch.from_numpy(places), device)
        ends = [(part.is_clean, clean)] + ([(part.is_full, full)] if full is not None else [])
        columns = {}
        for name in RESPONSE_FIELDS:
            values = getattr(inner, name)
            empty = -1 if name == "prediction" else torch.nan
            table = torch.full((len(part.image) + 1, methods), empty, dtype=values.dtype, device=device)
            for chosen, end in ends:
                rows = upload(torch.from_numpy(np.flatnonzero(chosen)), device)
                image = upload(torch.from_numpy(part.image[chosen]), device)
                table[rows] = getattr(end, name)[image][:, None]
            table.view(-1)[at] = values
            columns[name] = table
        return Response(**columns)

    def _select(self, table: Response, part: Merged, rows: NDArray[np.int64]) -> Response:
        """(B, M, S) from the table's rows (B, S); NaN under unusable maps."""
        device = self.context.images.device
        index = upload(torch.from_numpy(rows), device)
        shares = np.where(rows < 0, np.nan, ((part.high - part.low) / part.total)[rows])
        fraction, usable = upload(torch.from_numpy(shares), device), self.context.usable[:, :, None]
        columns = {}
        for name in RESPONSE_FIELDS:
            values = getattr(table, name)[index].transpose(1, 2)
            columns[name] = torch.where(usable, values, -1 if name == "prediction" else torch.nan)
        return Response(**columns, fraction=fraction)

    def _run(self, segments: Sequence[Segment]) -> list[Response]:
        """One pass over the concatenated segments, the first of which must be the clean images."""
        context, device = self.context, self.context.images.device
        ends = list(accumulate(len(segment) for segment in segments))
        total = ends[-1]
        values = {name: torch.empty(total, dtype=torch.float64, device=device) for name in FLOATS}
        prediction = torch.empty(total, dtype=torch.int64, device=device)
        clean: Tensor | None = None

        def forward(start: int, stop: int) -> Tensor:
            return self._forward(_cut(segments, ends, start, stop))

        for rows, logits in in_batches(total, self.limit, forward):
            start, stop = rows.start, rows.stop
            distribution = logits.log_softmax(1)
            index = torch.cat([segment.image_index(a, b) for segment, a, b in _cut(segments, ends, start, stop)])
            if start < ends[0]:
                fresh = distribution[: ends[0] - start]
                clean = fresh if clean is None else torch.cat([clean, fresh])
            assert clean is not None
            target = context.targets[index][:, None]
            own = distribution.gather(1, target)[:, 0]
            reference = clean[index]
            terms = reference.exp() * (reference - distribution)
            # 0 · (−∞ − −∞) is NaN, but the limit is 0.
            terms = torch.where(reference.isneginf(), 0.0, terms)
            values["logit"][rows] = logits.gather(1, target)[:, 0]
            values["probability"][rows] = own.exp()
            values["log_probability"][rows] = own
            values["kl"][rows] = terms.sum(1).clamp(min=0)
            best = distribution.argmax(1)
            prediction[rows] = torch.where(own.isnan(), -1, best)
        begins = [0, *ends[:-1]]
        return [
            Response(**{name: column[a:b] for name, column in values.items()}, prediction=prediction[a:b])
            for a, b in zip(begins, ends, strict=True)
        ]

    def _forward(self, pieces: Sequence[tuple[Segment, int, int]]) -> Tensor:
        """Logits (N, K) float64 of a batch."""
        images = torch.cat([segment.build(a, b) for segment, a, b in pieces])
        with forward_precision(self.precision, images.device.type):
            logits: Tensor = self.context.classifier(images.to(self._dtype))
        self.forwards += len(images)
        return logits.double()


FLOATS = ("logit", "probability", "log_probability", "kl")
RESPONSE_FIELDS = (*FLOATS, "prediction")


def _cut(segments: Sequence[Segment], ends: Sequence[int], start: int, stop: int) -> list[tuple[Segment, int, int]]:
    """The slices of ``segments`` that jobs ``start`` … ``stop`` of the whole stream fall into."""
    pieces = []
    while start < stop:
        place = bisect_right(ends, start)
        begin = ends[place] - len(segments[place])
        end = min(stop, ends[place])
        pieces.append((segments[place], start - begin, end - begin))
        start = end
    return pieces

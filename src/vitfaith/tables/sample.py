"""The images that the page of an experiment shows: a random sample, and for it maps, predictions, scores and broken pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from vitfaith.rng import derive_seed
from vitfaith.tables.clusters import Images
from vitfaith.tables.collect import CONDITION
from vitfaith.tables.files import Place
from vitfaith.tables.grid import Grid
from vitfaith.tables.growing import texts
from vitfaith.tables.measured import Measured
from vitfaith.tables.pairs import pair_weights

MOST = 300
"""Images of a sample, over all data sets."""

Sample = Mapping[str, Sequence[str]]
"""Dataset → its sampled images in the order in which they were drawn: the first n are a random sample too."""


def draw_sample(images: Mapping[str, Images], seed: int, most: int = MOST) -> dict[str, list[str]]:
    """At most ``most`` images, as many of each dataset as it has, without replacement.

    An image's place in the draw depends on (``seed``, its id) alone.
    """
    each = max(1, most // max(1, len(images)))
    return {
        dataset: sorted(map(str, own.names), key=lambda name: derive_seed(seed, name, "sample"))[:each]
        for dataset, own in images.items()
    }


def sampled_scores(values: Measured, sample: Sequence[str]) -> pd.DataFrame:
    """One row per (image, method, metric, variant) of one condition: value, NaN where it is flagged."""
    own = values.images.names
    places = own.get_indexer(pd.Index(list(sample)))
    keys = values.ordered()
    present = values.grid.present[[number for _, number in keys]][:, places]
    which, image = np.nonzero(present)
    told = {name: [key[i] for key, _ in keys] for i, name in enumerate(values.kind.names)}
    number = np.array([number for _, number in keys], np.int64)
    columns = {
        **{name: texts([values.place[name]], np.zeros(len(which), np.int32)) for name in CONDITION},
        "image_id": texts(list(sample), image),
        **{name: texts(told[name], which) for name in ("method", "metric", "variant")},
        "value": pa.array(values.grid.fields["value"][number[which], places[image]]),
    }
    return pa.table(columns).to_pandas()


def broken_pairs(grid: Grid, place: Place, sample: Sequence[str]) -> pd.DataFrame:
    """One row per (image, method, variant): which pairs of SaCo's groups are broken.

    ``broken`` is a list of K(K − 1)/2 booleans, in the order (1, 2), (1, 3) … (2, 3) …, group 1 the most salient: whether the
    more salient group causes the smaller drop in probability (:func:`~vitfaith.tables.pairs.pair_weights`). Pairs of equal
    salience are not broken. Images on which SaCo is undefined have no row.

    Args:
        grid: of one condition, as :func:`vitfaith.tables.pairs.pairs_of` reads it.
        place: the condition.
        sample: names of images.
    """
    places = grid.images.get_indexer(pd.Index(list(sample)))
    parts = []
    for method, variant in grid.values("method", "variant"):
        steps = [number for _, number in grid.numbers(method=method, variant=variant)]
        there = grid.present[steps][:, places].all(0)
        salience, probability = (
            grid.fields[name][steps][:, places].T.astype(float) for name in ("salience", "probability")
        )
        weight, _, known = pair_weights(salience, probability)
        known &= there
        broken = weight < 0
        chosen = np.flatnonzero(known)
        names = {**place, "image_id": [str(sample[int(i)]) for i in chosen], "method": method, "variant": variant}
        rows = pd.DataFrame(names, index=range(len(chosen)))
        parts.append(rows.assign(groups=len(steps), broken=list(broken[chosen])))
    return pd.concat(parts, ignore_index=True) if parts else empty_pairs()


def empty_pairs() -> pd.DataFrame:
    """The table of :func:`broken_pairs` without rows."""
    return pd.DataFrame(columns=[*CONDITION, "image_id", "method", "variant", "groups", "broken"])

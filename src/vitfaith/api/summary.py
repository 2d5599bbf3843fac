"""Means of scores with intervals, ranks and tests; maps compared with maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
from torch import Tensor

from vitfaith.api.inputs import names_of, seed_of
from vitfaith.api.items import Choices, items_of
from vitfaith.api.maps import Maps, named_maps, tensor_of
from vitfaith.errors import InputError
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.map_values import CEILING, CHANCE
from vitfaith.metrics.registry import METRICS
from vitfaith.registry import Direction
from vitfaith.stability.compare import stability_table
from vitfaith.stability.registry import STABILITY_MEASURES
from vitfaith.statistics import against, paired_comparisons, summarise_compared
from vitfaith.statistics.precision import snapped
from vitfaith.tables.collect import CONDITION

if TYPE_CHECKING:
    from vitfaith.registry import Registry

BASELINE = "random"
"""Method that p-values refer to."""

_GROUPS = (*CONDITION, "check", "reference")


def leaderboard(
    scores: pd.DataFrame,
    *,
    by: Sequence[str] | None = None,
    directions: Mapping[str, Direction] | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean of each method by each metric, with interval, rank and p-value, on the images that all methods have.

    Args:
        scores: from :func:`vitfaith.score`, :func:`vitfaith.compare_maps` or :func:`vitfaith.read`.
        by: columns that split the table; default: the columns of a condition (dataset, model, attack, smoothing, explained …)
            that ``scores`` has.
        directions: metric → "higher", "lower" or "none", for metrics under your own ids; registered metrics have theirs.
        confidence: level of the intervals (BCa bootstrap over images, or over clusters if there is a column ``cluster``).
        resamples: number of bootstrap resamples.
        seed: seed of the bootstrap.

    Returns:
        The columns ``by``, method, metric, variant, n (images in the mean), clusters (how many of them are
        independent), flagged (images without a value), mean, low, high,
        sd, confidence, compared (whether the method has 90 % of the images), rank (1 is best; equal means share it; NA for
        diagnostics and methods that are not compared), p (Wilcoxon signed-rank against "random", Holm-adjusted over the
        methods; NaN without it), asked (images that any method has a value for), and n_own, mean_own, low_own, high_own
        over the method's own images. Best first within each metric.

    Raises:
        InputError: a column is missing, a method has two values for one image, or a metric's direction is not known.

    Source: docs/statistics.md.

    Example:
        >>> import pandas as pd, vitfaith as vf
        >>> rows = [(f"image-{i}", m, "saco", "", v * i, "") for i in range(1, 8) for m, v in (("mine", 0.1), ("random", 0.01))]
        >>> scores = pd.DataFrame(rows, columns=["image_id", "method", "metric", "variant", "value", "flag"])
        >>> board = vf.leaderboard(scores, resamples=200)
        >>> board[["method", "rank", "n"]].values.tolist()
        [['mine', 1, 7], ['random', 2, 7]]
    """
    check_frame("scores", scores)
    by = [by] if isinstance(by, str) else by
    check_directions(directions or {})
    missing = [name for name in ("image_id", "method", "metric", "variant", "value", *(by or ())) if name not in scores]
    if missing:
        raise InputError(f"scores lack the column '{missing[0]}'")
    condition = [name for name in _GROUPS if name in scores] if by is None else list(by)
    group = [*dict.fromkeys([*condition, "metric", "variant"])]
    settings: dict[str, Any] = {"confidence": confidence, "resamples": resamples, "seed": seed_of(seed)}
    tests = paired_comparisons(scores, by=group, **settings)
    board = summarise_compared(scores, by=[*group, "method"], **settings)
    told = {name: direction_of(str(name), directions or {}) for name in board["metric"].unique()}
    sign = board["metric"].map({name: {"higher": -1.0, "lower": 1.0, "none": np.nan}[told[name]] for name in told})
    bounds = board["variant"].astype(str).str.endswith((CEILING, CHANCE))  # bounds of a variant, not scores
    value = (board["mean"] * sign.astype(float)).where(board["compared"] & ~bounds)
    keys = [board[name] for name in group]
    value = value.groupby(keys, sort=False, observed=True, dropna=False).transform(
        lambda means: snapped(means.to_numpy()[:, None])[:, 0]
    )
    board["rank"] = value.groupby(keys, sort=False, observed=True, dropna=False).rank(method="min").astype("Int64")
    p = against(tests, BASELINE, group)[[*group, "method", "p_adjusted"]].rename(columns={"p_adjusted": "p"})
    p = p.astype({name: board[name].dtype for name in (*group, "method")})
    board = board.merge(p, on=[*group, "method"], how="left")
    own = ["asked", "n_own", "mean_own", "low_own", "high_own"]
    columns = ["n", "clusters", "flagged", "mean", "low", "high", "sd", "confidence", "compared", "rank", "p", *own]
    board = board.sort_values([*group, "rank", "method"], kind="stable", ignore_index=True)
    return board[[*condition, "method", *[name for name in ("metric", "variant") if name not in condition], *columns]]


def compare_maps(
    maps: Mapping[str, Tensor],
    reference: Mapping[str, Tensor],
    measures: Choices,
    *,
    image_ids: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Similarity of each map to the reference map of the same method and image.

    Args:
        maps, reference: method → (B, rows, columns), from :func:`vitfaith.explain` or yours. Methods that only one of them
            has are left out.
        measures: names from the section stability, in the form of ``explainers`` of :func:`vitfaith.explain`.
        image_ids: B names; default: the names of ``maps``, else 0, 1, 2 ….

    Returns:
        Columns image_id, method, metric (id of the measure), variant, value (NaN where flagged) and flag: "nan" or
        "constant" for such a map, "undefined", or "other class" where both are :class:`vitfaith.Maps` that explain
        different classes of an image by a method whose map depends on the class.

    Raises:
        ConfigError: unknown measure or wrong settings.
        InputError: the shapes or images of the maps differ, or no method is in both.

    Source: each measure's own (:func:`vitfaith.describe`).

    Example:
        >>> import torch, vitfaith as vf
        >>> map = torch.rand(1, 4, 4)
        >>> vf.compare_maps({"mine": map}, {"mine": 2 * map}, "cosine")["value"].round(6).tolist()
        [1.0]
    """
    named_maps(maps), named_maps(reference)
    shared = [method for method in maps if method in reference]
    if not shared:
        raise InputError(f"maps are of {sorted(maps)}, reference maps of {sorted(reference)}: no method in common")
    count = len(maps[shared[0]])
    if image_ids is not None:
        image_ids = names_of(image_ids, count)
    else:
        image_ids = maps.image_ids if isinstance(maps, Maps) else list(map(str, range(count)))
    both = isinstance(maps, Maps) and isinstance(reference, Maps)
    if both and maps.image_ids != reference.image_ids:  # type: ignore[attr-defined]
        raise InputError("maps and reference maps are of other images; explain both under the same image_ids")
    moved = (maps.target != reference.target).numpy() if both else None  # type: ignore[attr-defined]
    parts: list[pa.Table] = []
    for id_, measure in items_of("stability", measures).items():
        one, other = (_read_by(some, scale=measure.traits["scale_dependent"]) for some in (maps, reference))
        for method in shared:
            a, b = (tensor_of(f"maps['{method}']", some[method]).cpu().numpy() for some in (one, other))
            other_class = None if both and _explains_no_class(maps, method) else moved  # type: ignore[arg-type]
            parts.append(stability_table(image_ids, method, "", a, b, {id_: measure}, other_class))
    return pa.concat_tables(parts).to_pandas().drop(columns="reference")


def _explains_no_class(maps: Maps, method: str) -> bool:
    name = maps.explainers.get(method)
    return name is not None and not EXPLAINERS[name].traits["class_specific"]


def _read_by(maps: Mapping[str, Tensor], *, scale: bool) -> Mapping[str, Tensor]:
    """Behind a smoothing a measure of scale reads the means of the raw maps."""
    raw = maps.raw if scale and isinstance(maps, Maps) else None
    return maps if raw is None else raw


def check_frame(name: str, given: Any) -> None:
    """Raise :class:`InputError` unless ``given`` is a data frame."""
    if not isinstance(given, pd.DataFrame):
        raise InputError(
            f"{name} is a {type(given).__name__}; give its data frame, as vitfaith.evaluate(…).{name} is one"
        )


def check_directions(given: Any) -> None:
    """Raise :class:`InputError` unless ``given`` maps metrics to directions."""
    if not isinstance(given, Mapping):
        raise InputError(f"directions is {given!r}; give {{'metric': 'higher'}}, 'lower' or 'none'")
    for metric, direction in given.items():
        if direction not in get_args(Direction):
            raise InputError(f"directions: '{metric}' is {direction!r}; give 'higher', 'lower' or 'none'")


def direction_of(metric: str, given: Mapping[str, Direction]) -> Direction:
    """The direction of a registered metric, or as given; raises :class:`InputError` for an unknown id."""
    if metric in given:
        return given[metric]
    known: Registry
    for known in (METRICS, STABILITY_MEASURES):
        if metric in known:
            direction: Direction = known[metric].traits["direction"]
            return direction
    raise InputError(f"metric '{metric}' is your own id; give directions={{'{metric}': 'higher'}}, or 'lower'")

"""Which metric to trust: each quantity against its definition, written out."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vitfaith.errors import InputError
from vitfaith.statistics.trust import krippendorff_alpha, metric_trust

RESAMPLES = 300


def frame(values: dict[str, np.ndarray], metric: str = "m", **columns: object) -> pd.DataFrame:
    parts = [
        pd.DataFrame(
            {"method": method, "image_id": [f"i{k:03}" for k in range(len(one))], "metric": metric, "value": one}
        )
        for method, one in values.items()
    ]
    return pd.concat(parts, ignore_index=True).assign(**columns)


def scores(images: int = 40, noise: float = 1.0, seed: int = 0) -> dict[str, np.ndarray]:
    source = np.random.default_rng(seed)
    return {
        name: mean + noise * source.normal(size=images)
        for name, mean in (("a", 2), ("b", 1), ("c", 0.5), ("random", 0))
    }


def quantity(table: pd.DataFrame, name: str, other: str = "", metric: str = "m") -> pd.Series:
    chosen = table[(table.quantity == name) & (table.other == other) & (table.metric == metric)]
    assert len(chosen) == 1
    return chosen.iloc[0]


def slow_alpha(ratings: np.ndarray) -> float:
    """Krippendorff's coincidences and ordinal distances, pair by pair."""
    pooled = np.sort(ratings.ravel())

    def distance(x: float, y: float) -> float:
        low, high = min(x, y), max(x, y)
        between = ((pooled >= low) & (pooled <= high)).sum()
        return (between - ((pooled == low).sum() + (pooled == high).sum()) / 2) ** 2 if low != high else 0.0

    raters, units = ratings.shape
    observed = (
        sum(
            distance(ratings[i, u], ratings[j, u]) / (raters - 1)
            for u in range(units)
            for i, j in product(range(raters), repeat=2)
            if i != j
        )
        / ratings.size
    )
    flat = ratings.ravel()
    pairs = [distance(flat[i], flat[j]) for i, j in product(range(flat.size), repeat=2) if i != j]
    return 1 - observed / np.mean(pairs)


@pytest.mark.parametrize("seed", range(4))
def test_alpha_is_the_textbooks(seed: int) -> None:
    ratings = np.random.default_rng(seed).integers(0, 4, (5, 6)).astype(float)
    assert krippendorff_alpha(ratings) == pytest.approx(slow_alpha(ratings), abs=1e-12)


def test_alpha_of_equal_orders_is_one_and_of_chance_none() -> None:
    same = {name: np.full(30, value) for name, value in (("a", 3.0), ("b", 2.0), ("c", 1.0), ("random", 0.0))}
    assert quantity(metric_trust(frame(same), {}, resamples=RESAMPLES), "alpha").value == pytest.approx(1)
    chance = scores(400, noise=1.0)
    chance = {name: chance[name] - chance[name].mean() for name in chance}
    found = quantity(metric_trust(frame(chance), {}, resamples=RESAMPLES), "alpha")
    assert abs(found.value) < 0.03
    assert found.low < found.value < found.high


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_separation_is_the_area_under_the_curve(direction: str) -> None:
    values = {name: np.round(one, 1) for name, one in scores().items()}  # ties
    sign = -1.0 if direction == "lower" else 1.0
    table = metric_trust(frame({n: sign * v for n, v in values.items()}), {"m": direction}, resamples=RESAMPLES)
    areas = [
        np.mean([(x > y) + 0.5 * (x == y) for x in values[name] for y in values["random"]]) for name in ("a", "b", "c")
    ]
    found = quantity(table, "separation")
    assert found.value == pytest.approx(np.mean(areas), abs=1e-12)
    assert (found.methods, found.n) == (3, 40)
    # the interval is DeLong's: its width follows the variance of the influences
    u = [stats.mannwhitneyu(values[name], values["random"]).statistic / 1600 for name in ("a", "b", "c")]
    assert found.value == pytest.approx(np.mean(u))
    assert 0.05 < found.high - found.low < 0.3


def test_the_interval_of_separation_covers_at_its_level() -> None:
    truth = np.mean([stats.norm.cdf(mean / np.sqrt(2)) for mean in (2, 1, 0.5)])
    inside = 0
    for seed in range(60):
        found = quantity(metric_trust(frame(scores(60, seed=seed)), {}, resamples=RESAMPLES), "separation")
        inside += found.low <= truth <= found.high
    assert inside >= 51  # 57 expected; fewer than 51 have a chance of .4 %


def test_split_half_rises_to_one_with_images() -> None:
    few, many = (
        quantity(metric_trust(frame(scores(n, noise=4.0)), {}, resamples=50), "split_half").value for n in (10, 2000)
    )
    assert few < many
    assert many > 0.97


def test_the_order_of_another_metric_and_of_other_scores() -> None:
    values = scores(noise=0.1)
    both = pd.concat([frame(values), frame({n: -v for n, v in values.items()}, "truth")])
    swapped = {**values, "a": values["b"], "b": values["a"]}
    table = metric_trust(
        both, {"truth": "lower"}, truth=["truth"], others={"swapped": frame(swapped)}, resamples=RESAMPLES
    )
    assert quantity(table, "truth", "truth").value == 1
    assert quantity(table, "robustness", "swapped").value == pytest.approx(1 / 3)
    assert not ((table.quantity == "truth") & (table.metric == "truth")).any()


def test_clusters_widen_intervals() -> None:
    base = scores(10)
    copied = frame({name: np.repeat(one, 6) for name, one in base.items()})
    number = copied.image_id.str[1:].astype(int)
    alone = metric_trust(copied, {}, resamples=RESAMPLES)
    together = metric_trust(copied.assign(cluster=number // 6), {}, resamples=RESAMPLES)
    for name in ("separation", "alpha"):
        narrow, wide = quantity(alone, name), quantity(together, name)
        assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
        assert narrow.value == wide.value


def test_what_cannot_be_told_is_nan_and_wrong_names_are_refused() -> None:
    lonely = metric_trust(frame({"a": np.arange(5.0)}), {}, resamples=50)
    assert lonely.value.isna().all()
    with pytest.raises(InputError, match="truth names 'x', which no score is of; there are m"):
        metric_trust(frame(scores()), {}, truth=["x"])
    with pytest.raises(InputError, match="two values for an image"):
        metric_trust(pd.concat([frame(scores()), frame(scores())]), {})


def test_bounds_of_the_separation_are_chances() -> None:
    """All but one of the scores beat all random ones: bounds from the influence of the images reach beyond 1."""
    random = np.arange(8.0)
    table = metric_trust(frame({"a": np.array([9.0] * 7 + [6.5]), "random": random}), {}, resamples=RESAMPLES)
    found = quantity(table, "separation")
    assert found.value == pytest.approx((7 + 7 / 8) / 8)
    assert found.low < found.value < found.high == 1


def test_a_seed_may_be_below_zero() -> None:
    for seed in (-1, -(2**70)):
        table = metric_trust(frame(scores()), {}, seed=seed, resamples=RESAMPLES)
        assert not table.value.isna().any()

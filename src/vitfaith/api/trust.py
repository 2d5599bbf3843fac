"""Which metric to trust."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from vitfaith.api.inputs import seed_of
from vitfaith.api.summary import check_directions, check_frame, direction_of
from vitfaith.errors import InputError
from vitfaith.registry import Direction
from vitfaith.tables.trust import trust_table


def trust(
    scores: pd.DataFrame,
    *,
    truth: str | Sequence[str] = (),
    others: Mapping[str, pd.DataFrame] | None = None,
    baseline: str = "random",
    directions: Mapping[str, Direction] | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """How far each metric can be trusted: its power, its reliability, its agreement with a truth and under other choices.

    Args:
        scores: from :func:`vitfaith.score` or :func:`vitfaith.read`, with random maps among the methods.
        truth: metrics that know the truth (``localisation_auroc`` of images with masks …): agreement with these is reported.
        others: name → scores of the same methods under another choice: fill, tie key, network, model.
        baseline: method with uninformative maps.
        directions: metric → "higher", "lower" or "none" for metrics with your own ids; diagnostics are omitted.
        confidence, resamples, seed: settings of the bootstrap over images, or over clusters if there is a column ``cluster``.

    Returns:
        The columns of the condition, metric (with its variant), quantity, other, value, low, high, methods, n, confidence.
        ``quantity`` is separation (½ to 1: chance that a method's score beats one of random maps), alpha (Krippendorff's α of
        the order of methods over images), split_half (reliability of the methods' means), truth and robustness (Kendall's τ
        of the methods' means with ``other``).

    Raises:
        InputError: a column is missing, a method has two values for an image, or ``truth`` names a metric without scores.

    Source: :func:`vitfaith.statistics.trust.metric_trust` has the definitions.

    Example:
        >>> import pandas as pd, vitfaith as vf
        >>> rows = [(f"image-{i}", m, "saco", "", v + i % 3, "") for i in range(9) for m, v in (("a", 2), ("b", 1), ("random", 0))]
        >>> scores = pd.DataFrame(rows, columns=["image_id", "method", "metric", "variant", "value", "flag"])
        >>> table = vf.trust(scores, resamples=100)
        >>> table.set_index("quantity")["value"].round(2).to_dict()
        {'separation': 0.86, 'alpha': 1.0, 'split_half': 1.0}
    """
    check_directions(directions or {})
    if not isinstance(others or {}, Mapping):
        raise InputError(f"others is a {type(others).__name__}; give {{name: scores}}")
    true_metrics = [truth] if isinstance(truth, str) else truth
    if not isinstance(true_metrics, Iterable) or not all(isinstance(one, str) for one in true_metrics):
        raise InputError(f"truth is {truth!r}; give the name of a metric, or a list of names")
    frames = {"scores": scores, **{f"others['{name}']": frame for name, frame in (others or {}).items()}}
    known: dict[str, Direction] = {}
    for name, frame in frames.items():
        check_frame(name, frame)
        missing = next((one for one in ("image_id", "method", "metric", "variant", "value") if one not in frame), None)
        if missing is not None:
            raise InputError(f"{name} lack the column '{missing}'")
        known |= {metric: direction_of(metric, directions or {}) for metric in map(str, frame["metric"].unique())}
    return trust_table(
        scores, known, truth=list(true_metrics), others=others, baseline=baseline,
        confidence=confidence, resamples=resamples, seed=seed_of(seed),
    )  # fmt: skip

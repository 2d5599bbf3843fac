"""What is drawn is what the tables say: artists against numbers computed here from the raw rows."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from statsmodels.stats.multitest import multipletests

import vitfaith.figures
import vitfaith.metrics
import vitfaith.stability.measures  # noqa: F401
from tests.figures.score_tables import ATTACKS, MODELS, SMOOTHINGS
from tests.figures.test_figures import draw
from vitfaith.errors import ArtifactError, ConfigError
from vitfaith.figures.accuracy_by_condition import share_correct
from vitfaith.figures.beats_random import stars
from vitfaith.figures.drawing.data import FigureData
from vitfaith.figures.drawing.style import BASELINE_COLOUR
from vitfaith.figures.top_k_overlap import chance
from vitfaith.statistics.intervals import wilson

CLEAN = {"attack": "clean", "smoothing": "none"}


def panels(name: str, data: FigureData, **parameters: object) -> dict[str, Axes]:
    return {axes.get_title(loc="left").replace("\n", " "): axes for axes in draw(name, data, **parameters).axes}


def bars(axes: Axes) -> list[ErrorbarContainer]:
    return [c for c in axes.containers if isinstance(c, ErrorbarContainer)]


def pick(frame: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    return frame


@pytest.mark.parametrize("model", MODELS)
def test_leaderboard_is_sorted_and_marks_random(model: str, data: FigureData) -> None:
    axes = next(a for title, a in panels("saco_leaderboard", data).items() if title.startswith(model))
    scores = pick(data.scores, metric="saco", variant="k=10", model=model, **CLEAN)
    means = scores.pivot(index="image_id", columns="method", values="value").dropna().mean()
    expected = means.sort_values(ascending=False)
    drawn = sorted((c.lines[0].get_ydata()[0], c.lines[0].get_xdata()[0]) for c in bars(axes))
    np.testing.assert_allclose([x for _, x in drawn], expected, rtol=1e-12)
    labels = [t.get_text() for t in axes.get_yticklabels()]
    assert labels.index("Random") == list(expected.index).index("random")
    assert axes.get_yticklabels()[labels.index("Random")].get_color() == BASELINE_COLOUR
    band = pick(data.summary, metric="saco", variant="k=10", model=model, method="random", **CLEAN).iloc[0]
    assert (axes.patches[0].get_x(), axes.patches[0].get_x() + axes.patches[0].get_width()) == pytest.approx(
        (band.low, band.high)
    )
    assert any(line.get_xdata()[0] == 0 and line.get_ydata()[1] == 1 for line in axes.lines)
    assert "n = 61)" in axes.get_title(loc="left")


def test_lower_is_better_turns_the_leaderboard_round(data: FigureData) -> None:
    axes = next(iter(panels("saco_leaderboard", data, metric="deletion_auc").values()))
    drawn = [x for _, x in sorted((c.lines[0].get_ydata()[0], c.lines[0].get_xdata()[0]) for c in bars(axes))]
    assert drawn == sorted(drawn)
    axes = next(
        iter(panels("saco_leaderboard", data, metric="deletion_auc", directions={"deletion_auc": "higher"}).values())
    )
    drawn = [x for _, x in sorted((c.lines[0].get_ydata()[0], c.lines[0].get_xdata()[0]) for c in bars(axes))]
    assert drawn == sorted(drawn, reverse=True)


def test_method_without_a_value_is_kept_at_the_bottom(data: FigureData) -> None:
    summary = data.summary.copy()
    empty = (summary.method == "rollout") & (summary.metric == "saco")
    summary.loc[empty, ["mean", "low", "high"]] = np.nan
    summary.loc[empty, ["n", "n_own"]] = 0
    summary.loc[empty, "compared"] = False
    axes = next(iter(panels("saco_leaderboard", dataclasses.replace(data, summary=summary)).values()))
    assert axes.get_yticklabels()[-1].get_text() == "Rollout"
    assert "0 of 64" in [t.get_text() for t in axes.texts]


def test_conditions_have_their_panel_and_colour(data: FigureData) -> None:
    found = panels("saco_by_condition", data)
    assert len(found) == len(MODELS) * len(ATTACKS)
    pgd = next(a for title, a in found.items() if title.startswith("vit_patch4 · PGD"))
    for container, smoothing in zip(bars(pgd), SMOOTHINGS, strict=True):
        expected = pick(
            data.summary, metric="saco", variant="k=10", model="vit_patch4", attack="pgd", smoothing=smoothing
        ).sort_values("method")
        np.testing.assert_allclose(np.sort(container.lines[0].get_xdata()), np.sort(expected["mean"]))


def test_heat_map_cells(data: FigureData) -> None:
    axes = next(a for t, a in panels("saco_by_condition_heatmap", data).items() if t.startswith("vit_patch2"))
    grid = axes.collections[0].get_array()
    methods = [t.get_text() for t in axes.get_yticklabels()]
    conditions = [t.get_text() for t in axes.get_xticklabels()]
    row = pick(
        data.summary, metric="saco", variant="k=10", model="vit_patch2", attack="pgd", smoothing="dds", method="rollout"
    ).iloc[0]
    i, j = methods.index("Rollout"), conditions.index("PGD\nDDS")
    assert grid[i, j] == row["mean"]
    shown = next(t.get_text() for t in axes.texts if t.get_position() == (j + 0.5, i + 0.5))
    assert shown == f"{row['mean']:.2f}\n[{row.low:.2f}, {row.high:.2f}]".replace("-", "−")


def test_curves(data: FigureData) -> None:
    axes = next(a for t, a in panels("perturbation_curves", data).items() if t.startswith("vit_patch4: LeRF"))
    line = next(line for line in axes.lines if line.get_label() == "Transformer-MM")
    row = pick(data.curves, model="vit_patch4", method="transformer_mm", curve="lerf", quantity="probability", **CLEAN)
    np.testing.assert_allclose(line.get_ydata(), row.sort_values("step")["mean"])
    np.testing.assert_allclose(line.get_xdata(), 100 * np.arange(11) / 10, rtol=1e-6)
    band = axes.collections[[line.get_label() for line in axes.lines].index("Transformer-MM")]
    edges = band.get_paths()[0].get_extents()
    assert (edges.y0, edges.y1) == pytest.approx((row.low.min(), row.high.max()))


def test_finest_curve_is_the_default(data: FigureData) -> None:
    coarse = data.curves[data.curves.step.isin([0, 5, 10])].assign(variant="steps=2")
    coarse["step"] //= 5
    both = dataclasses.replace(data, curves=pd.concat([coarse, data.curves]))
    assert len(next(iter(panels("perturbation_curves", both).values())).lines[0].get_xdata()) == 11
    chosen = panels("perturbation_curves", both, variant="steps=2")
    assert len(next(iter(chosen.values())).lines[0].get_xdata()) == 3


@pytest.mark.parametrize(
    ("variant", "patches", "expected"),
    [
        ("k=0.1", None, 0.1),
        ("k=0.1", 49, 5 / 49),
        ("k=0.05", 4, 1 / 4),
        ("k=5", 49, 5 / 49),
        ("k=5", None, None),
        ("", 49, None),
    ],
)
def test_chance_level(variant: str, patches: int | None, expected: float | None) -> None:
    assert chance(variant, patches) == expected


def test_chance_level_is_the_overlap_of_random_sets() -> None:
    draw_ = np.random.default_rng(0)
    sets = [set(draw_.permutation(49)[:5]) for _ in range(4000)]
    overlap = np.mean([len(a & b) / 5 for a, b in zip(sets[::2], sets[1::2], strict=True)])
    assert chance("k=0.1", 49) == pytest.approx(overlap, abs=0.01)


def test_overlap_draws_the_chance_level(data: FigureData) -> None:
    axes = next(iter(panels("top_k_overlap", data, patches={"vit_patch2": 196, "vit_patch4": 49}).values()))
    assert [line.get_xdata()[0] for line in axes.lines if line.get_label() == "chance level"] == [20 / 196]
    axes = next(iter(panels("top_k_overlap", data, reference="undefended", variant="k=0.2").values()))
    assert "chance level" in [line.get_label() for line in axes.lines]


def test_the_chance_level_that_the_measure_has_stored_is_drawn(data: FigureData) -> None:
    summary = data.table("summary", ("variant", "mean"))
    rows = summary[(summary["metric"] == "top_k_overlap") & (summary["variant"] == "k=0.1")]
    stored = rows.assign(variant="k=0.1 chance", mean=5 / 49)
    with_levels = dataclasses.replace(data, summary=pd.concat([summary, stored], ignore_index=True))
    axes = next(iter(panels("top_k_overlap", with_levels).values()))
    (line,) = (line for line in axes.lines if line.get_label() == "chance level")
    assert line.get_xdata()[0] == pytest.approx(5 / 49)


def test_agreement_cells(data: FigureData) -> None:
    axes = next(a for t, a in panels("metric_agreement", data).items() if "vit_patch4" in t and "means" in t)
    names = [t.get_text() for t in axes.get_yticklabels()]
    i, j = names.index("AOPC"), names.index("Log-odds")
    row = pick(data.agreement, model="vit_patch4", metric="aopc", other="log_odds", level="methods").iloc[0]
    grid = axes.collections[0].get_array()
    assert (grid[j, i], grid[i, j]) == (row.kendall, row.spearman)
    assert np.ma.is_masked(grid[i, i])
    fewer = next(iter(panels("metric_agreement", data, metrics=("aopc", "saco k=10")).values()))
    assert [t.get_text() for t in fewer.get_yticklabels()] == ["AOPC", "SaCo k=10"]
    with pytest.raises(ConfigError, match="no metric 'saco'"):
        draw("metric_agreement", data, metrics=("aopc", "saco"))


def test_beats_random_signs_and_stars(data: FigureData) -> None:
    axes = next(a for t, a in panels("beats_random", data).items() if t.startswith("vit_patch4"))
    methods = [t.get_text() for t in axes.get_yticklabels()]
    metrics = [t.get_text()[:-2] for t in axes.get_xticklabels()]
    assert "Random" not in methods
    texts = {t.get_position(): t.get_text() for t in axes.texts}
    for (method, name), (metric, shown, sign) in itertools.product(
        (("rollout", "Rollout"), ("input_x_gradient", "Input × gradient")),
        (("deletion_auc", "Deletion AUC", -1), ("aopc", "AOPC", 1)),
    ):
        scores = pick(data.scores, model="vit_patch4", metric=metric, **CLEAN).pivot(
            index="image_id", columns="method", values="value"
        )
        gain = sign * (scores[method] - scores["random"]).mean()
        against = pick(data.statistics, model="vit_patch4", metric=metric, opponent="random")
        p = dict(zip(against.method, multipletests(against.p, method="holm")[1], strict=True))[method]
        expected = f"{gain:+#.2g}".rstrip(".").replace("-", "−") + "\n" + (stars(p) or "n.s.")
        assert texts[metrics.index(shown) + 0.5, methods.index(name) + 0.5] == expected
    assert [stars(p) for p in (0.0009, 0.001, 0.01, 0.049, 0.05, float("nan"))] == ["***", "**", "*", "*", "", ""]


def test_groups_are_ordered_by_number(data: FigureData) -> None:
    axes = next(a for t, a in panels("saco_by_groups", data).items() if t.startswith("vit_patch4"))
    assert [t.get_text() for t in axes.get_xticklabels()] == ["5", "10", "20"]
    line = next(c for c in bars(axes) if c.get_label() == "Rollout")
    expected = [
        pick(data.summary, metric="saco", variant=v, model="vit_patch4", method="rollout", **CLEAN)["mean"].item()
        for v in ("k=5", "k=10", "k=20")
    ]
    np.testing.assert_allclose(line.lines[0].get_ydata(), expected)
    with pytest.raises(ConfigError, match="no variant k="):
        draw("saco_by_groups", data, metric="aopc")


def test_accuracy(data: FigureData) -> None:
    axes = next(a for t, a in panels("accuracy_by_condition", data).items() if t.startswith("vit_patch4: accuracy"))
    for container, smoothing in zip(bars(axes), SMOOTHINGS, strict=True):
        for x, attack in enumerate(("clean", "fgsm", "pgd")):
            rows = pick(data.predictions, model="vit_patch4", attack=attack, smoothing=smoothing)
            assert container.lines[0].get_ydata()[x] == (rows.prediction == rows.label).mean()


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (3, 64), (1, 2), (500, 1000)])
def test_wilson_against_statsmodels(successes: int, n: int) -> None:
    from statsmodels.stats.proportion import proportion_confint

    for confidence in (0.8, 0.95):
        expected = proportion_confint(successes, n, alpha=1 - confidence, method="wilson")
        assert wilson(successes, n, confidence) == pytest.approx(expected, abs=1e-12)


def test_critical_difference_ranks(data: FigureData) -> None:
    axes = next(a for t, a in panels("critical_difference", data).items() if t.startswith("vit_patch4"))
    wide = pick(data.scores, model="vit_patch4", metric="saco", variant="k=10", **CLEAN).pivot(
        index="image_id", columns="method", values="value"
    )
    ranks = wide.dropna().rank(axis=1, ascending=False).mean()
    texts = [t.get_text() for t in axes.texts]
    assert f"Transformer-MM  {ranks['transformer_mm']:.2f}" in texts
    assert f"{ranks['random']:.2f}  Random" in texts
    k, n = 6, 61
    assert f"CD = {2.850 * np.sqrt(k * (k + 1) / (6 * n)):.2f}" in texts  # q(0.05, 6) of Demšar 2006, table 5
    assert "n = 61, 3 left out" in axes.get_title(loc="left")


def test_ablation_square(data: FigureData) -> None:
    axes = next(a for t, a in panels("ablation_gradient_layers", data).items() if t.startswith("vit_patch4"))
    mean = pick(data.summary, metric="saco", variant="k=10", model="vit_patch4", **CLEAN).set_index("method")["mean"]
    last, every = (c.lines[0].get_ydata() for c in bars(axes))
    np.testing.assert_allclose(last, [mean["raw_attention"], mean["attention_gradcam"]])
    np.testing.assert_allclose(every, [mean["rollout"], mean["transformer_mm"]])
    with pytest.raises(ConfigError, match="four methods"):
        draw("ablation_gradient_layers", data, last_layer="rollout")
    with pytest.raises(ConfigError, match=r"no method 'rolout' \(did you mean 'rollout'"):
        draw("ablation_gradient_layers", data, all_layers="rolout")


def test_costs(data: FigureData) -> None:
    axes = next(iter(panels("cost_faithfulness", data, backward=3.0).values()))
    where = {c.get_label(): c.lines[0].get_xdata()[0] for c in bars(axes)}
    assert where["Raw attention"] == pytest.approx(4, rel=0.1)
    assert where["Input × gradient"] == pytest.approx(80, rel=0.1)
    costs = data.costs[data.costs.method != "rollout"]
    with pytest.raises(ArtifactError, match="no row for method 'rollout'"):
        draw("cost_faithfulness", dataclasses.replace(data, costs=costs))


def test_unlabelled_images_are_in_no_accuracy() -> None:
    part = pd.DataFrame({"label": [1, 2, -1, 3], "target": [1, 1, 1, 1], "prediction": [1, 1, 1, 3]})
    found = share_correct(part, "label", 0.95)
    assert (found["n"], found["flagged"], found["mean"]) == (3, 1, 2 / 3)
    assert share_correct(part, "target", 0.95)["mean"] == 3 / 4
    with pytest.raises(ConfigError, match="no image has a label"):
        share_correct(part.assign(label=-1), "label", 0.95)

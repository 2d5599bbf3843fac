"""Which metric to trust, from data frames and from folders of results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import vitfaith as vf
from vitfaith.artifacts.schemas import SCORES
from vitfaith.artifacts.store import write_table
from vitfaith.compare.trusted import unknown
from vitfaith.errors import InputError
from vitfaith.statistics.trust import metric_trust

IMAGES = [f"image-{i:02}" for i in range(30)]
PLACE = {"dataset": "d", "model": "m", "smoothing": "none", "explained": "clean_prediction"}


def scores(attack: str = "clean", seed: int = 0) -> pd.DataFrame:
    source = np.random.default_rng(seed)
    parts = []
    for metric, variant, sign in (
        ("saco", "k=10", 1),
        ("deletion_auc", "", -1),
        ("localisation_auroc", "", 1),
    ):
        for method, mean in (("a", 2.0), ("b", 1.0), ("c", 0.5), ("random", 0.0)):
            value = sign * mean + source.normal(size=len(IMAGES))
            rows = {
                "image_id": IMAGES,
                "method": method,
                "metric": metric,
                "variant": variant,
                "value": value,
                "flag": "",
            }
            parts.append(pd.DataFrame({**PLACE, "attack": attack, **rows}))
    return pd.concat(parts, ignore_index=True)


def test_each_condition_has_its_own_rows() -> None:
    both = pd.concat([scores(), scores("pgd", seed=1)])
    table = vf.trust(both, truth="localisation_auroc", resamples=100)
    assert set(table["attack"]) == {"clean", "pgd"}
    assert set(table["metric"]) == {"saco k=10", "deletion_auc", "localisation_auroc"}
    alone = vf.trust(scores(), truth="localisation_auroc", resamples=100)
    pd.testing.assert_frame_equal(table[table["attack"] == "clean"].reset_index(drop=True), alone)
    own = scores()[lambda f: f.metric == "deletion_auc"].drop(columns="variant")
    direct = metric_trust(own, {"deletion_auc": "lower"}, resamples=100)
    found = alone[(alone["metric"] == "deletion_auc") & (alone["quantity"] != "truth")]
    np.testing.assert_array_equal(found["value"], direct["value"])


def test_others_are_of_the_same_attack_under_any_name_of_the_model() -> None:
    other = pd.concat([scores(), scores("pgd", seed=1)]).assign(model="indomain")
    table = vf.trust(scores(), others={"in-domain": other}, resamples=100)
    robust = table[table["quantity"] == "robustness"]
    assert set(robust["other"]) == {"in-domain"}
    assert (robust["value"] == 1).all()


def test_the_only_variants_of_a_metric_are_compared_under_other_names() -> None:
    saco = scores()[lambda f: f.metric == "saco"]
    five = saco.assign(variant="k=5", value=saco["value"].where(saco["method"] != "a", -9.0))
    table = vf.trust(scores(), others={"groups": five}, resamples=100)
    robust = table[table["quantity"] == "robustness"].set_index("metric")
    assert list(robust.index) == ["saco k=10"]  # of a metric without scores there is no row
    assert robust.loc["saco k=10", "value"] == pytest.approx(-1 / 3)  # a, b, c against b, c, a
    both = pd.concat([scores(), saco.assign(variant="k=5")])
    table = vf.trust(both, others={"groups": five}, resamples=100)
    robust = table[table["quantity"] == "robustness"].set_index("metric")
    assert list(robust.index) == ["saco k=5"]  # with two variants, names decide


def test_a_run_without_a_shared_metric_is_refused() -> None:
    with pytest.raises(InputError, match="'fill' has no metric"):
        vf.trust(scores(), others={"fill": scores().assign(metric="aopc", variant="")}, resamples=100)


def test_the_figure_has_a_panel_for_each_quantity() -> None:
    table = vf.trust(
        scores(), truth="localisation_auroc", others={"x": scores(seed=3), "y": scores(seed=4)}, resamples=100
    )
    figure = vf.plot.trust(table)
    assert len(figure.axes) == 5
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert "SaCo (k=10)" in labels or any(label.startswith("SaCo") for label in labels)
    assert "n = 30" in figure.axes[0].get_xlabel()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["localisation_auroc", "x", "y"]
    for panel in figure.axes:
        low, high = panel.get_xlim()
        assert high > 1
        assert high - 1 == pytest.approx(0.05 * (high - low) / 1.1)


def test_another_choice_looks_the_same_whatever_the_truth_is() -> None:
    others = {"x": scores(seed=3), "y": scores(seed=4)}
    looks = []
    for truth in ((), "localisation_auroc"):
        last = vf.plot.trust(vf.trust(scores(), truth=truth, others=others, resamples=50)).axes[-1]
        looks.append([(bars.lines[0].get_color(), bars.lines[0].get_marker()) for bars in last.containers])
    assert looks[0] == looks[1]
    assert len(set(looks[0])) == 2


@pytest.mark.parametrize("methods", [["a"], ["random"], ["a", "random"], ["a", "b"]])
def test_what_is_unknown_is_drawn_and_told(methods: list[str]) -> None:
    table = vf.trust(scores()[lambda f: f.method.isin(methods)], resamples=50)
    assert len(vf.plot.trust(table).axes) == 3
    told = " ".join(unknown(table, "random"))
    assert ("separation needs scores of 'random'" in told) == (methods != ["a", "random"])
    assert ("alpha, split_half compare orders" in told) == (methods != ["a", "b"])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(vf.InputError, match="scores lack the column 'variant'"):
        vf.trust(scores().drop(columns="variant"))
    with pytest.raises(vf.InputError, match=r"others\['x'\] is a list"):
        vf.trust(scores(), others={"x": []})  # type: ignore[dict-item]
    with pytest.raises(
        vf.InputError, match="truth names 'pointing_game', which no score is of; there are deletion_auc"
    ):
        vf.trust(scores(), truth="pointing_game")
    with pytest.raises(vf.InputError, match="others is a list; give"):
        vf.trust(scores(), others=[scores()])  # type: ignore[arg-type]
    with pytest.raises(vf.InputError, match="truth is 3; give the name of a metric"):
        vf.trust(scores(), truth=3)  # type: ignore[arg-type]
    with pytest.raises(vf.InputError, match="there are no scores of a metric that ranks methods"):
        vf.trust(scores()[:0])
    with pytest.raises(vf.InputError, match="directions: 'saco' is 'up'"):
        vf.trust(scores(), directions={"saco": "up"})  # type: ignore[dict-item]
    with pytest.raises(vf.InputError, match="table is of several conditions"):
        vf.plot.trust(vf.trust(pd.concat([scores(), scores("pgd")]), resamples=50))


def test_the_command_line_gives_the_same_numbers(tmp_path: Path) -> None:
    for attack in ("clean", "pgd"):
        table = pa.Table.from_pandas(scores(attack)[["image_id", "method", "metric", "variant", "value", "flag"]])
        folder = f"dataset=d/model=m/attack={attack}/smoothing=none/explained=clean_prediction/family=f"
        metrics = {name: {"use": name} for name in ("saco", "deletion_auc", "localisation_auroc")}
        facts = {"spec": {"metrics": metrics}}
        write_table(table, tmp_path / "results/scores" / folder / "shard-000.parquet", SCORES, facts)
    asked = ["trust", "results", "--truth", "localisation_auroc", "--other", "same=results", "--resamples", "100"]
    command = [sys.executable, "-m", "vitfaith", *asked]
    done = subprocess.run([*command, "--format", "csv"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (tmp_path / "table.csv").write_text(done.stdout)
    found = pd.read_csv(tmp_path / "table.csv", keep_default_na=False, na_values=[""])
    expected = vf.trust(
        pd.concat([scores(), scores("pgd")]), truth="localisation_auroc", others={"same": pd.concat([scores(), scores("pgd")])},
        resamples=100,
    )  # fmt: skip
    np.testing.assert_allclose(found["value"], expected["value"], rtol=1e-5)
    drawn = subprocess.run(
        [*command, "--where", "attack=pgd", "--figure", "trust.png"], cwd=tmp_path, capture_output=True, text=True
    )
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "trust.png").stat().st_size > 10_000
    assert "| SaCo" in drawn.stdout or "| saco k=10 |" in drawn.stdout
    several = subprocess.run([*command, "--figure", "trust.png"], cwd=tmp_path, capture_output=True, text=True)
    assert "a figure needs one condition" in several.stderr

"""The first paragraphs of pages of findings: their counts and verdicts follow the tables, whichever way these fall."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import certified_found as certified
import findings
import indomain
import noise_findings as noise
import pandas as pd
import pytest
from certified_tables import cells_apart, compared
from findings_tables import interval, listed, share

CLEAN = {"attack": "clean", "smoothing": "none"}


def test_counts_and_lists_in_words() -> None:
    assert [share(0, 4), share(3, 4), share(4, 4), share(1, 1)] == ["none of 4", "3 of 4", "all 4", "1 of 1"]
    assert [listed([]), listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


def test_a_method_that_is_not_compared_has_no_interval_and_is_in_no_count() -> None:
    columns = ["attack", "smoothing", "method", "mean", "low", "high", "compared", "mean_own", "n_own", "asked"]
    rows = [
        ("pgd", "dds", "a", 0.9, 0.8, 1.0, True, 0.9, 64, 64),
        ("pgd", "none", "a", 0.3, 0.2, 0.4, True, 0.3, 64, 64),
        ("pgd", "dds", "b", 0.9, 0.8, 1.0, True, 0.9, 64, 64),
        ("pgd", "none", "b", float("nan"), float("nan"), float("nan"), False, 0.25, 52, 64),
    ]
    summary = pd.DataFrame(rows, columns=columns)
    assert summary.apply(interval, axis=1).tolist()[2:] == [
        "0.90 [0.80, 1.00]",
        "not compared; 0.25 on 52 of 64 images",
    ]
    assert cells_apart(summary, "dds", "none") == (1, 0, 1)
    cells = summary.assign(kind=["adaptive", "blind"] * 2, eps=[0.1, 0.1, 0.2, 0.2], smoothing="dds")
    assert [verdict for *_, verdict in compared(cells, "blind", "adaptive")] == ["higher", "not compared"]
    assert not noise.apart(["0.90 [0.80, 1.00]", "not compared; 0.25 on 52 of 64 images"])


def verdicts_of(saco: list[str], older: list[str]) -> pd.DataFrame:
    """Verdicts of SaCo on methods of one model, and of all older metrics."""
    rows = [
        ("m", f"method-{place}", metric, (saco if metric == "saco" else older)[place])
        for metric in findings.DIRECTIONS
        for place in range(len(saco))
    ]
    return pd.DataFrame(rows, columns=["model", "method", "metric", "verdict"])


@pytest.mark.parametrize(
    ("saco", "older", "words"),
    [
        (["better", "better"], ["better", "better"], ["all 2 pairs", "2 (insertion_auc)", "is not supported"]),
        (["better", "worse"], ["not distinguished", "better"], ["1 of 2", "and 1 worse", "0 (aopc)", "is supported"]),
        (["better", "not compared"], ["worse", "better"], ["1 of 1 pairs", "is supported"]),
        (["worse", "worse"], ["better", "better"], ["none of 2 pairs", "and 2 worse"]),
    ],
)
def test_older_metrics(saco: list[str], older: list[str], words: list[str]) -> None:
    text = findings.metrics_found(verdicts_of(saco, older))
    assert all(word in text for word in words), text


def test_a_verdict_needs_a_gain_in_the_sense_of_the_metric() -> None:
    rows = [("m", metric, "", "a", "random", 30, difference, p) for metric, difference, p in
            (("saco", 0.2, 0.001), ("deletion_auc", 0.2, 0.001), ("aopc", 0.2, 0.2), ("log_odds", float("nan"), float("nan")))]  # fmt: skip
    rows.append(("m", "insertion_auc", "", "a", "random", 30, 0.04, 0.001))  # a mean that few images raise
    names = ["model", "metric", "variant", "method", "opponent", "n", "difference", "p"]
    table = pd.DataFrame(rows, columns=names).assign(**CLEAN, p_adjusted=lambda f: f.p)
    table = table.assign(low=table["difference"] - 0.1, high=table["difference"] + 0.1)
    found = findings.against_random(table).set_index("metric").verdict
    assert found.to_dict() == {
        "saco": "better",
        "insertion_auc": "not distinguished",
        "deletion_auc": "worse",
        "aopc": "not distinguished",
        "log_odds": "not compared",
    }


def pairs(**differences: tuple[float, float]) -> pd.DataFrame:
    """Intervals of paired differences of SaCo for the four comparisons, in the order of EFFECTS."""
    compared = [pair for both in findings.EFFECTS.values() for pair in both]
    rows = [(*pair, *differences[name]) for pair, name in zip(compared, ("l1", "l2", "g1", "g2"), strict=True)]
    return pd.DataFrame(rows, columns=["method", "opponent", "low", "high"]).assign(**CLEAN, metric="saco", n=9)


def test_gradients_and_layers() -> None:
    up, open_, down = (0.1, 0.2), (-0.1, 0.2), (-0.2, -0.1)
    text = findings.ablation_found(pairs(l1=up, l2=up, g1=up, g2=up))
    assert text.startswith("Aggregating over all layers raises SaCo in all 2 comparisons; weighting by gradients")
    assert "holds in every" in text
    text = findings.ablation_found(pairs(l1=up, l2=open_, g1=down, g2=up))
    assert "in 1 of 2 comparisons; weighting" in text
    assert "in 1 of 2 comparisons and lowers it in 1 (" in text
    assert "does not hold in every" in text
    unknown = pairs(l1=up, l2=up, g1=up, g2=up)
    unknown.loc[3, ["n", "low", "high"]] = 0, None, None
    assert "raises SaCo in 1 of 1 comparisons (" in findings.ablation_found(unknown), (
        "what is not compared does not count"
    )


def test_random_maps_and_zero() -> None:
    rows = pd.DataFrame({"low": [-0.1, 0.01], "high": [0.1, 0.05], "mean": [0.0, 0.03]})
    rows = rows.assign(metric="saco", method="random", reference="")
    assert findings.random_found(rows) == (
        "Random maps have a mean SaCo whose interval contains 0 in 1 of 2 conditions; the largest absolute mean is 0.030."
    )


def test_attacks_and_smoothing() -> None:
    right = {("none", "clean"): 9, ("none", "pgd"): 2, ("dds", "clean"): 8, ("dds", "pgd"): 7}
    predictions = pd.DataFrame(
        [("m", s, a, int(i < hits), 1) for (s, a), hits in right.items() for i in range(10)],
        columns=["model", "smoothing", "attack", "prediction", "label"],
    )
    bounds = {("a", "none"): (0.3, 0.4), ("a", "dds"): (0.5, 0.6), ("b", "none"): (0.3, 0.6), ("b", "dds"): (0.5, 0.7)}
    rows = [("m", method, "pgd", smoothing, *both) for (method, smoothing), both in bounds.items()]
    summary = pd.DataFrame(rows, columns=["model", "method", "attack", "smoothing", "low", "high"])
    text = findings.robustness_found(
        summary.assign(metric="top_k_overlap", reference="clean", variant="k=0.2"), predictions
    )
    assert (
        "by up to 0.70 without smoothing and by up to 0.10 behind `dds`; on clean images `dds` costs up to 0.10" in text
    )
    assert "in 1 of 2 cells" in text


@pytest.mark.parametrize(
    ("inside", "low", "high", "words"),
    [
        (0.8, 0.5, 1.0, ["for all 3 metrics.**", "above 0 for all 9 pairs of fills and reaches 1 for all 9", "no effect of the fill", "Pair by pair it rises for all 9. "]),
        (0.8, 0.5, 0.9, ["for all 3 metrics.**", "reaches 1 for none of 9", "still matters"]),
        (0.1, -0.2, 0.3, ["for none of 3 metrics.**", "it rises for none of 9, and not for 0 (saco, deletion, insertion), 1 (saco", "above 0 for none of 9", "still matters"]),
    ],
)  # fmt: skip
def test_indomain(inside: float, low: float, high: float, words: list[str]) -> None:
    groups: dict[str, tuple[float, float, float]] = {
        "fills, original network": (0.3, 0.1, 0.5),
        "fills, in-domain": (inside, low, high),
        "original / in-domain": (0.6, 0.2, 0.7),
    }
    rows = [(kind, group, str(i), *tau) for kind in indomain.KINDS for group, tau in groups.items() for i in range(3)]
    text = indomain.verdict(pd.DataFrame(rows, columns=["metric", "group", "what", "tau", "low", "high"]))
    assert all(word in text for word in words), text
    assert f"saco from 0.30 to {inside:.2f}, deletion from" in text
    assert (
        "τ is 0.60 to 0.60; its interval lies above 0 for all 9 fills and metrics and below 1 for all 9: the network changes"
        in text
    )


def radii(gaussian: float, laplace: float, uniform: float, l1: float = 1.0) -> pd.DataFrame:
    """Two images; ``l1`` is the radius in l1 behind Laplace and uniform noise, 1 behind Gaussian noise."""
    rows = [
        (name, image, 1.0 if name == "gaussian" else l1, value, value / 28)
        for name, value in {"gaussian": gaussian, "laplace": laplace, "uniform": uniform}.items()
        for image in ("a", "b")
    ]
    return pd.DataFrame(rows, columns=["noise", "image_id", *noise.NORMS]).set_index(["noise", "image_id"])


@pytest.mark.parametrize(
    ("laplace", "kept", "l1", "words"),
    [
        (0.01, 0.2, 1.1, ["Among the three laws it does", "2.00 times the radius behind Laplace", "lost in the conversion", "the laws are close"]),
        (0.25, 0.2, 3.0, ["Among the three laws it does", "noise are 1.60 and 1.60. In l1", "the laws differ"]),
        (0.6, 0.5, 1.0, ["It does not on these images", "0.80 times the radius behind Laplace", "the laws are close"]),
    ],
)  # fmt: skip
def test_noise(laplace: float, kept: float, l1: float, words: list[str]) -> None:
    quantile, divergence = radii(0.4, laplace, 0.1, l1), radii(0.4, kept, 0.1)
    cells = pd.DataFrame({noise.OWN: dict.fromkeys(noise.NOISES, "0.50 [0.40, 0.60]")})
    text = noise.found(dict.fromkeys(noise.PARTS, quantile), dict.fromkeys(noise.PARTS, divergence), cells)
    assert all(word in text for word in words), text
    assert ("lost in the conversion" in text) is (laplace == 0.01)
    assert "the three intervals overlap" in text
    cells.loc["uniform", noise.OWN] = "0.10 [0.05, 0.15]"
    assert "some intervals do not overlap" in noise.found(
        dict.fromkeys(noise.PARTS, quantile), dict.fromkeys(noise.PARTS, divergence), cells
    )


def certified_tables(folder: Path, *, dds: float, adaptive: float, saco: float, radius: float) -> Path:
    """Tables of a study with one explainer whose overlap behind DDS, and under an adaptive attack, is given."""

    def write(experiment: str, name: str, rows: list[tuple[Any, ...]], columns: str) -> None:
        place = folder / f"experiment={experiment}"
        place.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows, columns=columns.split()).to_parquet(place / f"{name}.parquet")

    kinds = {"clean": ("clean", 0.0), "pgd_8": ("pgd", 8 / 255), "top_8": ("top_k_attack", 8 / 255)}
    through = {"adaptive_8": ("adaptive_pgd", 8 / 255), "seen_8": ("top_k_attack_through_smoothing", 8 / 255)}
    for experiment, attacks in (("radius", dict(list(kinds.items())[:2])), ("adaptive", {**kinds, **through})):
        write(experiment, "attacks", [(a, *kind, 0.5, 10) for a, kind in attacks.items()], "attack kind eps mean_l2 n")
        cells = list(product(attacks, ("none", "dds", "official")))
        right = {"none": 2, "dds": 9, "official": 9}
        write(
            experiment, "predictions",
            [(a, s, int(i < (10 if a == "clean" else right[s])), 1, 4) for a, s in cells for i in range(10)],
            "attack smoothing prediction label samples",
        )  # fmt: skip
        values = {
            (a, s): 0.4 if s == "none" else adaptive if attacks[a][0] == through["seen_8"][0] else dds for a, s in cells
        }
        write(
            experiment, "summary",
            [(a, s, "transformer_mm", "top_k_overlap", "clean", "k=0.2", v, v - 0.05, v + 0.05) for (a, s), v in values.items()]
            + [(a, s, "transformer_mm", "saco", "", "k=10", v, v - 0.05, v + 0.05) for a, s in cells for v in [saco if s == "dds" else 0.3]]
            + [(a, s, "transformer_mm", "top_k_overlap", "undefended", "k=0.2", v, v - 0.05, v + 0.05) for a, s in cells for v in [0.2 if s == "dds" else 0.4]],
            "attack smoothing method metric reference variant mean low high",
        )  # fmt: skip
    write(
        "certified",
        "certificates",
        [("transformer_mm", "grouped", True, r) for r in (0.1, radius)],
        "method certificate sound radius",
    )
    return folder


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"dds": 0.9, "adaptive": 0.5, "saco": 0.3, "radius": 0.3},
            ["from 1.00 to 0.20 without", "from 1.00 to 0.90 behind", "in 1 of 1 cells (", "keep more in none of 1 cells and fewer in 1:", "no gain in faithfulness",
             "do more harm behind `dds` in 1 of 2", "is 0.00 at 8/255; at 8/255 no certificate covers"],
        ),
        (
            {"dds": 0.42, "adaptive": 0.42, "saco": 0.6, "radius": 0.9},
            ["in none of 1 cells (", "faithfulness gains in some cells", "in none of 2", "is 0.50 at 8/255; at every radius"],
        ),
    ],
)  # fmt: skip
def test_certified(tmp_path: Path, given: dict[str, float], words: list[str]) -> None:
    folder = certified_tables(tmp_path, **given)
    text = f"{certified.blind_found(folder)} {certified.adaptive_found(folder)} {certified.proved_found(folder)}"
    assert all(word in text for word in words), text

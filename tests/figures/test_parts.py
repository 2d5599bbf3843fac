"""Selection, names, style, files, captions."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from tests.figures.test_figures import STYLE, draw
from vitfaith.errors import ConfigError
from vitfaith.figures.caption import caption, fills_text, flagged_text
from vitfaith.figures.drawing.data import FigureData, pick_variant, select
from vitfaith.figures.drawing.directions import direction_of
from vitfaith.figures.drawing.names import label_of, number_in, order_conditions, order_methods
from vitfaith.figures.drawing.one_metric import metric_rows
from vitfaith.figures.drawing.save import save_figure
from vitfaith.figures.drawing.style import BASELINE_COLOUR, PALETTES, Style
from vitfaith.figures.registry import FIGURES
from vitfaith.order import natural


def test_figures_register_without_heavy_imports() -> None:
    code = (
        "import sys, vitfaith.figures;"
        "print([m for m in ('torch','pandas','matplotlib','seaborn','scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_values_name_what_there_is(data: FigureData) -> None:
    with pytest.raises(ConfigError, match=r"no metric 'sacco' \(did you mean 'saco'\?\); there is 'aopc'"):
        metric_rows(data, "sacco", None)
    with pytest.raises(ConfigError, match="no variant 'k=7'"):
        metric_rows(data, "saco", "k=7")
    with pytest.raises(ConfigError, match="no attack 'apgd'"):
        draw("saco_leaderboard", data, attack="apgd")
    with pytest.raises(ConfigError, match="no reference 'clean'"):
        metric_rows(data, "saco", None, reference="clean")
    with pytest.raises(ConfigError, match="no method 'lime'"):
        draw("saco_by_condition", data, methods=("rollout", "lime"))


def test_variants() -> None:
    frame = pd.DataFrame({"variant": ["k=5", "k=20"]})
    with pytest.raises(ConfigError, match=r"several variants \('k=5', 'k=20'\); name the .* variant: k=5$"):
        pick_variant(frame, "summary", None)
    assert pick_variant(frame, "summary", None, preferred="k=5") == "k=5"
    assert pick_variant(frame[:1], "summary", None) == "k=5"
    assert pick_variant(frame, "summary", "k=20") == "k=20"
    assert pick_variant(pd.DataFrame({"variant": [""]}), "summary", None) == ""


def test_select_keeps_order_and_leaves_free_columns_alone() -> None:
    frame = pd.DataFrame({"a": ["x", "y", "z"], "b": [1, 2, 3]})
    assert list(select(frame, "t", a=("z", "x")).b) == [1, 3]
    assert len(select(frame, "t", a=(), b=None)) == 3


def test_the_caption_says_what_stands_in_for_removed_pixels(data: FigureData) -> None:
    assert fills_text({}) == ""
    assert fills_text({"a": "black", "b": "black"}) == "Removed pixels become ``black``."
    both = fills_text({"a": "black", "b": "blur(sigma=2.0)", "c": "black"})
    assert both == "Removed pixels become ``black`` (``a``, ``c``), ``blur(sigma=2.0)`` (``b``)."
    leaderboard = FIGURES.item("saco_leaderboard")
    assert "become ``image_mean``." in caption(leaderboard, data, 1, {"saco": "image_mean"})
    assert "become" not in caption(leaderboard, data, 1)


def test_directions() -> None:
    assert direction_of("saco", {}) == "higher"
    assert direction_of("deletion_auc", {}) == "lower"
    assert direction_of("saco_black", {}) == "higher"
    assert direction_of("deletion_auc", {"deletion_auc": "higher"}) == "higher"
    with pytest.raises(ConfigError, match=r"directions\.mine"):
        direction_of("mine", {})


def test_orders_and_labels() -> None:
    assert order_conditions(["pgd16", "pgd8", "fgsm", "clean", "pgd8"]) == ["clean", "fgsm", "pgd8", "pgd16"]
    assert order_methods(["zeta", "rollout", "alpha", "random"]) == ["random", "rollout", "alpha", "zeta"]
    assert order_methods(["zeta", "rollout", "random"], ["zeta"]) == ["zeta", "random", "rollout"]
    assert order_methods(["rise_100", "rise_20", "rise_0.5"]) == ["rise_0.5", "rise_20", "rise_100"]
    assert sorted(["k=10", "k=5", "k=0.5"], key=natural) == ["k=0.5", "k=5", "k=10"]
    assert label_of("my_method") == "My method"
    assert label_of("vit_patch4") == "vit_patch4"
    assert label_of("kl_negative_placeholder") == "KL negative placeholder"
    assert label_of("localisation_ap") == "Localisation AP"
    assert number_in("patch mean k=10", "k") == 10
    assert number_in("k=0.05", "k") == 0.05
    assert number_in("rank=3", "k") is None


def test_looks_are_distinct_and_stable() -> None:
    style = Style()
    names = [f"m{i:02d}" for i in range(28)] + ["random"]
    looks = style.looks(names)
    assert len({(look.colour, look.line) for look in looks.values()}) == len(names)
    assert looks["random"].colour == BASELINE_COLOUR
    ordered = Style(method_order=("rollout", "attcat", "raw_attention"))
    assert (
        ordered.looks(["raw_attention"])["raw_attention"]
        == ordered.looks(["rollout", "raw_attention"])["raw_attention"]
    )
    assert Style(labels={"rollout": "R"}).label("rollout") == "R"
    with pytest.raises(ValidationError):
        Style(palette="jet")  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Style(colour="red")  # type: ignore[call-arg]


def test_palettes_are_told_apart_by_all_colour_visions() -> None:
    """Smallest distance of two colours after simulated protanopia and deuteranopia (Viénot et al. 1999), linear RGB."""
    to_lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    protan = np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]])
    deutan = np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]])
    for name, palette in PALETTES.items():
        colours = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in palette])
        linear = colours**2.2
        for vision in (np.eye(3), protan, deutan):
            seen = np.clip(np.linalg.inv(to_lms) @ vision @ to_lms @ linear.T, 0, 1).T ** (1 / 2.2)
            gaps = np.linalg.norm(seen[:, None] - seen[None], axis=-1)[np.triu_indices(len(palette), 1)]
            assert gaps.min() > 0.1, name


def test_settings_of_the_user_do_not_matter(small: FigureData, tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    plain = [p.read_bytes() for p in save_figure(draw("saco_leaderboard", small), tmp_path / "a")]
    with matplotlib.rc_context(
        {"font.size": 20, "lines.linewidth": 9, "svg.hashsalt": "x", "savefig.dpi": 33, "axes.grid": True}
    ):
        user = [p.read_bytes() for p in save_figure(draw("saco_leaderboard", small), tmp_path / "b")]
    assert plain == user
    assert dict(matplotlib.rcParams) == before


def test_late_ticks_look_like_early_ones(small: FigureData, tmp_path: Path) -> None:
    """Saving may make ticks that drawing had not made; they have the style's size, not matplotlib's."""
    style = Style(dpi=60, font_size=5)
    picture = draw("accuracy_by_condition", small, style)
    for axes in picture.axes:
        axes.set_yticks(np.linspace(0, 1, 9))
    save_figure(picture, tmp_path / "figure")
    sizes = {label.get_size() for axes in picture.axes for label in axes.get_yticklabels()}
    assert sizes == {style.small}


def test_saving_twice_and_dotted_names(small: FigureData, tmp_path: Path) -> None:
    picture = draw("saco_leaderboard", small)
    paths = save_figure(picture, tmp_path / "new" / "k=0.1")
    assert [p.name for p in paths] == ["k=0.1.pdf", "k=0.1.svg", "k=0.1.png"]
    first = [p.read_bytes() for p in paths]
    assert [p.read_bytes() for p in save_figure(picture, tmp_path / "new" / "k=0.1")] == first
    assert len(list((tmp_path / "new").iterdir())) == 3
    assert b"CreationDate" not in first[0]
    assert b"<dc:date>" not in first[1]


def test_nothing_is_written_when_a_format_fails(
    small: FigureData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = draw("saco_leaderboard", small)
    whole = picture.savefig

    def fail(target: object, *, format: str, **kwargs: object) -> None:
        if format == "png":
            raise OSError("disk full")
        whole(target, format=format, **kwargs)

    monkeypatch.setattr(picture, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        save_figure(picture, tmp_path / "figure")
    assert list(tmp_path.iterdir()) == []


def test_width_follows_the_column(small: FigureData, tmp_path: Path) -> None:
    from PIL import Image

    for columns, mm in (("one", 88), ("two", 180)):
        style = Style(columns=columns, dpi=100)
        png = save_figure(draw("saco_leaderboard", small, style), tmp_path / columns)[-1]
        with Image.open(png) as image:
            assert image.width == pytest.approx(mm / 25.4 * 100, abs=1)


def test_caption_counts_flagged_values(data: FigureData) -> None:
    text = caption(FIGURES.item("saco_leaderboard"), data)
    assert "n = 61 images per mean, the same images for all methods of a panel, 95 % confidence intervals." in text
    assert "6 of 768 values (0.8 %) are flagged" in text
    assert "``attention_gradcam``" in text
    clean = data.summary.assign(flagged=0, n=64, clusters=64)
    text = caption(FIGURES.item("saco_leaderboard"), dataclasses.replace(data, summary=clean))
    assert "n = 64 images per mean" in text
    assert "No value is missing." in text
    grouped = dataclasses.replace(data, summary=clean.assign(clusters=16))
    assert "n = 64 images in 16 independent clusters per mean" in caption(FIGURES.item("saco_leaderboard"), grouped)
    assert flagged_text(pd.DataFrame({"n": [0], "flagged": [5]})).startswith("5 of 5 values (100.0 %)")


def test_one_condition_and_two_datasets(data: FigureData) -> None:
    summary = data.summary
    both = dataclasses.replace(data, summary=pd.concat([summary, summary.assign(dataset="cifar10")]))
    titles = [axes.get_title(loc="left") for axes in draw("saco_leaderboard", both).axes if axes.axison]
    assert [t.split(" (")[0] for t in titles] == [
        "CIFAR-10 · vit_patch2",
        "CIFAR-10 · vit_patch4",
        "Fashion-MNIST · vit_patch2",
        "Fashion-MNIST · vit_patch4",
    ]
    single = summary[(summary.model == "vit_patch4") & (summary.attack == "clean") & (summary.smoothing == "none")]
    for name in ("saco_leaderboard", "saco_by_condition", "saco_by_condition_heatmap", "saco_by_groups"):
        figure = draw(name, dataclasses.replace(data, summary=single), STYLE)
        assert figure.axes[0].get_title(loc="left").startswith(("vit_patch4", "clean"))


def test_three_panels_of_two_columns_leave_one_blank(data: FigureData) -> None:
    third = data.summary[data.summary.model == "vit_patch4"].assign(model="vit_large")
    three = dataclasses.replace(data, summary=pd.concat([data.summary, third]))
    for name in ("saco_leaderboard", "saco_by_groups"):
        assert [axes.axison for axes in draw(name, three).axes] == [True, True, True, False]


def test_titles_of_three_lines_over_square_panels_stay_inside_the_figure(tmp_path: Path) -> None:
    """Square panels beside a colour bar: only a second pass of the layout makes room for a third line."""
    names = [
        f"saco_{fill} k=10" for fill in ("black", "blur", "diffusion", "image_mean", "noise", "noisy_linear", "place")
    ]
    rows = [
        {"metric": a, "other": b, "level": level, "kendall": 0.5, "spearman": 0.5, "n": 1, "images": images, "methods": 9,
         "left_out": "", "dataset": "d", "model": model, "attack": "clean", "smoothing": "none", "explained": "clean_prediction"}
        for model, images in (("vit_patch2", 58), ("vit_patch4", 62))
        for level in ("methods", "methods_per_image")
        for a, b in combinations(names, 2)
    ]  # fmt: skip
    tables = {field.name: None for field in dataclasses.fields(FigureData)} | {"agreement": pd.DataFrame(rows)}
    figure = draw("metric_agreement", FigureData(**tables), Style(columns="two", dpi=60))
    save_figure(figure, tmp_path / "agreement")
    axes = [panel for panel in figure.axes if panel.axison and panel._left_title.get_text()]
    titles = [panel._left_title for panel in axes]
    assert titles[0].get_text().count("\n") == titles[2].get_text().count("\n") == 2
    assert max(title.get_window_extent().y1 for title in titles) <= figure.bbox.height
    lowest = min(label.get_window_extent().y0 for label in axes[0].get_xticklabels())
    assert titles[2].get_window_extent().y1 <= lowest

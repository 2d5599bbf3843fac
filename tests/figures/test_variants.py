"""A study is refused for a variant exactly where the figure could not be drawn."""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd
import pytest

from vitfaith.errors import ConfigError
from vitfaith.figures.caption import caption, variants_text
from vitfaith.figures.drawing.data import FigureData
from vitfaith.figures.drawing.variants import Known, ShowsVariants
from vitfaith.figures.registry import FIGURES

NAMED = ("metric", "metrics", "variant", "variants")
"""Settings of figures that show numbers with variants."""

SHOWING = [entry.name for entry in FIGURES if issubclass(entry.parameters, ShowsVariants)]
OTHER = {"k=10": "k=14", "k=0.2": "k=0.3", "k=0.1": "k=0.4", "saco k=10": "saco k=14"}
"""Variant that figures prefer → another name for it, so that nothing is preferred."""

FEW = {"order_agreement": {"resamples": 5}}


def known_of(data: FigureData) -> Known:
    """What a study would know of these tables before they exist."""

    def variants(frame: pd.DataFrame | None, column: str) -> dict[str, tuple[str, ...]]:
        assert frame is not None
        return {str(id_): tuple(part["variant"].unique()) for id_, part in frame.groupby(column)}

    scores = variants(data.scores, "metric")
    assert data.pairs is not None
    return Known(
        summary=variants(data.summary, "metric"),
        scores=scores,
        compared=scores,
        ranking=tuple(scores),
        references=dict.fromkeys(scores, ("",)) | {"top_k_overlap": ("clean", "undefended")},
        curves=variants(data.curves, "curve") | {"groups": tuple(data.pairs["variant"].unique())},
    )


@pytest.fixture(scope="module")
def undecided(data: FigureData) -> FigureData:
    """Tables in which no metric has a variant that figures prefer."""
    frames = {}
    for field in dataclasses.fields(data):
        frame = getattr(data, field.name)
        columns = [name for name in ("variant", "metric", "other") if frame is not None and name in frame]
        frames[field.name] = (
            frame.assign(**{name: frame[name].replace(OTHER) for name in columns}) if columns else frame
        )
    return FigureData(**frames)


def settings_of(name: str, **settings: Any) -> ShowsVariants:
    """Settings of a figure that shows variants."""
    parameters = FIGURES[name].parameters(**settings)
    assert isinstance(parameters, ShowsVariants)
    return parameters


def outcomes(name: str, data: FigureData, **settings: Any) -> tuple[str, str]:
    """Errors about a variant: when a study is read, and when the figure is drawn; empty where there is none."""
    found = []
    parameters = settings_of(name, **FEW.get(name, {}), **settings)
    for attempt in (
        lambda: parameters.check_variants(known_of(data)),
        lambda: FIGURES[name].traits["rows"](data, parameters),
    ):
        try:
            attempt()
            found.append("")
        except ConfigError as error:
            found.append(str(error))
    return found[0], found[1]


def test_every_figure_of_a_metric_is_checked() -> None:
    for entry in FIGURES:
        assert (entry.name in SHOWING) == any(name in entry.parameters.model_fields for name in NAMED), entry.name


@pytest.mark.parametrize("name", SHOWING)
def test_a_preferred_variant_needs_no_setting(name: str, data: FigureData) -> None:
    assert outcomes(name, data) == ("", "")


@pytest.mark.parametrize("name", SHOWING)
def test_several_variants_are_refused_where_the_figure_shows_one(name: str, undecided: FigureData) -> None:
    read, drawn = outcomes(name, undecided)
    assert bool(read) == bool(drawn), (read, drawn)
    if read:
        assert "several variants" in drawn
        assert "; name the one to show, for example 'variant" in read
        settings = {"variant": read.rsplit("variant: ")[-1].strip("'")}
        if "variants" in FIGURES[name].parameters.model_fields:
            settings = {"variants": {"saco": "k=5"}}
            assert read.startswith("variants: missing; metric 'saco' has several variants ('k=5', 'k=14', 'k=20')")
            assert read.endswith("for example 'variants: {saco: k=5}'")
        else:
            assert read.startswith("variant: missing; metric '")
        assert outcomes(name, undecided, **settings) == ("", "")  # the way out that the message names


@pytest.mark.parametrize("name", SHOWING)
def test_a_variant_that_does_not_exist_is_refused(name: str, data: FigureData) -> None:
    wrong = {"variant": "k=3", "variants": {"saco": "k=3"}, "metrics": ["saco k=3"]}
    key = next(key for key in wrong if key in FIGURES[name].parameters.model_fields)
    read, drawn = outcomes(name, data, **{key: wrong[key]})
    assert read.startswith(f"{key}: ")
    assert "k=3" in read
    assert "there is '" in read
    assert drawn


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("saco_leaderboard", {"metric": "aopc", "variant": "k=10"}, "it has one value; leave the setting out"),
        ("saco_by_groups", {"metric": "aopc"}, "metric: 'aopc' has no variant k="),
        ("metric_by_radius", {"metric": "top_k_overlap"}, "reference: missing; .* set it to clean or undefended"),
        ("metric_by_radius", {"reference": "clean"}, "reference: metric 'saco' is compared with no reference map"),
        ("order_agreement", {"groups": {"fills": ["saco", "saco_blr"]}}, "groups: 'saco_blr' is not in the metrics"),
    ],
)
def test_other_settings_that_no_table_could_satisfy(
    name: str, settings: dict[str, Any], message: str, data: FigureData
) -> None:
    with pytest.raises(ConfigError, match=message):
        settings_of(name, **settings).check_variants(known_of(data))
    assert outcomes(name, data, **settings)[1]


def test_what_an_unknown_metric_has_is_not_guessed(data: FigureData) -> None:
    known = known_of(data)
    unknown = {"saco": None}
    known = dataclasses.replace(
        known, summary=unknown, scores=unknown, compared=unknown, ranking=("saco",), curves=None
    )
    for name in SHOWING:
        entry = FIGURES[name].parameters
        if "metric" not in entry.model_fields or entry.model_fields["metric"].default == "saco":
            given = {"variant": "mine"} if "variant" in entry.model_fields else {}
            settings_of(name, **given).check_variants(known)


def test_captions_name_the_variants(undecided: FigureData) -> None:
    item = FIGURES.item("beats_random", metrics=["saco", "aopc"])
    assert " Shown: ``k=5`` of ``saco``. " in caption(item, undecided)
    item = FIGURES.item("saco_pairs")
    assert " Shown: ``patch image_mean k=10``. " in caption(item, undecided)
    item = FIGURES.item("order_agreement", variants={"saco": "k=20"}, resamples=5)
    assert " Shown: ``k=20`` of ``saco``. " in caption(item, undecided)
    assert variants_text(pd.DataFrame({"metric": ["aopc"], "variant": [""]})) == ""

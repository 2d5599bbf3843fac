"""The figure over a smoothing's settings draws what the tables say, and refuses to mix settings."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from vitfaith.errors import ConfigError
from vitfaith.figures.drawing.data import FigureData
from vitfaith.figures.metric_by_smoothing import MetricBySmoothing, rows
from vitfaith.tables.smoothings import smoothing_table


@pytest.fixture
def swept(data: FigureData) -> FigureData:
    """Two more smoothings: one with twice the noise, one with twice the samples."""
    assert data.summary is not None
    behind = data.summary[data.summary["smoothing"] == "dds"]
    more = [behind.assign(smoothing=name) for name in ("loud", "many")]
    settings = {
        "none": {"use": "none"},
        "dds": {"use": "dds", "sigma": 0.25, "samples": 4, "denoiser": "x"},
        "loud": {"use": "dds", "sigma": 0.5, "samples": 4, "denoiser": "x"},
        "many": {"use": "dds", "sigma": 0.25, "samples": 8, "denoiser": "x"},
    }
    return dataclasses.replace(
        data, summary=pd.concat([data.summary, *more], ignore_index=True), smoothings=smoothing_table(settings)
    )


def test_noise_begins_at_the_undefended_model(swept: FigureData) -> None:
    table = rows(swept, MetricBySmoothing(smoothings=("none", "dds", "loud")))
    assert sorted(set(table["sigma"])) == [0.0, 0.25, 0.5]
    assert swept.summary is not None
    for _, row in table.iterrows():
        same = swept.summary
        for column in ("model", "attack", "smoothing", "method"):
            same = same[same[column] == row[column]]
        assert row["mean"] == same[(same["metric"] == "saco") & (same["variant"] == row["variant"])]["mean"].item()


def test_samples_leave_the_undefended_model_out(swept: FigureData) -> None:
    table = rows(swept, MetricBySmoothing(over="samples", smoothings=("none", "dds", "many")))
    assert sorted(set(table["samples"])) == [4, 8]


@pytest.mark.parametrize(("over", "other"), [("sigma", "samples"), ("samples", "sigma")])
def test_two_settings_at_once_are_refused(swept: FigureData, over: str, other: str) -> None:
    with pytest.raises(ConfigError, match=f"also differ in {other}"):
        rows(swept, MetricBySmoothing.model_validate({"over": over}))


def test_two_laws_of_noise_are_refused(swept: FigureData) -> None:
    assert swept.smoothings is not None
    loud = swept.smoothings["smoothing"] == "loud"
    mixed = dataclasses.replace(
        swept, smoothings=swept.smoothings.assign(noise=loud.map({True: "laplace", False: "gaussian"}))
    )
    with pytest.raises(ConfigError, match=r"also differ in noise \(gaussian, laplace\)"):
        rows(mixed, MetricBySmoothing(smoothings=("none", "dds", "loud")))


def test_a_smoothing_without_the_number_is_refused(swept: FigureData) -> None:
    with pytest.raises(ConfigError, match="no smoothing with a number for 'sigma'"):
        rows(swept, MetricBySmoothing(smoothings=("none",)))

"""The synthetic tables together, as figures read them."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.figures.score_tables import (
    KEYS,
    make_agreement,
    make_curves,
    make_explained,
    make_scores,
    make_stability,
    make_statistics,
)
from tests.figures.stage_tables import (
    make_attacks,
    make_certificates,
    make_costs,
    make_gallery,
    make_pairs,
    make_predictions,
    make_smoothings,
    make_trainings,
)
from vitfaith.figures.drawing.data import FigureData
from vitfaith.statistics import summarise_compared


def make_data() -> FigureData:
    scores, stability = make_scores(), make_stability()
    both = pd.concat([scores.assign(reference=""), stability], ignore_index=True)
    return FigureData(
        summary=summarise_compared(both, [*KEYS, "reference", "metric", "variant"], method="t"),
        scores=scores,
        curves=make_curves(),
        stability=stability,
        predictions=make_predictions(),
        gallery=make_gallery(),
        statistics=make_statistics(scores),
        agreement=make_agreement(scores),
        costs=make_costs(),
        certificates=make_certificates(),
        attacks=make_attacks(),
        smoothings=make_smoothings(),
        trainings=make_trainings(),
        pairs=make_pairs(),
        explained=make_explained(scores),
    )


@pytest.fixture(scope="session")
def data() -> FigureData:
    return make_data()


@pytest.fixture(scope="session")
def small(data: FigureData) -> FigureData:
    """One model, two attacks: for tests that write many files."""

    def cut(frame: pd.DataFrame) -> pd.DataFrame:
        if "model" not in frame:
            return frame
        frame = frame[frame["model"] == "vit_patch4"]
        return frame[frame["attack"].isin(["clean", "pgd"])] if "attack" in frame else frame

    return FigureData(**{name: cut(getattr(data, name)) for name in FigureData.names()})

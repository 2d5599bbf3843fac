"""One number of the table ``summary``: the settings that name it, and its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from vitfaith.errors import ConfigError
from vitfaith.figures.drawing.data import CONDITION, SUMMARY, FigureData, Selection, pick_variant, select, tidy
from vitfaith.figures.drawing.variants import Known, OneVariant
from vitfaith.registry import Ids

if TYPE_CHECKING:
    from pandas import DataFrame


def metric_rows(
    data: FigureData,
    metric: str,
    variant: str | None,
    reference: str = "",
    preferred: str = "k=10",
    wanted: Mapping[str, str | Sequence[str]] | None = None,
) -> DataFrame:
    """Rows of the table ``summary`` for one metric and variant, one per (condition, method), sorted.

    Raises:
        ArtifactError: the table is missing, empty or incomplete.
        ConfigError: it has no such metric, variant, condition or method.
    """
    frame = select(data.table("summary", SUMMARY), "summary", metric=metric)
    frame = select(frame, "summary", reference=reference)
    frame = select(frame, "summary", variant=pick_variant(frame, "summary", variant, preferred))
    return tidy(select(frame, "summary", **(wanted or {})), "summary", [*CONDITION, "method"])


class OneMetric(OneVariant, Selection):
    """Which number a figure shows, of a metric or of a comparison with a reference map."""

    metric: Annotated[str, Ids("metrics", "stability", "sanity")] = Field(
        "saco", description="id of a metric or of a stability measure"
    )
    variant: str | None = Field(None, description="its variant; without it the only one, k=10 or k=0.2")
    reference: str = Field("", description="for a stability measure: clean or undefended")

    @property
    def preferred(self) -> str:
        """See :class:`OneVariant`."""
        return "k=0.2" if self.reference else "k=10"

    def check_variants(self, known: Known) -> None:
        """See :class:`ShowsVariants`; also whether values of the metric have the reference."""
        found = known.references.get(self.metric)
        if found is not None and self.reference not in found:
            if found == ("",):
                raise ConfigError(
                    f"reference: metric '{self.metric}' is compared with no reference map; leave reference out"
                )
            text = f"'{self.metric}' compares maps with a reference map; set it to {' or '.join(found)}"
            wrong = f"unknown '{self.reference}'; " if self.reference else "missing; "
            raise ConfigError(f"reference: {wrong}{text}")
        super().check_variants(known)


def chosen_rows(data: FigureData, parameters: OneMetric) -> DataFrame:
    """Rows of ``summary`` with the number that ``parameters`` name, as :func:`metric_rows` finds them."""
    return metric_rows(
        data,
        parameters.metric,
        parameters.variant,
        reference=parameters.reference,
        preferred=parameters.preferred,
        wanted=parameters.wanted(),
    )

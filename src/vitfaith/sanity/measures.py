"""The stability measures with which a check compares maps."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from vitfaith.lazy import pa
from vitfaith.nested import ItemOf
from vitfaith.registry import Item, Parameters
from vitfaith.sanity.registry import Subject
from vitfaith.stability.compare import stability_table
from vitfaith.stability.registry import STABILITY_MEASURES

Measure = Annotated[Item, ItemOf(STABILITY_MEASURES, key="measure")]
"""Type of a setting that names a measure: "spearman", or {"measure": "top_k_overlap", "k": [0.1]}."""


class MeasureParameters(Parameters):
    """Similarity between the new and the old maps."""

    measures: tuple[Measure, ...] = Field(
        ("spearman", "ssim"),
        min_length=1,
        validate_default=True,
        description="stability measures: names, or {measure: name, setting: value}",
    )

    @field_validator("measures")
    @classmethod
    def _different(cls, measures: tuple[Item, ...]) -> tuple[Item, ...]:
        names = [measure.name for measure in measures]
        if len(set(names)) != len(names):
            raise ValueError(f"measures {names} contain a name twice")
        return measures

    def compare(self, subject: Subject, maps: dict[str, Any], reference: str, step: int) -> list[pa.Table]:
        """Rows that compare ``maps`` (method → (B, rows, columns)) with the subject's own maps, one table per method."""
        chosen = {measure.name: measure for measure in self.measures}
        return [
            with_step(
                stability_table(
                    subject.image_ids, method, reference, array_of(new), array_of(subject.maps[method]), chosen
                ),
                step,
            )
            for method, new in maps.items()
        ]


def array_of(maps: Any) -> Any:
    """A tensor of maps, which are on the CPU, as a NumPy array."""
    return maps.detach().float().numpy()


def with_step(table: pa.Table, step: int) -> pa.Table:
    """``table`` (schema STABILITY) with the column ``step``; the columns of SANITY except ``check``."""
    from vitfaith.artifacts.schemas import SANITY

    steps = pa.repeat(pa.scalar(step, pa.int16()), len(table))
    return table.append_column(SANITY.field("step"), steps).select([n for n in SANITY.names if n != "check"])

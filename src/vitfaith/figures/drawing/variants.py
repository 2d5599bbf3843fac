"""Which variant of a metric a figure shows: the rule, and its check before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from vitfaith.errors import ConfigError
from vitfaith.map_values import CEILING, CHANCE
from vitfaith.order import natural
from vitfaith.registry import Ids, Parameters

Variants = tuple[str, ...] | None
"""Names in the column ``variant``; None where they are not known before a run."""


@dataclass(frozen=True)
class Known:
    """The contents of an experiment's tables, as far as its settings determine them.

    Attributes:
        summary: id of a metric or measure → its variants in the table ``summary``.
        scores: id of a metric → its variants in the table ``scores``.
        compared: the same in tables of paired tests, of agreement and of explained classes, which leave out metrics with one score
            per dataset.
        ranking: ids of metrics for which higher or lower is better.
        references: id → the references that a value of it can have; None where they are not known.
        curves: curve ("morf", "lerf", "groups") → its variants in the tables ``curves`` and ``pairs``; None where they are not known.
    """

    summary: Mapping[str, Variants]
    scores: Mapping[str, Variants]
    compared: Mapping[str, Variants]
    ranking: tuple[str, ...]
    references: Mapping[str, Variants]
    curves: Mapping[str, tuple[str, ...]] | None


class ShowsVariants(Parameters):
    """Settings of a figure that shows metrics with variants."""

    def check_variants(self, known: Known) -> None:
        """Compare the settings with what an experiment will have.

        Raises:
            ConfigError: the variant to show does not exist, or is one of several and not named; the text begins with the key.
        """
        raise NotImplementedError


class OneVariant(ShowsVariants):
    """Which number a figure shows: one variant of one metric."""

    metric: Annotated[str, Ids("metrics")] = Field("saco", description="metric to show")
    variant: str | None = Field(None, description="its variant; without it the only one, or k=10")

    table: ClassVar[Literal["summary", "scores", "compared"]] = "summary"

    @property
    def preferred(self) -> str:
        """The variant that is shown where there are several and none is named."""
        return "k=10"

    def check_variants(self, known: Known) -> None:
        """See :class:`ShowsVariants`."""
        variants = getattr(known, self.table).get(self.metric)
        check_variant("variant", self.metric, variants, self.variant, self.preferred)


def scores_of(variants: Iterable[str]) -> list[str]:
    """The variants in their order, without ceilings and chance levels."""
    return sorted((one for one in variants if not one.endswith((CEILING, CHANCE))), key=natural)


def default_variant(variants: Iterable[str], preferred: str) -> str | None:
    """The variant that is shown where none is named: the only one, or ``preferred``; None where neither exists.

    Ceilings and chance levels do not count.
    """
    names = scores_of(variants)
    return names[0] if len(names) == 1 else preferred if preferred in names else None


def listed(names: Iterable[str]) -> str:
    """``'k=7', 'k=14'``."""
    return ", ".join(map(repr, names))


def variant_text(variant: str, metric: str) -> str:
    """A variant and its metric in a caption; the variant alone where the metric is empty."""
    return f"``{variant}``" + (f" of ``{metric}``" if metric else "")


def check_variant(
    key: str, metric: str, variants: Variants, asked: str | None, preferred: str, example: str = "variant: VARIANT"
) -> None:
    """Raise :class:`ConfigError` where a figure could not say which of the ``variants`` of a metric it shows.

    Args:
        key: setting that names the variant.
        asked: its value.
        example: text of the setting with a variant in place of VARIANT.
    """
    if variants is None:
        return
    if not variants:
        raise ConfigError(
            f"metric: '{metric}' has one score per dataset and none per image, which this figure needs; name another metric"
        )
    if asked is not None:
        check_exists(key, f"metric '{metric}'", variants, asked)
    elif default_variant(variants, preferred) is None:
        names = scores_of(variants)
        raise ConfigError(
            f"{key}: missing; metric '{metric}' has several variants ({listed(names)}); name the one to show, for example "
            f"'{example.replace('VARIANT', names[0])}'"
        )


def check_exists(key: str, owner: str, variants: tuple[str, ...], asked: str) -> None:
    """Raise :class:`ConfigError` where ``owner`` has no variant ``asked``."""
    if asked in variants:
        return
    if variants == ("",):
        raise ConfigError(f"{key}: {owner} has no variant '{asked}': it has one value; leave the setting out")
    raise ConfigError(f"{key}: {owner} has no variant '{asked}'; there is {listed(variants)}")

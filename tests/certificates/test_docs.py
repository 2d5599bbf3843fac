"""The numbers printed in docs/certificates.md are what the code gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from tests.certificates.textbook import breaking_margin
from vitfaith.certificates.of_maps import certify_maps
from vitfaith.certificates.radii.base import Base
from vitfaith.certificates.radii.bounds import Bound, clopper_pearson
from vitfaith.certificates.radii.lipschitz import grouped_radius, lipschitz_radius
from vitfaith.certificates.radii.renyi import divergence_radius, paper_closed_form, renyi_radius
from vitfaith.certificates.radii.top_k import exact_swap, swaps_to_break
from vitfaith.certificates.registry import CERTIFICATES
from vitfaith.certificates.settings import ORDERS

PAGE = Path(__file__).parents[2] / "docs" / "certificates.md"


def table(heading: str) -> list[list[str]]:
    """Body cells of the first table under ``heading``."""
    lines = PAGE.read_text(encoding="utf-8").split(f"{heading}\n", 1)[1].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    body = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        body.append([cell.strip() for cell in line.strip("|").split("|")])
    return body


def exact_row(spread: float, k: int, beta: float) -> list[str]:
    maps = np.exp(spread * np.random.default_rng(0).normal(size=(200, 196)))
    swap = exact_swap(maps / maps.sum(axis=1, keepdims=True), k, swaps_to_break(k, beta))
    radii = [np.median(radius_of(swap, 1.0)) for radius_of in (renyi_radius, lipschitz_radius, grouped_radius)]
    return [f"{spread:g}", str(k), f"{beta:g}", *(f"{radius:.3f}" for radius in radii)]


def sampled_row(base: str, proper: str, samples: int) -> list[str]:
    rng = np.random.default_rng(0)
    centre = rng.normal(size=196)
    raw = np.exp(centre + 0.5 * rng.normal(size=(1, samples + 100, 196)))
    cells = [base, proper, str(samples)]
    for certificate in ("renyi", "grouped"):
        for bound in ("none", proper):
            parameters = CERTIFICATES[certificate].traits["single"](k=20, beta=0.5, sigma=1.0, base=base, bound=bound)
            rows = certify_maps(
                raw[:, :100], raw[:, 100:], certificate, parameters, image_ids=["a"], method="m", dimensions=1
            )
            cells.append(f"{rows['radius'][0].as_py():.2f}")
    return cells


@pytest.mark.parametrize("row", table("## Sizes"), ids=" ".join)
def test_sizes(row: Any) -> None:
    assert row == exact_row(float(row[0]), int(row[1]), float(row[2]))


@pytest.mark.parametrize("row", table("## Radii from samples"), ids=" ".join)
def test_sampled_sizes(row: Any) -> None:
    assert row == sampled_row(row[0], row[1], int(row[2]))


def test_fewest_samples_that_separate_two_entries() -> None:
    fewest = next(
        m for m in range(1, 100) if clopper_pearson(m, m, 0.001 / 196).lower > clopper_pearson(0, m, 0.001 / 196).upper
    )
    assert f"{fewest} unanimous estimation samples" in PAGE.read_text(encoding="utf-8")


def test_every_certificate_and_bound_is_described() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in (*CERTIFICATES.names, *get_args(Bound), *get_args(Base)):
        assert f"`{name}`" in page


def test_printed_counterexample() -> None:
    p = np.array([0.2229, 0.2215, 0.0610, 0.2177, 0.2189, 0.0581])
    swap = exact_swap(p / p.sum(), 3, 2)
    closed = divergence_radius(paper_closed_form(swap, ORDERS, "from_broken").divergence, ORDERS, 1.0)
    page = PAGE.read_text(encoding="utf-8")
    assert f"certifies {closed:.3f}σ" in page
    assert "broken at 0.452σ" in page
    assert breaking_margin(swap, 0.453) > 0

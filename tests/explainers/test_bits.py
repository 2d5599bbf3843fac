"""The same maps to the last bit, whatever the batch: of each explainer, and of the mean over noise samples."""

from __future__ import annotations

import pytest
import torch

from tests.explainers.cases import ALL_CASES, CASES, Case
from tests.explainers.zoo import model
from vitfaith.models import rows
from vitfaith.models.fast.linear import has_onednn
from vitfaith.smoothings.aggregate import aggregate_maps

TRIED = [*CASES, *(case for case in ALL_CASES if case.entry.name in ("cp_lrp", "attnlrp") and case.settings)]
"""Each explainer, and the γ-rules of relevance."""

EXACT = has_onednn() and torch.backends.cpu.get_cpu_capability() == "AVX512"
"""Where bits were compared. Elsewhere products of matrices may take other kernels for another number of rows."""


def assert_equal(found: torch.Tensor, expected: torch.Tensor) -> None:
    tolerance = 0.0 if EXACT else 1e-5
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("case", TRIED, ids=str)
def test_maps_have_the_same_bits_in_every_batch(case: Case) -> None:
    classifier = model("class_token")
    alone = case.run(classifier, batch_size=1)
    for size in (2, 3, 4):
        assert_equal(case.run(classifier, batch_size=size), alone)


@pytest.mark.parametrize("samples", [3, 6, 20])
def test_the_mean_over_samples_has_the_same_bits_in_every_batch(samples: int) -> None:
    maps = torch.rand(samples, 9, 5, 7, generator=torch.Generator().manual_seed(0))
    mean, spread = aggregate_maps(maps, "mean")
    for start, stop in ((0, 1), (1, 4), (8, 9)):
        found = aggregate_maps(maps[:, start:stop].clone(), "mean")
        assert torch.equal(found[0], mean[start:stop])
        assert torch.equal(found[1], spread[start:stop])


def test_the_sigmoid_of_a_number_does_not_depend_on_its_place() -> None:
    values = torch.randn(3001, generator=torch.Generator().manual_seed(0)) * 4
    found = rows.sigmoid(values)
    torch.testing.assert_close(found, values.sigmoid())
    for start in range(1, 40):
        assert torch.equal(rows.sigmoid(values[start : start + 21].clone()), found[start : start + 21])


@pytest.mark.parametrize("count", [1, 16])
def test_products_of_stacks_do_not_depend_on_the_batch(count: int) -> None:
    source = torch.Generator().manual_seed(0)
    tokens = torch.randn(8, 48, 3, 4, 16, generator=source)  # as one linear layer makes queries, keys and values
    query, key, _ = tokens.permute(2, 0, 3, 1, 4).unbind(0)
    together = rows.matmul(query[:, :, :count], key.transpose(-2, -1))
    torch.testing.assert_close(together, query[:, :, :count] @ key.transpose(-2, -1))
    for image in range(8):
        part = slice(image, image + 1)
        assert_equal(rows.matmul(query[part, :, :count], key[part].transpose(-2, -1)), together[part])
    stack = rows.matmul(together[:, 0], key[:, 0])
    for image in range(8):
        part = slice(image, image + 1)
        assert_equal(rows.matmul(together[part, 0], key[part, 0]), stack[part])

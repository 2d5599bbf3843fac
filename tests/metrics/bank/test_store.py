"""Banks on disk: what they save, when they are used, when they are refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from tests.metrics.test_bank import entry, everything
from vitfaith.errors import ArtifactError, InputError
from vitfaith.metrics.bank.build import build_bank
from vitfaith.metrics.bank.masks import BankRequest, Cells, Singles, Subsets
from vitfaith.metrics.bank.store import Bank
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.fills.registry import FILLS
from vitfaith.models.classifier import Classifier


@pytest.fixture(scope="module")
def maps() -> Tensor:
    return torch.randint(-512, 512, (5, 4, 4), generator=torch.Generator().manual_seed(2)) / 64


def test_a_stored_bank_costs_no_forward_and_changes_nothing(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor
) -> None:
    fill = FILLS.item("image_mean")
    masks = [Subsets(0.2, 12), Subsets(2, 12, 3), Subsets(2, 12), Subsets(0.5, 12), Singles(), Cells(2)]
    built = build_bank(vit, images, targets, image_ids, [BankRequest(m, fill) for m in masks], batch_size=9)
    table = built.to_table()
    shuffled = table.take(pa.array(np.random.default_rng(0).permutation(table.num_rows)))
    bank = Bank.from_table(shuffled)
    fresh = evaluate(vit, images, targets, image_ids, {"m": maps}, everything())
    order = [4, 1, 2]
    read = evaluate(
        vit,
        images[order],
        targets[order],
        [image_ids[i] for i in order],
        {"m": maps[order]},
        everything(),
        extras={"bank": bank},
    )
    assert read.forwards <= len(order)
    key = ["image_id", "metric", "variant"]
    expected = fresh.scores.to_pandas().set_index(key).value
    got = read.scores.to_pandas().set_index(key).value
    np.testing.assert_allclose(got, expected.loc[got.index], rtol=1e-4, atol=1e-7)
    assert got.notna().all()


def test_a_bank_for_other_images_or_seeds_is_not_used(
    vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str], maps: Tensor
) -> None:
    request = BankRequest(Singles(), FILLS.item("image_mean"))
    bank = build_bank(vit, images[:3], targets[:3], image_ids[:3], [request])
    chosen = {"x": entry("faithfulness_estimate")}
    arguments = (vit, images, targets, image_ids, {"m": maps}, chosen)
    assert evaluate(*arguments, extras={"bank": bank}).forwards == 5 * 17
    three = (vit, images[:3], targets[:3], image_ids[:3], {"m": maps[:3]}, chosen)
    assert evaluate(*three, extras={"bank": bank}).forwards <= 3
    assert evaluate(*three, seed=1, extras={"bank": bank}).forwards == 3 * 17
    with pytest.raises(InputError, match="another class of image 'image-0'"):
        evaluate(vit, images[:3], (targets[:3] + 1) % 5, image_ids[:3], {"m": maps[:3]}, chosen, extras={"bank": bank})
    with pytest.raises(InputError, match="extras"):
        evaluate(*three, extras={"bank": "bank.parquet"})


def test_damaged_banks_are_refused(vit: Classifier, images: Tensor, targets: Tensor, image_ids: list[str]) -> None:
    table = build_bank(
        vit, images, targets, image_ids, [BankRequest(Singles(), FILLS.item("black"))], batch_size=64
    ).to_table()
    with pytest.raises(ArtifactError, match=r"file\.parquet lacks 'kl'"):
        Bank.from_table(table.drop_columns("kl"), "file.parquet")
    seeds = pa.array([0] * 5 + [1] * (len(table) - 5))
    with pytest.raises(ArtifactError, match="several seeds"):
        Bank.from_table(table.set_column(table.schema.get_field_index("seed"), "seed", seeds))
    with pytest.raises(ArtifactError, match="incomplete"):
        Bank.from_table(table.slice(0, table.num_rows - 1))
    with pytest.raises(ArtifactError, match="clean"):
        Bank.from_table(table.slice(5))

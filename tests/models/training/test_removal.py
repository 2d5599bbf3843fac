"""Training on randomly removed patches: which are removed, what they become, and what the network learns of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tests.conftest import tiny_vit
from tests.models.training.test_train import ARCHITECTURE, ARGUMENTS, two_classes
from vitfaith.errors import ConfigError
from vitfaith.metrics.fills.removal import Removal, removed_patches, remover
from vitfaith.models.classifier import save_classifier
from vitfaith.models.training.classifier import train_classifier
from vitfaith.models.training.recipe import ClassifierRecipe


def test_the_number_of_removed_patches_is_uniform_and_each_set_is_keyed_by_its_image() -> None:
    ids = [f"image {i}" for i in range(5000)]
    removed = removed_patches(ids, 4, 4, seed=0)
    counts = Counter(removed.sum(1).tolist())
    assert set(counts) == set(range(5))
    assert all(abs(n - 1000) < 5 * 1000**0.5 for n in counts.values())
    single = Counter(tuple(row) for row in removed[removed.sum(1) == 1].long().argmax(1)[:, None].tolist())
    assert all(abs(n - counts[1] / 4) < 5 * (counts[1] / 4) ** 0.5 for n in single.values())
    assert torch.equal(removed[7:9], removed_patches(ids[7:9], 4, 4, seed=0))
    assert not torch.equal(removed, removed_patches(ids, 4, 4, seed=1))


def test_a_bound_bounds_the_share() -> None:
    removed = removed_patches([str(i) for i in range(500)], 20, 2, seed=0)
    assert set(removed.sum(1).tolist()) == {0, 1, 2}
    with pytest.raises(ConfigError, match="less than one of 16 patches"):
        remover(Removal(up_to=0.05), tiny_vit(), 0)
    with pytest.raises(ConfigError, match="less than one"):
        remover(Removal(up_to=1 / 17), tiny_vit(), 0)
    remover(Removal(up_to=1 / 16), tiny_vit(), 0)


@pytest.mark.parametrize("fill", ["black", "image_mean", "channel_mean", "blur", "noise", "noisy_linear"])
def test_removed_patches_are_filled_and_the_others_keep_their_bits(fill: str) -> None:
    images, ids = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0)), list("abcdef")
    perturbed = remover(Removal(fill=fill), tiny_vit(), 3)(images, ids)
    removed = removed_patches(ids, 16, 16, 3)
    for i in range(6):
        for patch in range(16):
            r, c = 4 * (patch // 4), 4 * (patch % 4)
            new, old = perturbed[i, :, r : r + 4, c : c + 4], images[i, :, r : r + 4, c : c + 4]
            if not removed[i, patch]:
                assert torch.equal(new, old)
            elif fill == "black":
                assert not new.any()
            elif fill == "image_mean":
                torch.testing.assert_close(new, images[i].mean().expand_as(new))
            else:
                assert not torch.equal(new, old)
    again = remover(Removal(fill=fill), tiny_vit(), 3)(images[2:4], ids[2:4])
    torch.testing.assert_close(again, perturbed[2:4])


@pytest.mark.parametrize("fill", ["given", {"name": "diffusion", "denoiser": "d"}, "diffmask_placeholder"])
def test_fills_that_need_another_network_are_refused(fill: object) -> None:
    with pytest.raises(ValidationError, match="needs another network or an in-fill from the caller"):
        Removal(fill=fill)


def test_a_network_fine_tuned_on_removed_patches_knows_them_better(tmp_path: Path) -> None:
    data, start = two_classes(256), tmp_path / "start.safetensors"
    recipe = ClassifierRecipe(epochs=12, batch_size=16, learning_rate=3e-3, shift=0, flip=False, ema_decay=0.9)
    plain, _ = train_classifier(ARCHITECTURE, ARGUMENTS, data, data, recipe, seed=1)
    save_classifier(plain, start, {"mean": plain.mean.flatten().tolist(), "std": plain.std.flatten().tolist()})
    removal, tuning = Removal(fill="black"), recipe.model_copy(update={"start_from": start, "keep_head": True})
    taught, log = train_classifier(
        ARCHITECTURE, ARGUMENTS, data, data, tuning, seed=1, removing=lambda c: remover(removal, c, 1)
    )
    assert set(log[-1]) == {"epoch", "step", "loss", "seconds", "test_accuracy", "removed_accuracy"}
    assert torch.equal(taught.mean, plain.mean)
    images, labels = torch.from_numpy(data[0]).float() / 255, torch.from_numpy(data[1])
    shown = remover(removal, plain, 1)(images, [f"test {i}" for i in range(256)])

    def hits(network: torch.nn.Module) -> float:
        return float((network(shown).argmax(1) == labels).float().mean())

    assert log[-1]["test_accuracy"] > 0.95
    assert log[-1]["removed_accuracy"] == pytest.approx(hits(taught))
    assert hits(taught) > hits(plain) + 0.05


@pytest.mark.parametrize(
    ("dropout", "changes"), [(0.0, {}), (0.2, {}), (0.0, {"optimiser": "muon"}), (0.0, {"patch_dropout": 0.5})]
)
def test_a_killed_training_goes_on_to_the_same_bits(tmp_path: Path, dropout: float, changes: dict[str, Any]) -> None:
    data = two_classes(32)
    recipe = ClassifierRecipe(epochs=3, batch_size=8, shift=1, ema_decay=0.9, **changes)
    arguments = {**ARGUMENTS, "proj_drop_rate": dropout}

    def train(checkpoint: Path, kill_at: int | None = None) -> dict[str, torch.Tensor]:
        def removing(classifier):  # type: ignore[no-untyped-def]
            inner, steps = remover(Removal(), classifier, 0), iter(range(10**6))

            def remove(images: torch.Tensor, ids: list[str]) -> torch.Tensor:
                if not ids[0].startswith("test") and next(steps) == kill_at:
                    raise KeyboardInterrupt
                return inner(images, ids)

            return remove

        trained, log = train_classifier(
            ARCHITECTURE, arguments, data, data, recipe, seed=0, removing=removing, checkpoint=checkpoint
        )
        assert [row["epoch"] for row in log] == [1, 2, 3]
        return trained.backbone.state_dict()

    whole = train(tmp_path / "a.safetensors")
    file = tmp_path / "b.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(file, kill_at=9)  # in the third epoch of four steps each
    assert file.is_file()
    with pytest.raises(KeyboardInterrupt):
        train(file, kill_at=1)  # two epochs are done: this is a step of the third
    resumed = train(file)
    assert all(np.array_equal(whole[k], resumed[k]) for k in whole)

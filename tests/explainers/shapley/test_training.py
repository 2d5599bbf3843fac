"""ViT-Shapley: the objective's minimum is the Shapley values, the sets follow the kernel, and a trained head comes close."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
import torch
from tools.vit_shapley import objective, weights
from torch import Tensor

from tests.conftest import tiny_vit
from tests.explainers.textbook.shapley import shapley_values
from vitfaith.errors import ArtifactError, ConfigError
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.explainers.shapley.files import check_trained_for, load_shapley, rounded, save_shapley
from vitfaith.explainers.shapley.kernel import draw_sets, efficient, size_probabilities
from vitfaith.explainers.shapley.network import Game
from vitfaith.explainers.shapley.recipe import ShapleyRecipe
from vitfaith.explainers.shapley.train import train_shapley
from vitfaith.models.classifier import Classifier

ARGUMENTS = {
    "img_size": 12, "patch_size": 4, "embed_dim": 24, "depth": 3, "num_heads": 3, "mlp_ratio": 2.0, "num_classes": 5,
}  # fmt: skip
"""Nine patches, so that all 512 sets can be asked."""


def nine(seed: int) -> Classifier:
    return tiny_vit(seed=seed, img_size=12)


def exact(game: Game, classifier: Classifier, image: Tensor) -> Tensor:
    """Shapley values (9, K) float64 of one image by all 512 sets."""
    sets = [s for k in range(10) for s in combinations(range(9), k)]
    members = torch.zeros(1, len(sets), 9, dtype=torch.bool)
    for row, s in enumerate(sets):
        members[0, row, list(s)] = True
    answers = dict(zip(sets, game.of_sets(image[None], members, classifier.patches)[0], strict=True))
    return shapley_values(answers.__getitem__, 9)


def test_the_value_of_a_set_is_the_probability_with_the_other_patches_filled() -> None:
    classifier, surrogate = nine(0), nine(1)
    image = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    sets = torch.rand(2, 3, 9, generator=torch.Generator().manual_seed(1)) < 0.5
    found = Game(surrogate, "channel_mean").of_sets(image, sets, classifier.patches)
    for i in range(2):
        for n in range(3):
            shown = image[i].clone()
            for patch in range(9):
                if not sets[i, n, patch]:
                    r, c = 4 * (patch // 3), 4 * (patch % 3)
                    shown[:, r : r + 4, c : c + 4] = image[i].mean((1, 2))[:, None, None]
            torch.testing.assert_close(found[i, n], surrogate(shown[None]).softmax(1)[0])
    none, everything = Game(surrogate, "black").ends(image, classifier.patches)
    torch.testing.assert_close(everything, surrogate(image).softmax(1))
    torch.testing.assert_close(none, surrogate(torch.zeros_like(image)).softmax(1))


def test_the_minimum_of_the_objective_is_the_shapley_values() -> None:
    """Over all 510 proper sets with the kernel's probabilities, φ efficient: the normal equations solved in float64."""
    classifier, game = nine(0), Game(nine(1), "image_mean")
    image = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(2))
    sets = [s for k in range(1, 9) for s in combinations(range(9), k)]
    members = torch.zeros(len(sets), 9, dtype=torch.float64)
    for row, s in enumerate(sets):
        members[row, list(s)] = 1
    by_size = size_probabilities(9)
    weights = torch.tensor([float(by_size[len(s) - 1]) / math.comb(9, len(s)) for s in sets], dtype=torch.float64)
    assert float(weights.sum()) == pytest.approx(1)
    none, everything = (end[0].double() for end in game.ends(image[None], classifier.patches))
    gains = game.of_sets(image[None], members.bool()[None], classifier.patches)[0].double() - none
    # φ = c + Aψ is what `efficient` makes of ψ
    shift = torch.eye(9, dtype=torch.float64) - 1 / 9
    constant = (everything - none) / 9
    design = weights.sqrt()[:, None] * (members @ shift)
    wanted = weights.sqrt()[:, None] * (gains - members.sum(1, keepdim=True) * constant)
    free = torch.linalg.pinv(design) @ wanted
    torch.testing.assert_close(efficient(free, everything - none), exact(game, classifier, image), atol=1e-6, rtol=1e-4)


def test_sets_follow_the_shapley_kernel() -> None:
    sets = draw_sets(4000, 2, 5, torch.Generator().manual_seed(0))
    assert sets.shape == (4000, 2, 5)
    assert torch.equal(sets[:, 1], ~sets[:, 0])
    sizes = Counter(sets[:, 0].sum(1).tolist())
    for k, probability in zip(range(1, 5), size_probabilities(5), strict=True):
        kernel = 4 / (math.comb(5, k) * k * (5 - k)) * math.comb(5, k)
        total = sum(4 / (j * (5 - j)) for j in range(1, 5))
        assert float(probability) == pytest.approx(kernel / total)
        assert abs(sizes[k] - 4000 * float(probability)) < 5 * (4000 * float(probability)) ** 0.5
    pairs = Counter(tuple(row.nonzero()[:, 0].tolist()) for row in sets[:, 0] if row.sum() == 2)
    expected = sizes[2] / 10
    assert len(pairs) == 10
    assert all(abs(n - expected) < 5 * expected**0.5 for n in pairs.values())


def test_a_trained_head_comes_close_to_the_exact_values_and_sums_exactly(tmp_path: Path) -> None:
    classifier, surrogate = nine(0), rounded(nine(1))
    pixels = torch.randint(0, 256, (16, 3, 12, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    recipe = ShapleyRecipe(
        surrogates={}, epochs=250, batch_size=16, sets=16, learning_rate=3e-3, weight_decay=0.0, ema_decay=0.98
    )
    head, log = train_shapley(classifier, surrogate, pixels.numpy(), pixels.numpy(), recipe)
    assert log[-1]["test_explained"] > 0.6  # v is not additive: even the exact values leave an error
    assert log[-1]["test_loss"] < log[0]["test_loss"]
    file = tmp_path / "head.safetensors"
    save_shapley(
        head, surrogate, file, classifier, timm="vit_tiny_patch16_224", arguments=ARGUMENTS, fill="image_mean", facts={}
    )
    images, targets = pixels[:3].float() / 255, torch.tensor([0, 3, 1])
    item = {"s": EXPLAINERS.item("vit_shapley", weights=file)}
    maps = explain(classifier, images, targets, ["a", "b", "c"], item, seed=0, batch_size=2)["s"].flatten(1).double()
    game = Game(surrogate, "image_mean")
    none, everything = game.ends(images, classifier.patches)
    total = (everything - none).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(maps.sum(1).float(), total, atol=1e-6, rtol=1e-5)
    for row, image, target in zip(maps, images, targets, strict=True):
        truth = exact(game, classifier, image)[:, int(target)]
        shares = torch.full_like(truth, float(truth.mean()))
        assert (row - truth).norm() < 0.5 * (shares - truth).norm()
        assert torch.corrcoef(torch.stack([row, truth]))[0, 1] > 0.85


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, surrogate = nine(0), nine(1)
    pixels = torch.randint(
        0, 256, (8, 3, 12, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    ).numpy()
    recipe = ShapleyRecipe(surrogates={}, epochs=3, batch_size=4, sets=4)
    whole, _ = train_shapley(classifier, surrogate, pixels, pixels, recipe)
    file, calls, real = tmp_path / "progress.safetensors", iter(range(100)), Game.ends

    def ends(self: Game, *arguments: object) -> tuple[Tensor, Tensor]:
        if next(calls) == 7:  # in the third epoch: each asks for two batches and the held-out images
            raise KeyboardInterrupt
        return real(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Game, "ends", ends)
        with pytest.raises(KeyboardInterrupt):
            train_shapley(classifier, surrogate, pixels, pixels, recipe, checkpoint=file)
    assert file.is_file()
    resumed, log = train_shapley(classifier, surrogate, pixels, pixels, recipe, checkpoint=file)
    assert [row["epoch"] for row in log] == [1, 2, 3]
    assert all(torch.equal(v, resumed.state_dict()[k]) for k, v in whole.state_dict().items())
    with pytest.raises(ConfigError, match="batch_size is 64, but there are 8 images"):
        train_shapley(classifier, surrogate, pixels, pixels, ShapleyRecipe(surrogates={}))


def test_files_say_what_does_not_fit(tmp_path: Path) -> None:
    from tests.explainers.cases import shapley

    path, classifier = shapley(), tiny_vit()
    load_shapley(path, classifier)
    with pytest.raises(ArtifactError, match="tokens of width 24, the model has 48"):
        load_shapley(path, tiny_vit(embed_dim=48))
    with pytest.raises(ArtifactError, match="classes 5, the model has 7"):
        load_shapley(path, tiny_vit(num_classes=7))
    with pytest.raises(ArtifactError, match="was trained for other weights"):
        check_trained_for(path, tiny_vit(seed=9))
    with pytest.raises(ArtifactError, match="does not exist; train it"):
        load_shapley(tmp_path / "none.safetensors", classifier)


def test_the_tables_of_the_page_take_exact_values_and_their_objective() -> None:
    """On a random game of four players: Shapley values by definition, and no other efficient values have a smaller error."""
    members, matrix = weights(4)
    values = torch.rand(3, len(members), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    places = {tuple(row.nonzero()[:, 0].tolist()): i for i, row in enumerate(members)}
    truth = values @ matrix.T
    for own, found in zip(values, truth, strict=True):
        torch.testing.assert_close(found, shapley_values(lambda s, v=own: v[places[s]], 4))  # type: ignore[misc]
    least = objective(truth, values)
    source = torch.Generator().manual_seed(1)
    for _ in range(20):
        moved = torch.randn(3, 4, generator=source, dtype=torch.float64) / 10
        assert objective(truth + moved - moved.mean(1, keepdim=True), values) > least

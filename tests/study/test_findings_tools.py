"""Tools that print tables of findings: the right rows, places and bold cells, from small tables made by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tools.fills import FILLS, fills_table
from tools.grid_diffmask import RULES, kept
from tools.grid_diffmask import table as grid_table
from tools.recipe_words import recipe_text
from tools.training_page import HEADS, PAGES, denoiser_loss, diffmask_log, log_of, percent
from tools.vit_shapley import place, trainings

from tests.conftest import tiny_vit
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.denoisers.recipe import DenoiserRecipe
from vitfaith.denoisers.training import save_denoiser, train_denoiser
from vitfaith.explainers.passes.shared_pass import run_capture
from vitfaith.explainers.shapley.kernel import draw_sets
from vitfaith.explainers.shapley.network import Game
from vitfaith.explainers.shapley.recipe import ShapleyRecipe
from vitfaith.explainers.shapley.train import held_out_error, train_shapley
from vitfaith.metrics.fills.removal import Removal
from vitfaith.rng import derive_seed, generator
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan
from vitfaith.study.sections import ClassifierTraining

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))  # tools import each other by name

from diffmask_table1 import COLUMNS, METHODS, spread, table1
from study_run import run_study
from trust_findings import STUDY, indomain_weights


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_fills_are_columns_and_the_best_of_each_model_is_bold() -> None:
    means = {
        ("vit_patch10", "random"): [0.0, 0.1],
        ("vit_patch10", "rollout"): [0.5, -0.25],
        ("vit_patch4", "rollout"): [0.2, 0.3],
        ("vit_patch4", "random"): [-0.1, 0.9],
    }
    rows = [
        (model, method, metric, "", pair[metric == "saco_black"])
        for (model, method), pair in means.items()
        for metric in [*FILLS, "deletion_auc"]
    ]
    rows.append(("vit_patch4", "random", "saco_black", "clean", 9.0))  # stability, another table's row
    summary = pd.DataFrame(rows, columns=["model", "method", "metric", "reference", "mean"])
    found = cells(fills_table(summary.astype(dict.fromkeys(["model", "method", "metric", "reference"], "category"))))
    assert found[0] == ["model", "method", *FILLS.values()]
    first = ["**0.20**"] * 6
    assert found[2:] == [
        ["`vit_patch4`", "Rollout", *first, "0.30"],
        ["", "Random", *["−0.10"] * 6, "**0.90**"],
        ["`vit_patch10`", "Rollout", *["**0.50**"] * 6, "−0.25"],
        ["", "Random", *["0.00"] * 6, "**0.10**"],
    ]


def test_places_are_by_the_direction_of_a_score_and_over_compared_explainers() -> None:
    means = {  # method → deletion (lower is better), SaCo
        "random": (0.6, 0.0),
        "rollout": (0.2, 0.5),
        "vit_shapley": (0.3, 0.7),
        "raw_attention": (0.4, 0.6),
    }
    rows = [
        ("m", attack, "none", method, f"image-{i}", metric, variant, pair[metric == "saco"] + (attack != "clean"), "")
        for method, pair in means.items()
        for attack in ("clean", "pgd")
        for i in range(10)
        for metric, variant in (("deletion_auc", ""), ("saco", "k=9"), ("sparsity_gini", ""))
    ]
    names = ["model", "attack", "smoothing", "method", "image_id", "metric", "variant", "value", "flag"]
    scores = pd.DataFrame(rows, columns=names)
    lost = (scores["method"] == "raw_attention") & scores["image_id"].isin(["image-1", "image-2"])
    scores.loc[lost, ["value", "flag"]] = float("nan"), "constant"  # too few images: not compared
    other = scores[scores["method"] != "vit_shapley"].assign(model="without a head")
    found = cells(place(pd.concat([other, scores]).astype({"model": "category", "method": "category"})))
    assert found[2:] == [
        ["`m`", "Deletion ↓", "0.300 [0.300, 0.300]", "10", "2 of 3", "Rollout 0.200", "0.600"],
        ["`m`", "SaCo ↑", "0.700 [0.700, 0.700]", "10", "1 of 3", "Rollout 0.500", "0.000"],
    ]


def test_table_1_has_the_best_of_each_metric_by_its_direction() -> None:
    rows = []
    for place_of_method, method in enumerate([*METHODS, "diffmask_official"]):
        for metric in COLUMNS:
            mean = 1.0 + place_of_method
            rows.append(("vit_patch4", method, metric, mean, mean - 0.1, mean + 0.1, 12))
    summary = pd.DataFrame(rows, columns=["model", "method", "metric", "mean", "low", "high", "n"])
    summary.loc[summary["method"] == "diffmask_official", "mean"] = 1.25
    found = cells(table1(summary))
    assert found[0] == ["model", "method", *(head for head, _ in COLUMNS.values())]
    assert found[2] == ["vit_patch4", "diffmask", "1.0", "**1.0**", "1.00", "**1.00**", "1.00", "**1.00**"]
    assert found[-1] == ["", "random", "**7.0**", "7.0", "**7.00**", "7.00", "**7.00**", "7.00"]
    assert len(found) == 2 + len(METHODS), "the other read-out is in no row"
    text = spread(summary)
    assert "n from 12 to 12." in text
    assert "10% at most" in text, "half of 0.2 of the mean 1"
    assert "differ by 25.0% at most" in text


def test_the_in_domain_networks_are_trained_by_the_study() -> None:
    study = load_study(read_yaml(STUDY))
    plan = Plan(study, "results")
    for experiment in ("counting", "planted", "fashion_mnist"):
        model = study.experiments[experiment].models[0]
        assert indomain_weights(model) == plan.weights_path(f"{model}_indomain")
        assert plan.study.models[f"{model}_indomain"].training is not None


def test_a_recipe_in_words_names_what_differs_from_the_defaults() -> None:
    recipe = ClassifierTraining(train_on="a", test_on="b", epochs=25, batch_size=64, shift=1)
    assert recipe_text(recipe) == "25 epochs, batch 64, learning rate 0.002, shift ±1, flip"
    changed = recipe.model_copy(
        update={
            "batches": 10,
            "flip": False,
            "label_smoothing": 0.0,
            "optimiser": "muon",
            "start_from": Path("models/vit.safetensors"),
            "removal": Removal(fill="black", up_to=0.5),
        }
    )
    assert recipe_text(changed) == (
        "250 batches of 64, learning rate 0.002, shift ±1, patches removed by black, up to 0.5 of the patches, from vit, optimiser muon, "
        "label smoothing 0"
    )
    assert recipe_text(ShapleyRecipe(surrogates={}, epochs=3, sets=4)) == (
        "3 epochs, batch 64, learning rate 0.001, 4 sets per image, fill image_mean"
    )


def test_an_accuracy_has_its_interval_beside_it() -> None:
    assert percent(0.9, 10) == "**90.0 %** [59.6, 98.2]", "Wilson's interval of 9 of 10, as published tables have it"
    assert percent(1.0, 1000) == "**100.0 %** [99.6, 100.0]"


def test_the_pages_of_trainings_tell_how_many_images_were_held_out() -> None:
    config = Path(__file__).parents[2] / "config"
    recipes: list[Any] = [
        load_study(read_yaml(config / name)).explainers["vit_shapley"].parameters for name, _ in HEADS
    ]
    assert {settings.training.held_out for settings in recipes} == {256}
    assert "256 held-out images" in PAGES["shapley"][1]
    diffmask: Any = load_study(read_yaml(config / "config.yaml")).explainers["diffmask"].parameters
    assert f"n = {diffmask.training.held_out} held-out images" in PAGES["diffmasks"][1]


def test_the_log_of_a_diffmask_has_the_rows_at_which_it_was_tested() -> None:
    log = log_of(Path(__file__).parents[2] / "resources" / "diffmasks" / "vit_patch4.safetensors")
    found = cells(diffmask_log(log.dropna(subset="test_kl")))
    assert [row[0] for row in found[2:]] == [str(step) for step in range(200, 1600, 200)]
    assert {len(row) for row in found} == {7}
    with pytest.raises(SystemExit, match=r"no\.log\.parquet' does not exist"):
        log_of(Path(__file__).parents[2] / "resources" / "models" / "no.safetensors")


def test_the_error_of_a_head_is_the_mean_over_images_sets_and_classes_and_that_of_the_log() -> None:
    pixels = torch.randint(0, 256, (70, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    classifier, surrogate = (tiny_vit(seed=seed, img_size=12) for seed in (0, 1))
    recipe = ShapleyRecipe(surrogates={}, epochs=1, batch_size=8, batches=2, sets=2, seed=3)
    head, log = train_shapley(classifier, surrogate, pixels.numpy(), pixels.numpy(), recipe)
    game, patches = Game(surrogate, recipe.fill), classifier.grid[0] * classifier.grid[1]
    own, equal = held_out_error(classifier, game, head, pixels, recipe)
    assert (own, 1 - own / equal) == pytest.approx((log[-1]["test_loss"], log[-1]["test_explained"]), rel=1e-6)

    slow: list[float] = []
    for number, part in enumerate((pixels.float() / 255).split(64)):
        sets = draw_sets(len(part), 2, patches, generator(recipe.seed, "test", "shapley-sets", number))
        for image, chosen in zip(part[:, None], sets, strict=True):
            capture = run_capture(classifier, image, torch.zeros(1, dtype=torch.int64), frozenset({"hidden"}))
            raw = head(capture.patches(capture.depth))[0]
            none, everything = (end[0] for end in game.ends(image, classifier.patches))
            share = (everything - none - raw.sum(0)) / patches  # what makes the values add up to the whole gain
            for members in chosen:
                gain = game.of_sets(image, members[None, None], classifier.patches)[0, 0] - none
                found = sum((raw[i] + share for i in members.nonzero()[:, 0].tolist()), torch.zeros_like(none))
                slow += ((gain - found) ** 2).tolist()
    assert own == pytest.approx(sum(slow) / len(slow), rel=1e-4)


def test_the_loss_of_a_denoiser_is_measured_from_its_files_as_in_the_log(tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (40, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    short = DenoiserRecipe(channels=(8, 8), epochs=1, batch_size=32, max_timestep=300)
    network, scheduler, rows = train_denoiser(pixels.numpy(), pixels.numpy(), short, seed=short.seed)
    save_denoiser(network, scheduler, tmp_path)
    found = denoiser_loss(tmp_path, pixels.float() / 255, short.max_timestep, short.seed)
    assert found == pytest.approx(rows[-1]["test_loss"], rel=1e-4)

    denoiser = Denoiser.load(tmp_path)  # its own schedule: x_t = √ᾱ x + √(1 − ᾱ) ε
    source = torch.Generator().manual_seed(derive_seed(short.seed, "test", "noise", 0))
    noise = torch.randn(pixels.shape, generator=source)
    timesteps = torch.randint(0, 300, (40,), generator=source)
    slow = []
    with torch.no_grad():
        for image, drawn, t in zip(pixels.float() / 127.5 - 1, noise, timesteps.tolist(), strict=True):
            kept = float(denoiser.schedule.alphas_cumprod[t])
            noisy = kept**0.5 * image + (1 - kept) ** 0.5 * drawn
            slow.append(float((denoiser.network(noisy[None], t).sample[0] - drawn).square().mean()))
    assert found == pytest.approx(sum(slow) / len(slow), rel=1e-4)


def test_trainings_of_a_run_are_the_last_rows_of_their_logs(tmp_path: Path) -> None:
    logs = {
        "classifier/vit": {"test_accuracy": [0.1, 0.8], "seconds": [1.0, 20.0]},
        "classifier/taught": {"test_accuracy": [0.7], "removed_accuracy": [0.5], "seconds": [7.0]},
        "shapley/vit_shapley/vit": {"test_loss": [0.5, 0.01], "test_explained": [0.0, 0.125], "seconds": [1.0, 30.0]},
    }
    for name, log in logs.items():
        file = tmp_path / "train" / f"{name}.log.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(log).to_parquet(file)
    assert cells(trainings(tmp_path))[2:] == [
        ["`taught`", "0.700", "0.500", "", "", "7"],
        ["`vit`", "0.800", "", "", "", "20"],
        ["head for `vit`", "", "", "0.01000", "12.5 %", "30"],
    ]


def test_seeds_whose_training_diverged_count_as_seeds_without_a_right_mask(tmp_path: Path) -> None:
    ended = {
        "kl": 0.05,
        "kept_share": 0.5,
        "multiplier": 1.0,
        "iou": 0.96,
        "exact": 1.0,
        "auroc": 1.0,
        "consistency": 1.0,
    }
    rows = [{"rule": "dual", "seed": 0, "read_out": name, **ended} for name in ("expected", "official")]
    pd.DataFrame(rows).to_parquet(kept(tmp_path, "grid_3x3", "dual", 0, "scores"))
    pd.DataFrame([{"rule": "dual", "seed": 1}]).to_parquet(kept(tmp_path, "grid_3x3", "dual", 1, "scores"))
    found = cells(grid_table("grid_3x3", ["dual"], 2, tmp_path))
    assert [row[:4] for row in found[2:]] == [
        [RULES["dual"][0], name, "**0.960**", "0.960"] for name in ("expected", "official")
    ]
    assert {tuple(row[-2:]) for row in found[2:]} == {("1 of 2", "1 of 2")}


def test_a_tool_runs_a_study_in_its_own_folder_wherever_the_study_is(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr("study_run.subprocess.run", lambda command, **_: commands.append(command))
    folder = STUDY.parents[1] / "reproduced" / "fold_0"  # inside the clone, where `vitfaith run` works at its root
    run_study(STUDY, folder, ["scores"], cores=3)
    (command,) = commands
    assert command[command.index("--directory") + 1] == str(folder)
    assert command[command.index("scores") + 1 :] == ["--cores", "3", "--configfile", str(STUDY)]

"""`vitfaith check`: each thing that can be wrong, in one sentence with its key and the way out, before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.check.changes import ROOT, problems, put
from vitfaith.check import study as check
from vitfaith.check.models import class_order_note
from vitfaith.check.study import check_study
from vitfaith.errors import ConfigError


def test_the_default_studies_pass(run: Callable[..., list[str]]) -> None:
    lines = run()
    assert "1 experiment, 4 conditions" in lines[0]
    assert (
        lines[1].strip() == "tiny: 1 dataset × 1 model × 2 attacks × 2 smoothings × 3 explainers × 2 metrics × 1 target"
    )
    assert [line.strip() for line in lines[2:11]] == [
        "datasets: tiny",
        "models: vit_patch4",
        "attacks: clean, pgd",
        "smoothings: none, dds",
        "explainers: random, rollout, transformer_mm",
        "metrics: saco, deletion_auc",
        "targets: clean_prediction",
        "stability: top_k_overlap",
        "figures: saco_leaderboard, top_k_overlap, gallery",
    ]
    assert "of disk, most of it in results/" in lines[11]
    assert "of memory without a GPU" in lines[12]
    assert len(lines) == 13
    check_study(ROOT / "config" / "config.yaml")


def test_long_lists_of_the_crossing_are_shortened(run: Callable[..., list[str]]) -> None:
    more = {f"rollout_{i}": {"explainer": "attention_rollout", "discard_ratio": i / 50} for i in range(30)}
    names = ["random", *more]
    lines = run(put("explainers", value={"random": {}, **more}), put("experiments", "tiny", "explainers", value=names))
    (line,) = [line for line in lines if line.startswith("    explainers: ")]
    assert line == f"    explainers: {', '.join(names[:9])} and 22 more"
    (line,) = [line for line in run(put("experiments", value={"x" * 100: {}})) if line.startswith("    metrics")]
    assert line == "    metrics: saco, deletion_auc"


def test_explainers_are_rehearsed(run: Callable[..., list[str]]) -> None:
    changes = (
        put("models", "vit_patch4", value={"timm": "vit_small_patch16_18x2_224", "weights": "pretrained"}),
        put("explainers", "lrp", value={}),
        put("experiments", "tiny", "explainers", value=["random", "cp_lrp", "lrp"]),
        put("explainers", "cp_lrp", value={}),
    )
    lines = problems(run, *changes)
    told = (
        "explainers.lrp, models.vit_patch4: LRP has no rule for module 'blocks.0' (ParallelThingsBlock); "
        "use cp_lrp, attnlrp or a libragrad explainer, which have rules for it"
    )
    assert told in lines
    assert not any("cp_lrp, models" in line for line in lines)
    swin = {"timm": "swin_tiny_patch4_window7_224", "weights": "pretrained"}
    lines = problems(run, put("models", "vit_patch4", value=swin))
    assert [line.partition(": ")[0] for line in lines if "models.vit_patch4: " in line] == [
        "explainers rollout, transformer_mm, models.vit_patch4"
    ]


def test_explainers_that_are_refused_for_one_reason_share_a_line(run: Callable[..., list[str]]) -> None:
    names = ["random", "raw_attention", "attention_rollout", "legrad", "cp_lrp", "attnlrp"]
    changes = (
        put("models", "vit_patch4", value={"timm": "cait_xxs24_224", "weights": "pretrained"}),
        *(put("explainers", name, value={}) for name in names[1:]),
        put("experiments", "tiny", "explainers", value=names),
    )
    lines = [line for line in problems(run, *changes) if line.startswith("explainers")]
    assert [line.partition(": ")[0] for line in lines] == [
        "explainers attention_rollout, legrad, raw_attention, models.vit_patch4",
        "explainers attnlrp, cp_lrp, models.vit_patch4",
    ]


def test_perturbation_and_trained_explainers_are_rehearsed_too(run: Callable[..., list[str]]) -> None:
    beit = {
        "timm": "beit_base_patch16_224",
        "arguments": {"img_size": 28, "patch_size": 4, "depth": 2},
        "weights": "pretrained",
    }
    learned = {"weights": "nowhere.safetensors"}
    names = ["random", "tis", "rise", "occlusion", "kernel_shap", "diffmask", "diffmask_per_image"]
    changes = (
        put("models", "vit_patch4", value=beit),
        *(put("explainers", name, value=learned if name == "diffmask" else {}) for name in names[1:]),
        put("experiments", "tiny", "explainers", value=names),
    )
    lines = [line for line in problems(run, *changes) if line.startswith("explainers.")]
    text = (
        "explainers.tis, models.vit_patch4: tis needs a ViT whose tokens can be dropped, and Beit keeps their positions"
    )
    assert sum(line.startswith(text) for line in lines) == 1
    assert {line.partition(",")[0].partition(":")[0] for line in lines} <= {
        "explainers.tis",
        "explainers.diffmask.weights",
    }


def test_metrics_that_need_masks(run: Callable[..., list[str]]) -> None:
    changes = (
        put("metrics", "pointing_game", value={}),
        put("experiments", "tiny", "metrics", value=["saco", "pointing_game"]),
    )
    assert problems(run, *changes) == [
        "experiments.tiny.metrics: 'pointing_game' needs masks, and dataset 'tiny' has none; give them to its reader, or "
        "leave the metric to an experiment on other datasets"
    ]


def test_plugins(run: Callable[..., list[str]], tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text("import nothing_like_this\n")
    (line,) = problems(run, put("plugins", value=[str(plugin)]))
    assert (
        line
        == f"plugins: '{plugin}' cannot be imported: ModuleNotFoundError: No module named 'nothing_like_this' (line 1)"
    )
    (line,) = problems(run, put("plugins", value=["nowhere.py"]))
    assert line.startswith("plugins: file 'nowhere.py' does not exist")


def test_disk_and_memory(run: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "disk_free", lambda folder: 10_000)
    monkeypatch.setattr(check, "memory_here", lambda: 900_000_000)
    monkeypatch.setattr(check, "visible_gpus", list)
    disk, memory = problems(run)
    assert disk.startswith("disk: the study writes up to ")
    assert disk.endswith("are free; use fewer images or samples, or make results a link to a larger disk")
    assert memory.startswith("memory: the largest job (")
    assert memory.endswith("this machine has 900 MB; lower compute.batch_size or the dataset's shard_size")
    assert len(run(elsewhere=True)) == 13
    monkeypatch.setattr(check, "disk_free", lambda folder: 10**9)
    monkeypatch.setattr(check, "visible_gpus", lambda: ["0"])
    assert len(run()) == 13


def test_what_is_trained_first(run: Callable[..., list[str]]) -> None:
    recipe = {"train_on": "tiny", "test_on": "tiny"}
    named = put("experiments", "tiny", "datasets", value=["tiny"])
    lines = run(
        named,
        put("models", "vit_patch4", "weights", value="trained"),
        put("models", "vit_patch4", "training", value=recipe),
        put("denoisers", "fashion_mnist", value={"path": "trained", "training": recipe}),
        results="no-results",
    )
    assert lines[-2:] == [
        "  note: models.vit_patch4: is trained first, 'no-results/train/classifier/vit_patch4.safetensors' does not exist yet",
        "  note: denoisers.fashion_mnist: is trained first, 'no-results/train/denoiser/fashion_mnist/unet/config.json' does "
        "not exist yet",
    ]
    lines = problems(
        run,
        named,
        put("models", "vit_patch4", "weights", value="trained"),
        put("models", "vit_patch4", "training", value={**recipe, "start_from": "no-file.safetensors"}),
    )
    assert lines == [
        "models.vit_patch4.training.start_from: 'no-file.safetensors' does not exist; fetch it, or remove the key"
    ]

    def pupil(raw: dict[str, Any]) -> None:
        """A second model, which starts from the weights that the study trains first."""
        start = {"start_from": "no-results/train/classifier/vit_patch4.safetensors"}
        raw["models"]["pupil"] = {**raw["models"]["vit_patch4"], "weights": "trained", "training": {**recipe, **start}}

    lines = run(
        named,
        put("models", "vit_patch4", "weights", value="trained"),
        put("models", "vit_patch4", "training", value=recipe),
        pupil,
        results="no-results",
    )
    assert lines[-1].startswith("  note: models.vit_patch4: is trained first")
    assert any(line.startswith("  note: models.pupil: is trained first") for line in lines)


def test_a_teacher_of_other_images_is_reported(run: Callable[..., list[str]]) -> None:
    recipe = {"train_on": "tiny", "test_on": "tiny"}
    overlay = {"pretrained_cfg_overlay": {"input_size": [1, 28, 28]}}

    def teacher(arguments: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
        arguments = {"in_chans": 1, "num_classes": 10, **arguments}
        return put("models", "cnn", value={"timm": "test_resnet", "arguments": arguments, "weights": "trained", "training": recipe})  # fmt: skip

    given = (
        put("experiments", "tiny", "datasets", value=["tiny"]),
        put("experiments", "tiny", "models", value=["vit_patch4"]),
        put("models", "vit_patch4", "weights", value="trained"),
        put("models", "vit_patch4", "training", value={**recipe, "teacher": "cnn"}),
    )
    assert problems(run, *given, teacher({})) == [
        "models.vit_patch4.training.teacher: 'cnn' takes images of 1×160×160 and has 10 classes, models.vit_patch4 takes images of "
        "1×28×28 and has 10 classes; name a model that fits. Where an architecture of timm's has no img_size, "
        "arguments.pretrained_cfg_overlay: {input_size: [channels, height, width]} says the size"
    ]
    lines = run(*given, teacher(overlay), results="no-results")
    assert sum("models.cnn: is trained first" in line for line in lines) == 1


def test_a_dataset_and_a_model_are_compared_once(
    run: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    monkeypatch.setattr(check, "check_pair", lambda *given: compared.append((given[0], given[2])))
    run()  # four conditions
    assert compared == [("tiny", "vit_patch4")]


def test_class_order() -> None:
    model = ["tench, Tinca tinca", "goldfish", "great white shark, white shark"]
    assert class_order_note(["tench", "Goldfish", "white_shark"], model) == ""
    assert class_order_note([], model) == class_order_note(model, []) == ""
    assert class_order_note(["tench", "Carassius auratus", "white shark"], model) == ""  # one unknown spelling
    swapped = class_order_note(["tench", "white shark", "goldfish"], model)
    assert swapped.startswith("'white shark' is label 1 in the dataset and 2 in the model; both must count")
    subset = class_order_note(["goldfish", "white shark"], model)
    assert subset.startswith("'goldfish' is label 0 in the dataset and 1 in the model")
    unknown = class_order_note(["n01440764", "n01443537", "n01484850"], model)
    assert unknown.startswith("label 0 is 'n01440764' in the dataset and 'tench, Tinca tinca' in the model")


def test_all_problems_come_at_once(run: Callable[..., list[str]]) -> None:
    lines = problems(
        run,
        put("models", "vit_patch4", "weights", value="nowhere.safetensors"),
        put("denoisers", "fashion_mnist", "path", value="resources/denoisers/nothing"),
        put("datasets", "tiny", "path", value="nowhere.parquet"),
    )
    assert [line.split(":")[0] for line in lines] == [
        "datasets.tiny", "models.vit_patch4.weights", "denoisers.fashion_mnist.path",
    ]  # fmt: skip


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vitfaith.cli.main import app

    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, ["check", "config/tiny.yaml", "--elsewhere"])
    assert done.exit_code == 0, done.output
    assert "config/tiny.yaml: 1 experiment, 4 conditions" in done.output


def test_the_examples_lack_nothing_but_their_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, settings and explainers of config/examples hold; what the user must set is what is reported."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError) as caught:
        check_study(ROOT / "config" / "examples" / "imagenet.yaml", elsewhere=True)
    lines = str(caught.value).splitlines()
    assert [line.split(";")[0] for line in lines] == [
        "datasets.imagenet: 'data/imagenet/val' does not exist",
        "models.dinov2_b.weights: 'data/dinov2-base-imagenet1k-1-layer' does not exist",
        "denoisers.adm.path: 'data/256x256_diffusion_uncond.pt' does not exist",
    ]


def test_classes_that_a_model_or_dataset_does_not_have(run: Callable[..., list[str]]) -> None:
    assert problems(run, put("experiments", "tiny", "targets", value=[9, 10])) == [
        "experiments.tiny.targets: 'class_10' needs a model with 11 classes at least, and model 'vit_patch4' has 10 (0 to 9); "
        "choose another class"
    ]

"""`vitfaith check`: each thing that can be wrong, in one sentence with its key and the way out, before anything runs."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from tests.conftest import tiny_vit
from vitfaith.artifacts.images import encode_images
from vitfaith.artifacts.schemas import SHARDS
from vitfaith.artifacts.store import write_table
from vitfaith.check import study as check
from vitfaith.check.models import class_order_note
from vitfaith.check.study import check_study
from vitfaith.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "data"
Change = Callable[[dict[str, Any]], Any]


def put(*keys: str, value: Any) -> Change:
    def change(raw: dict[str, Any]) -> None:
        for key in keys[:-1]:
            raw = raw[key]
        raw[keys[-1]] = copy.deepcopy(value)

    return change


def problems(run: Callable[..., list[str]], *changes: Change) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        run(*changes)
    return str(caught.value).splitlines()


def image_file(path: Path, shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10, sizes: int = 1) -> str:
    """A Parquet file of 20 images; with ``sizes`` 2 the last one is smaller."""
    rng, tables = np.random.default_rng(0), []
    for i in range(20):
        height = shape[1] - (4 if sizes > 1 and i == 19 else 0)
        pixels = rng.integers(0, 256, (1, shape[0], height, shape[2]), dtype=np.uint8)
        row = {"image_id": [f"i{i}"], "label": pa.array([i % classes], pa.int32()), **encode_images(pixels)}
        tables.append(pa.table(row))
    write_table(pa.concat_tables(tables), path, SHARDS, {})
    return str(path)


def dataset(path: str) -> Change:
    return put("datasets", "tiny", value={"reader": "parquet", "path": path, "images": 20, "shard_size": 20})


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


def test_weights(run: Callable[..., list[str]], tmp_path: Path) -> None:
    model = ("models", "vit_patch4")
    assert problems(run, put(*model, "weights", value="nowhere.safetensors")) == [
        "models.vit_patch4.weights: 'nowhere.safetensors' does not exist; give a file, a folder, 'trained' or 'pretrained'"
    ]
    (line,) = problems(run, put(*model, "arguments", "depth", value=5))
    assert line.startswith(
        f"models.vit_patch4: weights '{ROOT}/resources/models/vit_patch4.safetensors' do not fit the model: "
    )
    assert "12 unexpected: blocks.5.attn.proj.bias, " in line
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((ROOT / "resources/models/vit_patch4.safetensors").read_bytes()[:1000])
    (line,) = problems(run, put(*model, "weights", value=str(cut)))
    assert line.startswith(f"models.vit_patch4: weights '{cut}' cannot be read")
    (line,) = problems(run, put(*model, "timm", value="vit_tinny_patch16_224"))
    assert "did you mean 'vit_tiny_patch16_224'" in line
    (line,) = problems(run, put(*model, "weights", value="pretrained"))
    assert "has 1000 classes, num_classes asks for 10, which would be random" in line
    (line,) = problems(run, put(*model, value={"weights": "tests/data"}))
    assert line == (
        "models.vit_patch4: 'tests/data/config.json' cannot be read: [Errno 2] No such file or directory: "
        "'tests/data/config.json'"
    )


def test_images_and_classes(run: Callable[..., list[str]], tmp_path: Path) -> None:
    large = image_file(tmp_path / "large.parquet", (1, 32, 32))
    lines = problems(run, dataset(large))
    assert lines == [
        "datasets.tiny: gives images of 1×32×32, models.vit_patch4 takes 1×28×28; set the dataset's preprocessing to size "
        "28, or models.vit_patch4.arguments.img_size"
    ]
    colour = image_file(tmp_path / "colour.parquet", (3, 28, 28))
    lines = problems(run, dataset(colour))
    assert lines[0].endswith("models.vit_patch4 takes 1×28×28; set its channels to grey")
    assert lines[1] == (
        "smoothings.dds, datasets.tiny: the denoiser takes 1 channel(s), the images have 3; use a denoiser trained on "
        "such images"
    )
    more = image_file(tmp_path / "more.parquet", classes=12)
    assert problems(run, dataset(more)) == [
        "datasets.tiny: has labels up to 11, models.vit_patch4 has 10 classes; choose a model trained on these classes"
    ]
    mixed = image_file(tmp_path / "mixed.parquet", sizes=2)
    assert problems(run, dataset(mixed)) == [
        "datasets.tiny: images of several sizes (1×24×28 and 1×28×28); set a preprocessing with a size"
    ]


def test_patches_that_do_not_fit_the_image(run: Callable[..., list[str]], tmp_path: Path) -> None:
    model = tiny_vit(img_size=28, patch_size=5, in_chans=1, num_classes=10, dynamic_img_size=True)
    save_file(dict(model.backbone.state_dict()), tmp_path / "m.safetensors")
    arguments = {"img_size": 28, "patch_size": 5, "in_chans": 1, "embed_dim": 24, "depth": 3, "num_heads": 3}
    arguments |= {"mlp_ratio": 2.0, "num_classes": 10}

    def asked(**more: Any) -> Change:
        section = {
            "timm": "vit_tiny_patch16_224",
            "arguments": arguments | more,
            "weights": str(tmp_path / "m.safetensors"),
            "mean": [0.5],
            "std": [0.25],
        }
        return put("models", "vit_patch4", value=section)

    assert problems(run, asked(dynamic_img_size=True)) == [
        "models.vit_patch4: model VisionTransformer has patches of 5×5 pixels, which do not fit its images of 28×28 pixels; "
        "set img_size, and the dataset's preprocessing, to a size that is a multiple of the patch"
    ]
    run(asked())  # the last three rows and columns of pixels are not seen
    run(asked(dynamic_img_size=True, dynamic_img_pad=True))


def test_datasets(run: Callable[..., list[str]], tmp_path: Path) -> None:
    (line,) = problems(run, put("datasets", "tiny", "path", value="nowhere.parquet"))
    assert line.startswith("datasets.tiny: 'nowhere.parquet' does not exist")
    (line,) = problems(run, put("datasets", "tiny", "images", value=5000))
    assert line == "datasets.tiny: 'images' asks for 5000, the dataset has 1000"
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and no more")
    (line,) = problems(run, put("datasets", "tiny", "path", value=str(broken)))
    assert line.startswith(f"datasets.tiny: '{broken}' is not a readable Parquet file")


def test_denoisers(run: Callable[..., list[str]], tmp_path: Path) -> None:
    section = ("denoisers", "fashion_mnist")
    (line,) = problems(run, put(*section, "path", value="resources/denoisers/nothing"))
    assert line == (
        "denoisers.fashion_mnist.path: 'resources/denoisers/nothing/unet/config.json' does not exist; give a folder in the "
        "diffusers layout, a hub id (owner/name), or a checkpoint with format adm"
    )
    folder = tmp_path / "denoiser"
    shutil.copytree(ROOT / "resources/denoisers/fashion_mnist", folder)
    file = folder / "unet" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"block_out_channels": [16, 32, 128]}))
    (line,) = problems(run, put(*section, "path", value=str(folder)))
    assert line.startswith("denoisers.fashion_mnist: ")
    assert "do not fit config.json" in line
    (line,) = problems(run, put("smoothings", "dds", "sigma", value=200))
    assert line.startswith("smoothings.dds: sigma = 200 exceeds the noise of this denoiser's schedule; the largest ")
    notes = run(put(*section, "path", value="google/ddpm-cifar10-32"))
    assert (
        "  note: denoisers.fashion_mnist: the first job downloads 'google/ddpm-cifar10-32' from the Hugging Face"
        in "\n".join(notes)
    )


def test_published_denoisers(run: Callable[..., list[str]], tmp_path: Path) -> None:
    colour = image_file(tmp_path / "colour.parquet", (3, 30, 30))
    save_file(
        dict(tiny_vit(img_size=30, patch_size=5, num_classes=10).backbone.state_dict()), tmp_path / "m.safetensors"
    )
    arguments = {
        "img_size": 30,
        "patch_size": 5,
        "embed_dim": 24,
        "depth": 3,
        "num_heads": 3,
        "mlp_ratio": 2.0,
        "num_classes": 10,
    }
    model = {"timm": "vit_tiny_patch16_224", "arguments": arguments, "weights": str(tmp_path / "m.safetensors")}
    flags = {
        "image_size": 32, "num_channels": 32, "num_res_blocks": 1, "channel_mult": "1,2", "attention_resolutions": "16",
    }  # fmt: skip
    checkpoint = tmp_path / "adm.safetensors"
    arrays = load_file(GOLDEN / "adm_improved_cifar.safetensors")
    save_file({k.removeprefix("weights."): v for k, v in arrays.items() if k.startswith("weights.")}, checkpoint)
    adm = {"path": str(checkpoint), "format": "adm", "arguments": flags}
    base = (dataset(colour), put("models", "vit_patch4", value=model), put("denoisers", "fashion_mnist", value=adm))
    assert run(*base)
    assert run(*base, put("smoothings", "dds", "size", value="network"))
    (line,) = problems(run, *base, put("denoisers", "fashion_mnist", "arguments", value=flags | {"num_res_blocks": 2}))
    assert line.startswith(f"denoisers.fashion_mnist: weights '{checkpoint}' do not fit the model: ")
    assert line.endswith("choose the checkpoint's preset, or give the flags that it was trained with under arguments")
    deeper = flags | {"channel_mult": "1,2,2", "num_channels": 32}
    (line,) = problems(run, *base, put("denoisers", "fashion_mnist", "arguments", value=deeper))
    assert "do not fit the model" in line
    (line,) = problems(run, *base, put("denoisers", "fashion_mnist", "class_label", value=3))
    assert line.endswith("is unconditional; remove class_label")


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

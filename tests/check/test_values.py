"""Values that no run can use, found before it: numbers, external maps, parameters beyond the grid, labels in another order."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.check.changes import ROOT, dataset, image_file, problems, put
from vitfaith.datasets.opening import open_source
from vitfaith.errors import ArtifactError, ConfigError
from vitfaith.models.checkpoint import read_checkpoint
from vitfaith.models.classifier import build_backbone
from vitfaith.models.load import load_classifier

Run = Callable[..., list[str]]
MODEL = ("models", "vit_patch4")
WEIGHTS = ROOT / "resources/models/vit_patch4.safetensors"
UNET = ROOT / "resources/denoisers/fashion_mnist"
DATA = {"use": "parquet", "path": str(ROOT / "resources/data/fashion_mnist.parquet")}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_weights_that_are_no_numbers(run: Run, tmp_path: Path, value: float, suffix: str) -> None:
    state = load_file(WEIGHTS)
    state["blocks.3.mlp.fc1.bias"][5] = value
    path = tmp_path / f"w.{suffix}"
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    own = put(*MODEL, "mean", value=[0.3]), put(*MODEL, "std", value=[0.3])
    (line,) = problems(run, put(*MODEL, "weights", value=str(path)), *own)
    assert line == (
        f"models.vit_patch4.weights: weights '{path}': tensor 'blocks.3.mlp.fc1.bias' holds NaN or infinite values; take a "
        "checkpoint from before training failed"
    )
    with pytest.raises(ArtifactError, match=r"tensor 'blocks.3.mlp.fc1.bias' holds NaN or infinite values"):
        read_checkpoint(path)


def test_a_denoiser_that_holds_no_numbers(run: Run, tmp_path: Path) -> None:
    import shutil

    from vitfaith.denoisers.denoiser import Denoiser

    shutil.copytree(UNET, tmp_path / "d")
    file = tmp_path / "d/unet/diffusion_pytorch_model.safetensors"
    state = load_file(file)
    state["conv_in.bias"][0] = float("nan")
    save_file(state, file, metadata={"format": "pt"})
    (line,) = problems(run, put("denoisers", "fashion_mnist", "path", value=str(tmp_path / "d")))
    assert line.startswith(f"denoisers.fashion_mnist.path: weights '{file}': tensor 'conv_in.bias' holds NaN")
    with pytest.raises(ArtifactError, match=r"tensor 'conv_in.bias' holds NaN"):
        Denoiser.load(tmp_path / "d")


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        ((*MODEL, "mean"), [float("nan")], "models.vit_patch4.mean.0: Input should be a finite number"),
        ((*MODEL, "std"), [float("inf")], "models.vit_patch4.std.0: Input should be a finite number"),
        (("attacks", "pgd", "eps"), float("nan"), "attacks.pgd.eps: Input should be a finite number"),
        (
            ("smoothings", "dds", "samples"),
            10**9,
            "smoothings.dds.samples: Value error, 1,000,000,000 is beyond any count",
        ),
        (("attacks", "pgd", "steps"), 10**7, "attacks.pgd.steps: Value error, 10,000,000 is beyond any count"),
        (
            ("metrics", "saco", "groups"),
            [7, 10**8],
            "metrics.saco.groups: Value error, 100,000,000 is beyond any count",
        ),
        (("statistics", "resamples"), 10**6, "statistics.resamples: Input should be less than or equal to 100000"),
        (("compute",), {"batch_size": 10**9}, "compute.batch_size"),
        (
            ("datasets", "tiny", "shard_size"),
            10**12,
            "datasets.tiny.shard_size: Value error, 1,000,000,000,000 is beyond",
        ),
        (("figures", "style"), {"sequential": "virdis"}, "unknown colour map (did you mean 'viridis'?); take one of"),
        (("figures", "style"), {"diverging": "RdBuu"}, "unknown colour map (did you mean 'RdBu'?); take one of"),
    ],
)
def test_numbers_and_names_that_nothing_can_use(run: Run, keys: tuple[str, ...], value: Any, message: str) -> None:
    lines = problems(run, put(*keys, value=value))
    assert any(message in line for line in lines), lines


def test_seeds_of_any_size_and_colour_maps_of_seaborn_are_fine(run: Run) -> None:
    run(put("seed", value=2**40), put("figures", "style", value={"sequential": "rocket_r", "diverging": "RdBu_r"}))


def test_stored_normalisation_that_is_no_number(tmp_path: Path) -> None:
    description = {"mean": [float("nan")], "std": [0.3]}
    save_file(load_file(WEIGHTS), tmp_path / "w.safetensors", metadata={"vitfaith": json.dumps(description)})
    with pytest.raises(
        ConfigError, match=r"the normalisation stored with '.*' is mean \[nan\], std \[0.3\]; set mean and"
    ):
        load_classifier(spec(), tmp_path / "w.safetensors")


def spec(**more: Any) -> dict[str, Any]:
    from vitfaith.study.load import read_yaml

    section = read_yaml(ROOT / "config/tiny.yaml")["models"]["vit_patch4"]
    return {"timm": section["timm"], "arguments": section["arguments"], **more}


def test_an_assumed_normalisation_is_noted_and_kept(run: Run, tmp_path: Path) -> None:
    arguments = {**spec()["arguments"], "in_chans": 3}
    save_file(build_backbone(spec()["timm"], arguments).state_dict(), str(tmp_path / "w.safetensors"))
    changes = [
        dataset(image_file(tmp_path / "colour.parquet", (3, 28, 28))),
        put(*MODEL, "weights", value=str(tmp_path / "w.safetensors")),
        put(*MODEL, "arguments", value=arguments),
        put("experiments", "tiny", "smoothings", value=["none"]),
    ]
    assert [line for line in run(*changes) if "note" in line] == [
        "  note: models.vit_patch4: images are normalised with mean [0.5, 0.5, 0.5], std [0.5, 0.5, 0.5]: timm's defaults for "
        "vit_tiny_patch16_224, as neither the study nor the weights say; set mean and std to the values of the training"
    ]
    given = run(*changes, put(*MODEL, "mean", value=[0.3] * 3), put(*MODEL, "std", value=[0.3] * 3))
    assert not [line for line in given if "normalised" in line]
    stored = load_classifier(spec(), WEIGHTS).normalisation
    assert stored["from"] == "the weights"
    assert load_classifier(spec(mean=[0.3], std=[0.2]), WEIGHTS).normalisation == {
        "mean": [0.3],
        "std": [0.2],
        "from": "the study",
    }


def test_the_provenance_of_a_job_names_the_normalisation(tmp_path: Path) -> None:
    from vitfaith.artifacts.store import read_provenance
    from vitfaith.stages.attack import run_attack

    shard = Path(image_file(tmp_path / "shard.parquet"))
    settings = {"model": spec(), "attack": {"use": "clean"}, "seed": 0}
    out, predictions = tmp_path / "a.parquet", tmp_path / "p.parquet"
    run_attack(settings, "", shard, WEIGHTS, out, predictions, device="cpu", batch_size=20)
    stored = read_provenance(predictions)["normalisation"]
    assert stored == load_classifier(spec(), WEIGHTS).normalisation
    assert read_provenance(out)["normalisation"] == stored


def external(path: Path, **more: Any) -> Callable[[dict[str, Any]], Any]:
    return put("explainers", "rollout", value={"explainer": "external", "path": str(path), **more})


def names(run: Run, count: int = 12) -> list[str]:
    from vitfaith.datasets.subset import stratified_subset

    source = open_source(DATA)
    return [source.image_ids[int(i)] for i in stratified_subset(source.labels, count, 7)]


def test_external_maps(run: Run, tmp_path: Path) -> None:
    key = "explainers.rollout, datasets.tiny, models.vit_patch4: external"
    path = tmp_path / "maps.npz"
    assert problems(run, external(path)) == [f"{key}: path '{path}' does not exist; give a .parquet or .npz file"]
    (tmp_path / "maps.csv").write_text("x")
    assert problems(run, external(tmp_path / "maps.csv")) == [
        f"{key}: path '{tmp_path}/maps.csv' ends in '.csv'; give a .parquet or .npz file"
    ]
    ids = np.array(names(run))
    np.savez(path, image_ids=ids[1:], maps=np.zeros((11, 7, 7), np.float32))
    assert problems(run, external(path)) == [
        f"{key} maps '{path}' lack 1 of 12 images, first '{ids[0]}'; add them or restrict the dataset to the images that "
        "have maps"
    ]
    np.savez(path, image_ids=ids, maps=np.zeros((12, 14, 14), np.float32))
    assert problems(run, external(path)) == [
        f"{key} maps '{path}': the map of image '{ids[0]}' has shape (14, 14); give the image size (28, 28) or the patch grid "
        "(7, 7)"
    ]
    np.savez(path, image_ids=ids, maps=np.zeros((12, 7, 7), np.float32))
    assert "the image size (28, 28)" in problems(run, external(path, resolution="pixel"))[0]
    os.mkfifo(tmp_path / "pipe.npz")
    assert "does not exist" in problems(run, external(tmp_path / "pipe.npz"))[0]
    run(external(path))


def test_all_names_of_many_external_maps_are_looked_for(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setattr("vitfaith.check.external.READ", 3)
    ids = names(run)
    table = pa.table({"image_id": ids, "map": [[0.5] * 49] * 12})
    npz, parquet = tmp_path / "m.npz", tmp_path / "m.parquet"
    for missing in (None, 4):
        kept = [i for i in range(12) if i != missing]
        pq.write_table(table.take(kept), parquet)
        np.savez(npz, **{ids[i]: np.zeros((7, 7)) for i in kept})
        for path in (npz, parquet):
            if missing is None:
                run(external(path))
            else:
                (line,) = problems(run, external(path))
                assert f"lack 1 of 12 images, first '{ids[4]}'" in line


def test_parameters_beyond_the_grid(run: Run) -> None:
    assert problems(run, put("metrics", "saco", "groups", value=[50])) == [
        "metrics.saco, models.vit_patch4: groups=50, but the maps have only 49 features; choose at most 49 groups or level "
        "'pixel'"
    ]
    assert problems(run, put("metrics", "deletion_auc", "steps", value=100)) == [
        "metrics.deletion_auc, models.vit_patch4: steps=100, but the maps have only 49 features; choose at most 49 steps"
    ]
    (line,) = problems(run, put("stability", "top_k_overlap", value={"k": [80]}))
    assert line.startswith("stability.top_k_overlap, models.vit_patch4: ")
    run(put("metrics", "saco", value={"groups": [50], "level": "pixel"}))


def test_a_model_beyond_memory(run: Run) -> None:
    training = {"train_on": "tiny", "test_on": "tiny"}
    lines = problems(
        run,
        put("experiments", "tiny", "datasets", value=["tiny"]),
        put(*MODEL, "weights", value="trained"),
        put(*MODEL, "training", value=training),
        put(*MODEL, "arguments", "img_size", value=4_000),
    )
    assert any(
        line.startswith("models.vit_patch4: one image needs ")
        and line.endswith("choose a smaller architecture or img_size")
        for line in lines
    ), lines


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_weights_that_are_no_file(run: Run, tmp_path: Path, kind: str) -> None:
    path = Path("/dev/zero")
    if kind == "pipe":
        path = tmp_path / "w.safetensors"
        os.mkfifo(path)
    (line,) = problems(run, put(*MODEL, "weights", value=str(path)))
    assert line.startswith(f"models.vit_patch4.weights: '{path}' does not exist; give a file")
    with pytest.raises(
        ArtifactError, match=r"cannot be read: it is a folder, a pipe or a device; name the file itself"
    ):
        read_checkpoint(path)


def test_a_sample_measures_the_accuracy(run: Run, tmp_path: Path) -> None:
    from vitfaith.artifacts.images import encode_images
    from vitfaith.artifacts.schemas import SHARDS
    from vitfaith.artifacts.store import write_table

    lines = run(put("datasets", "tiny", "images", value=200), sample=32)
    (line,) = [line for line in lines if "classified as labelled" in line]
    assert line.startswith("  note: datasets.tiny, models.vit_patch4: ")
    right, of = (int(word) for word in line.split() if word.isdigit())
    assert of == 32
    assert right > 20
    import pyarrow as pa

    source = open_source(DATA)
    labels = (source.labels[:200] * 7 + 3) % 10  # classes in another order
    columns = {"image_id": source.image_ids[:200], "label": pa.array(labels, pa.int32())}
    table = pa.table({**columns, **encode_images(source.read(np.arange(200)))})
    write_table(table, tmp_path / "other.parquet", SHARDS, {})
    lines = run(dataset(str(tmp_path / "other.parquet")), put("datasets", "tiny", "images", value=200), sample=32)
    (line,) = [line for line in lines if "classified as labelled" in line]
    assert line.endswith(
        "of 32 clean images are classified as labelled, no better than chance (1 of 10 classes); look first at the order of "
        "the classes (the dataset's labels and the model's), then at the weights, then at the normalisation"
    )

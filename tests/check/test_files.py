"""`vitfaith check`: weights, images, datasets and denoisers that do not fit, each in one sentence with its key and the way out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from tests.check.changes import GOLDEN, ROOT, Change, dataset, image_file, problems, put
from tests.conftest import tiny_vit


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

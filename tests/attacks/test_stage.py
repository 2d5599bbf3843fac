"""Attacks from a configuration's entry to the stored file: every norm-bounded class of torchattacks, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.conftest import tiny_vit
from vitfaith.artifacts.images import decode_images, encode_images
from vitfaith.artifacts.schemas import IMAGES, PREDICTIONS, SHARDS
from vitfaith.artifacts.store import read_table, write_table
from vitfaith.attacks.catalogue import bound_of, signatures
from vitfaith.models.classifier import save_classifier
from vitfaith.registries import DISCRIMINATORS, REGISTRIES
from vitfaith.stages.attack import run_attack
from vitfaith.study.load import instance

ARGUMENTS = dict(
    img_size=16, patch_size=4, in_chans=3, embed_dim=24, depth=3, num_heads=3, mlp_ratio=2.0, num_classes=5
)
MODEL = {"timm": "vit_tiny_patch16_224", "arguments": ARGUMENTS, "mean": [0.5] * 3, "std": [0.25] * 3}
CHEAP = {"steps": 2, "n_queries": 10, "nb_sample": 4, "max_batch_size": 4, "num_iter_set": 2, "batch_max": 64}
L2_TOO = ("APGD", "APGDT", "FAB", "Square")


def entries() -> dict[str, dict[str, Any]]:
    """What stands under an attack's id in the YAML, for every class and norm that promises a radius."""
    found: dict[str, dict[str, Any]] = {}
    for name, takes in signatures().items():
        if name == "AutoAttack" or bound_of(name, {}) is None:  # 5,000 queries an image, tested as autoattack
            continue
        radius = "max_epsilon" if "max_epsilon" in takes else "eps"
        arguments = {k: v for k, v in CHEAP.items() if k in takes}
        eps: Any = "6/255" if bound_of(name, {}).norm == "linf" else 0.4  # type: ignore[union-attr]
        found[name] = {"attack": "torchattacks", "name": name, "arguments": {radius: eps, **arguments}}
        if name in L2_TOO:
            more = {radius: 0.4, "norm": "L2", **arguments}
            found[f"{name}-l2"] = {"attack": "torchattacks", "name": name, "arguments": more}
    return found


ENTRIES = entries()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attack")
    pixels = np.random.default_rng(3).integers(0, 256, (1, 3, 16, 16), dtype=np.uint8)
    shard = {"image_id": pa.array(["a"]), "label": pa.array([4]), **encode_images(pixels)}
    write_table(pa.table(shard), folder / "shard.parquet", SHARDS, {})
    save_classifier(tiny_vit(), folder / "vit.safetensors", {})
    return folder


def attack(files: Path, out: Path, entry: dict[str, Any]) -> tuple[pa.Table, pa.Table, Any]:
    """Images and predictions that the stage stores, and the bound that the entry promises."""
    item = instance("attacks", "mine", entry)
    run_attack(
        {"model": MODEL, "attack": item.spec(), "seed": 5},
        "",
        files / "shard.parquet",
        files / "vit.safetensors",
        out / "images.parquet",
        out / "predictions.parquet",
        device="cpu",
        batch_size=4,
    )
    bound = REGISTRIES["attacks"][item.name].traits["bound"](item.parameters)
    return read_table(out / "images.parquet", IMAGES), read_table(out / "predictions.parquet", PREDICTIONS), bound


@pytest.mark.parametrize("name", list(ENTRIES))
def test_a_class_of_torchattacks_from_the_config_to_the_file(files: Path, tmp_path: Path, name: str) -> None:
    images, predictions, bound = attack(files, tmp_path, ENTRIES[name])
    clean = decode_images(read_table(files / "shard.parquet", SHARDS), np.uint8, "").astype(float) / 255
    stored = decode_images(images, np.uint8, "").astype(float) / 255
    difference = np.abs(stored - clean).reshape(1, -1)
    linf, l2 = difference.max(1), np.sqrt((difference**2).sum(1))
    np.testing.assert_allclose(images["linf"].to_numpy(), linf, rtol=1e-5)
    np.testing.assert_allclose(images["l2"].to_numpy(), l2, rtol=1e-5)
    assert bound.norm == ("l2" if name.endswith("-l2") or name in ("PGDL2", "PGDRSL2") else "linf")
    assert (linf if bound.norm == "linf" else l2).max() <= bound.eps + 1e-7
    predicted = tiny_vit()(torch.from_numpy(stored).float()).argmax(1).numpy()
    np.testing.assert_array_equal(images["prediction"].to_numpy(), predicted)
    np.testing.assert_array_equal(predictions["prediction"].to_numpy(), predicted)
    np.testing.assert_array_equal(
        images["success"].to_numpy(zero_copy_only=False), predicted != images["target"].to_numpy()
    )
    assert images["label"].to_pylist() == [4]


def test_every_bounded_class_is_among_them() -> None:
    linf = "APGD APGDT BIM DIFGSM EOTPGD FAB FFGSM FGSM Jitter MIFGSM NIFGSM PGD PGDRS PIFGSM PIFGSMPP RFGSM SINIFGSM"
    linf += " SPSA Square TIFGSM TPGD UPGD VMIFGSM VNIFGSM"
    l2 = "PGDL2 PGDRSL2 APGD-l2 APGDT-l2 FAB-l2 Square-l2"
    assert set(ENTRIES) == {*linf.split(), *l2.split()}


def test_no_parameter_hides_behind_the_key_that_names_the_kind() -> None:
    """A field called like the key, ``attack`` in the section attacks, could not be set from a configuration."""
    for section, registry in REGISTRIES.items():
        for entry in registry:
            assert DISCRIMINATORS[section] not in entry.parameters.model_fields, (section, entry.name)

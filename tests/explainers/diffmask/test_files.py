"""DiffMasks on disk, as explainers, and their placeholder as a fill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from tests.conftest import tiny_vit
from vitfaith.artifacts.paths import Condition
from vitfaith.artifacts.schemas import DIFFMASK_LOG
from vitfaith.check.learned import check_learned_files
from vitfaith.check.report import Report
from vitfaith.errors import ArtifactError, ConfigError, InputError
from vitfaith.explainers.diffmask.files import check_trained_for, load_diffmask, save_diffmask
from vitfaith.explainers.diffmask.hard_concrete import HardConcrete
from vitfaith.explainers.diffmask.network import DiffMask, new_diffmask
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.metrics.context import ScoreContext
from vitfaith.metrics.engine.engine import Engine
from vitfaith.metrics.engine.requests import Clean, Curve, EqualSteps, Features, Full
from vitfaith.metrics.fills.registry import FILLS
from vitfaith.models.classifier import Classifier, save_classifier
from vitfaith.models.passes import PassCounter
from vitfaith.stages import train_diffmask as stage
from vitfaith.stages.train_diffmask import run_train_diffmask
from vitfaith.study.identity import code_of, spec_of
from vitfaith.study.learned import explainer_spec, learned_files, placeholder_file, trained
from vitfaith.study.load import load_study
from vitfaith.study.plan import Plan


def made(vit: Classifier, **options: Any) -> DiffMask:
    return new_diffmask(vit, distribution=HardConcrete(), generator=torch.Generator().manual_seed(3), **options)


@pytest.fixture
def path(vit: Classifier, tmp_path: Path) -> Path:
    file = tmp_path / "vit.safetensors"
    save_diffmask(made(vit, beta=1.0), file, vit, {"note": "x"})
    return file


def test_what_is_saved_comes_back(vit: Classifier, images: Tensor, path: Path) -> None:
    network = load_diffmask(path, vit)
    assert torch.equal(network.explain(vit, images), made(vit, beta=1.0).explain(vit, images))
    assert not any(p.requires_grad for p in network.parameters())
    check_trained_for(path, vit)


def test_files_that_do_not_fit(vit: Classifier, path: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"none\.safetensors' does not exist; train it"):
        load_diffmask(tmp_path / "none.safetensors", vit)
    with pytest.raises(ArtifactError, match=r"4 gates|5 gates, a model of 2 blocks needs 4.*another model"):
        load_diffmask(path, tiny_vit(depth=2))
    with pytest.raises(ArtifactError, match="width 24, the model's have 12"):
        load_diffmask(path, tiny_vit(embed_dim=12))
    with pytest.raises(ArtifactError, match="trained for other weights"):
        check_trained_for(path, tiny_vit(seed=1))
    with pytest.raises(ArtifactError, match="of no class; use it with the explainer diffmask"):
        load_diffmask(path, vit, class_specific=True)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_diffmask(broken, vit)
    save_classifier(vit, tmp_path / "classifier.safetensors", {})
    with pytest.raises(ArtifactError, match="holds no DiffMask"):
        load_diffmask(tmp_path / "classifier.safetensors", vit)
    (tmp_path / "old.pt").write_bytes(b"")
    with pytest.raises(ArtifactError, match="no safetensors file"):
        load_diffmask(tmp_path / "old.pt", vit)
    classes = tmp_path / "classes.safetensors"
    save_diffmask(made(vit, class_specific=True), classes, vit, {})
    with pytest.raises(ArtifactError, match="knows 5 classes, the model has 4"):
        load_diffmask(classes, tiny_vit(num_classes=4))


def test_explainers_of_a_job_share_one_forward(vit: Classifier, images: Tensor, targets: Tensor, path: Path) -> None:
    methods = {kind: EXPLAINERS.item("diffmask", weights=path, mask=kind) for kind in ("expected", "official")}
    with PassCounter(vit.backbone) as passes:
        maps = explain(vit, images, targets, [f"i{i}" for i in range(5)], methods, seed=0, batch_size=5)
    assert (passes.forwards, passes.backwards) == (5, 0)
    assert bool((maps["official"] > maps["expected"]).all())  # P(z > 0) > E[z] where high is 1


@pytest.mark.parametrize("name", ["diffmask_per_image", "diffmask_per_image_class"])
def test_what_an_optimisation_for_one_image_costs(vit: Classifier, images: Tensor, targets: Tensor, name: str) -> None:
    methods = {name: EXPLAINERS.item(name, steps=5)}
    with PassCounter(vit.backbone) as passes:
        explain(vit, images[:2], targets[:2], ["a", "b"], methods, seed=4, batch_size=2)
    assert (passes.forwards, passes.backwards) == (2 * 6, 2 * 5)


def scored(vit: Classifier, images: Tensor, maps: Tensor, requests: list[Any], **extras: Any) -> dict[Any, Any]:
    targets, usable = torch.tensor([0, 3, 1, 4, 3]), torch.ones(5, 1, dtype=torch.bool)
    context = ScoreContext(vit, images, targets, list("abcde"), ("m",), maps[:, None], usable, 0, extras=extras)
    return Engine(context, 7).answer(requests)


def test_the_placeholder_replaces_embeddings_of_removed_patches(vit: Classifier, images: Tensor) -> None:
    """A removal curve against a loop that puts the placeholder in by hand; the clean images stay as they are."""
    maps = torch.rand(5, 4, 4, generator=torch.Generator().manual_seed(0))
    placeholder, fill = (
        torch.randn(24, generator=torch.Generator().manual_seed(1)),
        FILLS.item("diffmask_placeholder"),
    )

    curve = Curve("morf", Features("patch"), fill, EqualSteps(4))
    found = scored(vit, images, maps, [Clean(), Full(fill), curve], diffmask_placeholder=placeholder)
    targets = torch.tensor([0, 3, 1, 4, 3])
    for i in range(5):
        own = vit.backbone.patch_embed((images[i : i + 1] - vit.mean) / vit.std).detach()
        order = maps[i].flatten().argsort(descending=True)
        for step, count in enumerate((0, 4, 8, 12, 16)):
            tokens = own.clone()
            tokens[0, order[:count]] = placeholder
            handle = vit.backbone.patch_embed.register_forward_hook(lambda _m, _i, _o, tokens=tokens: tokens)
            with torch.no_grad():
                expected = float(vit(images[i : i + 1]).softmax(1)[0, targets[i]])
            handle.remove()
            assert float(found[curve].probability[i, 0, step]) == pytest.approx(expected, rel=1e-4)
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in vit.modules()) == 0


def test_a_placeholder_that_is_missing_or_cannot_be_used(vit: Classifier, images: Tensor) -> None:
    fill = FILLS.item("diffmask_placeholder")

    with pytest.raises(InputError, match="no trained DiffMask"):
        scored(vit, images, torch.rand(5, 4, 4), [Full(fill)])
    curve = Curve("morf", Features("pixel"), fill, EqualSteps(7))
    with pytest.raises(InputError, match="whole patches"):
        scored(vit, images, torch.rand(5, 4, 4), [curve], diffmask_placeholder=torch.zeros(24))
    with pytest.raises(InputError, match="width 7, the model's tokens have 24"):
        scored(vit, images, torch.rand(5, 4, 4), [Full(fill)], diffmask_placeholder=torch.zeros(7))


FAMILY = EXPLAINERS["diffmask"].traits["family"]
STUDY: dict[str, Any] = {
    "datasets": {"some": {"reader": "parquet", "path": "resources/data/fashion_mnist.parquet", "images": 16}},
    "models": {"vit": {"timm": "vit_tiny_patch16_224", "arguments": {"depth": 1}, "weights": "w.safetensors"}},
    "attacks": {"clean": {}},
    "smoothings": {"none": {}},
    "explainers": {
        "diffmask": {"weights": "masks", "training": {"train_on": "some", "test_on": "some"}},
        "own": {"explainer": "diffmask", "weights": "trained", "training": {"train_on": "some", "test_on": "some"}},
        "one": {"explainer": "diffmask_class", "weights": "one.safetensors"},
        "random": {},
    },
    "metrics": {"deletion_auc": {"fill": {"name": "diffmask_placeholder", "explainer": "own"}}, "saco": {}},
    "experiments": {
        "all": {
            "datasets": ["some"], "models": ["vit"], "attacks": ["clean"], "smoothings": ["none"],
            "explainers": ["diffmask", "own", "one", "random"], "metrics": ["deletion_auc", "saco"],
        }
    },
}  # fmt: skip


def test_the_plan_finds_the_files_of_each_model() -> None:
    plan = Plan(load_study(STUDY))
    here = Condition("some", "vit", "clean", "none", "clean_prediction")
    own = "results/train/diffmask/own/vit.safetensors"
    assert learned_files(plan, here, FAMILY) == ["masks/vit.safetensors", "one.safetensors", own]
    assert placeholder_file(plan, here) == own
    assert explainer_spec(plan, "diffmask", "vit") == {
        "use": "diffmask", "weights": "masks/vit.safetensors", "mask": "expected",
    }  # fmt: skip
    assert trained(plan) == [("diffmask", "vit"), ("own", "vit")]
    place = {
        "dataset": "some",
        "model": "vit",
        "attack": "clean",
        "smoothing": "none",
        "explained": "clean_prediction",
        "shard": "shard-000",
    }
    assert "training" not in spec_of(plan, "attribute", {**place, "family": FAMILY})
    spec = json.loads(spec_of(plan, "train_diffmask", {"explainer": "own", "model": "vit"}))
    assert spec["class_specific"] is False
    assert spec["recipe"]["margin"] == 0.1
    assert len(code_of(plan, "train_diffmask", {"explainer": "own", "model": "vit"})) == 12


@pytest.mark.parametrize(
    ("section", "entry", "problem"),
    [
        ("explainers", {"own": {"explainer": "diffmask", "weights": "trained"}}, "no key 'training'"),
        ("explainers", {"own": {"explainer": "diffmask", "weights": "trained", "training": {"train_on": "sme", "test_on": "some"}}}, "'sme' is not in section datasets"),
        ("metrics", {"deletion_auc": {"fill": {"name": "diffmask_placeholder", "explainer": "ow"}}}, "'ow' is not in section explainers"),
        ("metrics", {"deletion_auc": {"fill": {"name": "diffmask_placeholder", "explainer": "random"}}}, "'random' has no trained DiffMask"),
    ],
)  # fmt: skip
def test_configurations_that_cannot_work(section: str, entry: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_study({**STUDY, section: {**STUDY[section], **entry}})


def test_placeholders_of_two_explainers_are_refused() -> None:
    metrics = {**STUDY["metrics"], "aopc": {"fill": {"name": "diffmask_placeholder", "explainer": "diffmask"}}}
    experiments = {"all": {**STUDY["experiments"]["all"], "metrics": ["deletion_auc", "aopc"]}}
    plan = Plan(load_study({**STUDY, "metrics": metrics, "experiments": experiments}))
    with pytest.raises(ConfigError, match=r"aopc, deletion_auc.*several explainers"):
        placeholder_file(plan, Condition("some", "vit", "clean", "none", "clean_prediction"))


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_the_stage_writes_network_and_log(vit: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, out, log = (tmp_path / name for name in ("w.safetensors", "m.safetensors", "m.log.parquet"))
    arguments = {
        "img_size": 16,
        "patch_size": 4,
        "embed_dim": 24,
        "depth": 3,
        "num_heads": 3,
        "mlp_ratio": 2.0,
        "num_classes": 5,
    }
    description = {"mean": [0.5] * 3, "std": [0.25] * 3}
    save_classifier(vit, weights, description)
    reader = {"use": "colour_grid", "rows": 2, "columns": 2, "cell": 8, "grids": 32, "split": "train"}
    spec = {
        "model": {"timm": "vit_tiny_patch16_224", "arguments": arguments, "mean": None, "std": None},
        "recipe": {"steps": 4, "batch_size": 8, "log_every": 2, "checkpoint_every": 2},
        "train_on": reader,
        "test_on": reader,
        "class_specific": True,
    }
    with monkeypatch.context() as patched:
        patched.setattr(stage, "save_diffmask", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_train_diffmask(spec, "", weights, out, log, "cpu")
    assert (tmp_path / ".m.progress.safetensors").is_file(), "the training is lost before its network is saved"
    run_train_diffmask(spec, "", weights, out, log, "cpu")
    assert load_diffmask(out, vit, class_specific=True).gates.classes is not None
    check_trained_for(out, vit)
    table = pq.read_table(log)
    assert table.schema.equals(DIFFMASK_LOG, check_metadata=False)
    assert table.column("step").to_pylist() == [2, 4]
    assert [path.name for path in tmp_path.glob(".*")] == [".m.json"], "the record alone"
    with pytest.raises(ConfigError, match=r"images are \(3, 32, 32\), the model takes \(3, 16, 16\)"):
        run_train_diffmask({**spec, "train_on": {**reader, "cell": 16}}, "", weights, out, log, "cpu")


def test_the_check_of_a_study_looks_at_the_files(vit: Classifier, path: Path, tmp_path: Path) -> None:
    """Missing, of another model, or trained first; ids in the text."""
    explainers = {**STUDY["explainers"], "here": {"explainer": "diffmask", "weights": str(path)}}
    experiments = {"all": {**STUDY["experiments"]["all"], "explainers": ["diffmask", "own", "here"]}}
    plan = Plan(load_study({**STUDY, "explainers": explainers, "experiments": experiments}), str(tmp_path))
    report = Report()
    check_learned_files(plan, {"vit": vit}, report)
    assert len(report.problems) == 1
    assert (
        "explainers.diffmask.weights, models.vit: DiffMask 'masks/vit.safetensors' does not exist" in report.problems[0]
    )
    assert [note for note in report.notes if "explainers.own.weights: is trained first for models.vit" in note]
    report = Report()
    check_learned_files(plan, {"vit": tiny_vit(depth=2)}, report)
    assert any("explainers.here.weights, models.vit" in text and "5 gates" in text for text in report.problems)

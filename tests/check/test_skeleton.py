"""`vitfaith init --plugin mine.py`: the skeleton loads, and its explainer, metric and attack give the right values."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from vitfaith.attacks.registry import ATTACKS
from vitfaith.attacks.run import attack_images
from vitfaith.check.counting import small_vit
from vitfaith.check.skeleton import item_names, write_plugin
from vitfaith.cli.main import main
from vitfaith.errors import ConfigError
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.metrics.evaluate import evaluate
from vitfaith.metrics.registry import METRICS
from vitfaith.plugins import load_plugin
from vitfaith.registries import REGISTRIES
from vitfaith.registry import Item

NAMES = {"explainers": "mine_explainer", "metrics": "mine_metric", "attacks": "mine_attack"}
IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255
IDS = ["a", "b", "c"]


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Path]:
    """The skeleton, loaded; forgotten afterwards."""
    path = tmp_path / "mine.py"
    write_plugin(path)
    load_plugin(path)
    yield path
    for section, name in NAMES.items():
        del REGISTRIES[section]._entries[name]


def _item(section: str, name: str) -> Item:
    entry = REGISTRIES[section][name]
    return Item(entry, entry.parameters(), name)


def test_the_items_work(plugin: Path) -> None:
    classifier = small_vit((3, 32, 32), (8, 8), 5)
    targets = classifier(IMAGES).argmax(1)
    methods = {name: _item("explainers", name) for name in ("mine_explainer", "input_x_gradient")}
    maps = explain(classifier, IMAGES, targets, IDS, methods, seed=0, batch_size=8)
    mine = torch.as_tensor(maps["mine_explainer"])
    assert mine.shape == (3, 4, 4)
    torch.testing.assert_close(mine * 64, torch.as_tensor(maps["input_x_gradient"]), rtol=1e-4, atol=1e-7)

    attacked = attack_images(classifier, IMAGES, targets, IDS, _item("attacks", "mine_attack"), seed=0)
    distance = float(attacked.linf.max())
    assert 7 / 255 < distance <= 8 / 255 + 1e-6

    chosen = {"mine_metric": _item("metrics", "mine_metric")}
    found = evaluate(classifier, IMAGES, targets, IDS, {"m": mine}, chosen, seed=0)
    value = next(row for row in found.scores.to_pylist() if row["image_id"] == "b")["value"]
    order = mine[1].flatten().argsort(descending=True)
    start = classifier(IMAGES[1:2]).softmax(1)[0, targets[1]]
    falls = []
    for removed in (4, 8, 12, 16):
        picture = IMAGES[1].clone()
        for patch in order[:removed].tolist():
            rows, columns = slice(patch // 4 * 8, patch // 4 * 8 + 8), slice(patch % 4 * 8, patch % 4 * 8 + 8)
            picture[:, rows, columns] = IMAGES[1].mean((1, 2))[:, None, None]
        falls.append(start - classifier(picture[None]).softmax(1)[0, targets[1]])
    assert value == pytest.approx(torch.stack(falls).mean().item(), abs=1e-6)


def test_settings_are_checked(plugin: Path) -> None:
    assert EXPLAINERS["mine_explainer"].summary.startswith("Input times gradient")
    assert ATTACKS["mine_attack"].parameters().eps == 8 / 255  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        METRICS["mine_metric"].parameters(steps=1)


def test_the_command_writes_it_and_says_how_to_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vitfaith", "init", "--plugin", "my-own.py"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("wrote my-own.py")
    names = item_names(Path("my-own.py"))
    said = yaml.safe_load("\n".join(lines))
    assert said == {"plugins": ["my-own.py"], **{section: {name: {}} for section, name in names.items()}}
    text = Path("my-own.py").read_text(encoding="utf-8")
    assert all(f'"{name}"' in text for name in names.values())
    assert "NAME" not in text


def test_a_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("x = 1\n")
    with pytest.raises(ConfigError, match="exists"):
        write_plugin(path)
    with pytest.raises(ConfigError, match="no Python file"):
        write_plugin(tmp_path / "mine.txt")

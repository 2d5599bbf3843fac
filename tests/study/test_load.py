"""Configurations: what is understood, and what each mistake says."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import Field

from vitfaith.errors import ConfigError
from vitfaith.settings import Settings
from vitfaith.study.identity import spec_of
from vitfaith.study.load import load_study, read_yaml
from vitfaith.study.plan import Plan
from vitfaith.study.values import validate

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def raw() -> dict[str, Any]:
    return copy.deepcopy(read_yaml(ROOT / "config" / "config.yaml"))


def test_the_default_config_loads(raw: dict[str, Any]) -> None:
    study = load_study(raw)
    assert study.attacks["pgd"].parameters.model_dump()["eps"] == pytest.approx(8 / 255)
    assert study.explainers["rollout"].name == "attention_rollout"
    assert study.experiments["fashion_mnist"].models == ["vit_patch4", "vit_patch2"]


class Nested(Settings):
    share: float | Literal["1/2", "all"] = 1.0


class Everything(Settings):
    eps: float = 0.0
    shares: tuple[float, ...] = ()
    count: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    folder: Path = Path()
    split: str | None = None
    switch: bool | float = False
    anything: dict[str, Any] = Field(default_factory=dict)
    nested: Nested | None = None
    by_name: dict[str, float] = Field(default_factory=dict)


def test_text_becomes_a_number_only_where_one_is_expected() -> None:
    read = Everything.model_validate(
        {
            "eps": " 8 / 255",
            "shares": ["1/4", "1e-1", 0.5],
            "count": "1e3",
            "folder": "2024/11",
            "split": "1/2",
            "switch": True,
            "anything": {"drop": "1e-1", "deep": [{"eps": "1/4", "name": "a/b"}], "flag": True},
            "nested": {"share": "1/2"},
            "by_name": {"a": "-1/2"},
        }
    )
    assert (read.eps, read.shares, read.count) == (8 / 255, (0.25, 0.1, 0.5), 1000)
    assert (read.folder, read.split, read.switch) == (Path("2024/11"), "1/2", True)
    assert read.anything == {"drop": 0.1, "deep": [{"eps": 0.25, "name": "a/b"}], "flag": True}
    assert (read.nested, read.by_name) == (Nested(share="1/2"), {"a": -0.5})


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"eps": "1/0"}, r"here\.eps: .*'1/0' divides by zero"),
        ({"eps": True}, r"here\.eps: .*true is no number"),
        ({"shares": [0.1, False]}, r"here\.shares: .*false is no number"),
        ({"count": True}, r"here\.count: .*true is no number"),
        ({"nested": {"share": True}}, r"here\.nested\.share: .*true is no number"),
    ],
)
def test_what_is_no_number_is_refused_by_its_key(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(Everything, raw, "here")


def test_numbers_in_scientific_notation_and_folders_like_fractions_of_a_study(raw: dict[str, Any]) -> None:
    raw["models"]["vit_patch4"]["arguments"]["drop_path_rate"] = "1e-1"
    raw["models"]["vit_patch4"]["weights"] = "2024/11"
    raw["attacks"]["pgd"]["eps"] = "8/255"
    study = load_study(raw)
    assert study.models["vit_patch4"].arguments["drop_path_rate"] == 0.1
    assert study.models["vit_patch4"].weights == Path("2024/11")
    assert study.attacks["pgd"].spec()["eps"] == 8 / 255


@pytest.mark.parametrize("value", [False, "off", "no", "false", "OFF"])
def test_code_tracking_is_switched_off_by_every_yaml_word_for_it(raw: dict[str, Any], value: Any) -> None:
    assert load_study({**raw, "code_tracking": value}).code_tracking == "off"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("seed: 1\nmodels: {a: {}}\nseed: 2\n", r"key 'seed' is given twice in \"<unicode string>\", line 3"),
        ("models:\n  a: {timm: x}\n  a: {timm: y}\n", "key 'a' is given twice"),
        ("# café".encode("latin-1"), "is not UTF-8 text"),
        ("seed: 1".encode("utf-16"), "is not UTF-8 text"),
        (bytes(range(256)), "is not UTF-8 text"),
        ("\x00\x01", "is not valid YAML"),
        ("- a list", "must hold sections"),
        ("", "must hold sections"),
    ],
)
def test_unreadable_configuration_files_get_one_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_yaml(path)
    assert "\n" not in str(caught.value)


def test_anchors_that_are_merged_are_no_duplicates(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("datasets:\n  a: &a {reader: x, images: 1}\n  b: {<<: *a, images: 2}\n")
    assert read_yaml(path)["datasets"]["b"] == {"reader": "x", "images": 2}


@pytest.mark.parametrize(
    ("plugins", "message"),
    [
        (["README.md"], "plugins: 'README.md' is no Python file"),
        ([None], r"plugins: expected a list of Python files, found \[None\]"),
        ("mine.py", "plugins: expected a list of Python files, found 'mine.py'"),
        (["nosuch.py"], "plugins: file 'nosuch.py' does not exist"),
        (["exits.py"], r"plugins: 'exits.py' cannot be imported: SystemExit: 3 \(line 2\)"),
        (["one/twin.py", "two/twin.py"], "plugins: 'one/twin.py' and 'two/twin.py' have one name"),
    ],
)
def test_plugins_that_cannot_be_used(
    raw: dict[str, Any], plugins: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "README.md": "",
        "exits.py": "import sys\nsys.exit(3)\n",
        "one/twin.py": "",
        "two/twin.py": "",
    }.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_study({**raw, "plugins": plugins})


def _all(*changes: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    def change(raw: dict[str, Any]) -> None:
        for each in changes:
            each(raw)

    return change


def _set(*keys: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(raw: dict[str, Any]) -> None:
        for key in keys[:-1]:
            raw = raw[key]
        raw[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("explaners", value={}), r"explaners: unknown section \(did you mean 'explainers'\?\)"),
        (
            _set("explainers", "rollout", value={"explainer": "attention_rolout"}),
            r"explainers\.rollout: unknown explainer 'attention_rolout' \(did you mean 'attention_rollout'\?\)",
        ),
        (
            _set("explainers", "rollout", "head_fusoin", value="max"),
            r"explainers\.rollout\.head_fusoin: unknown key \(did you mean 'head_fusion'\?\)",
        ),
        (_set("attacks", "pgd", "eps", value=8), r"attacks\.pgd.*8/255"),
        (_set("smoothings", "dds", "sigma", value=-1), r"smoothings\.dds\.sigma"),
        (
            _set("smoothings", "dds", "denoiser", value="fashion_mnits"),
            r"smoothings\.dds\.denoiser: 'fashion_mnits' is not in section denoisers \(did you mean 'fashion_mnist'\?\)",
        ),
        (
            _set("experiments", "fashion_mnist", "metrics", value=["sacco"]),
            r"experiments\.fashion_mnist\.metrics: 'sacco' is not in section metrics \(did you mean 'saco'\?\)",
        ),
        (
            _set("models", "shared", value={"timm": "x", "weights": "w.safetensors"}),
            r"models\.shared: the id is reserved",
        ),
        (_set("attacks", "clean", value={"attack": "pgd"}), r"attacks\.clean: the id 'clean' is reserved"),
        (_set("smoothings", "none", value={"smoothing": "dds"}), r"smoothings\.none: the id 'none' is reserved"),
        (_set("explainers", "random", value={"explainer": "rise"}), r"explainers\.random: the id 'random' is reserved"),
        (_set("experiments", value={}), r"experiments: missing; add one"),
        (_set("datasets", "x", value=[1]), r"datasets\.x: expected a mapping of settings, found list"),
        (_set("attacks", "a" * 101, value={"attack": "clean"}), "use at most 100 characters"),
        (_set("code_tracking", value="maybe"), "code_tracking: 'digest' or 'off', found 'maybe'"),
        (_set("experiments", "fashion_mnist", "models", value=[]), r"experiments\.fashion_mnist\.models"),
        (_set("experiments", "fashion_mnist", "shards", value=3), r"experiments\.fashion_mnist\.shards: unknown key"),
        (
            _set("datasets", "fashion_mnist", "imges", value=3),
            r"datasets\.fashion_mnist\.imges: unknown key \(did you mean 'images'\?\)",
        ),
        (_set("attacks", "pgd", "attck", value="pgd"), r"attacks\.pgd\.attck: unknown key \(did you mean 'attack'\?\)"),
        (_set("models", "vit_patch4", value={"timm": "x"}), r"models\.vit_patch4\.weights: missing; safetensors file"),
        (
            _set("models", "vit_patch4", "training", value={"train_on": "nowhere", "test_on": "fashion_mnist_test"}),
            r"models\.vit_patch4\.training: 'nowhere' is not in section datasets",
        ),
        (_set("datasets", "fashion_mnist", "images", value=0), r"datasets\.fashion_mnist\.images"),
        (_set("seed", value="one"), "seed: expected an integer"),
        (
            _set("figures", "saco_leaderboard", value={"metric": "sako"}),
            r"figures\.saco_leaderboard\.metric: 'sako' is not in experiments\.fashion_mnist\.metrics \(.*'saco'\?\)",
        ),
        (
            _set("metrics", "saco", value={"groups": [7, 14]}),
            r"figures\.saco_leaderboard\.variant: missing; metric 'saco' has several variants \('k=7', 'k=14'\); name the one "
            r"to show, for example 'variant: k=7' \(experiments\.fashion_mnist\)$",
        ),
        (
            _set("figures", "gallery", value={"smoothing": "dss"}),
            r"figures\.gallery\.smoothing: 'dss' is not in experiments\.fashion_mnist\.smoothings",
        ),
        (
            _set("metrics", "average_drop", value={"fill": "noisy_linear"}),
            r"metrics\.average_drop\.fill: .*fill 'noisy_linear' depends on the removed pixels",
        ),
        (
            _set("metrics", "average_drop", value={"fill": "blakc"}),
            r"metrics\.average_drop\.fill: .*did you mean 'black'",
        ),
        (
            _set("metrics", "admissible_mask", value={"masks": ["diffmsk"]}),
            r"metrics\.admissible_mask\.masks: 'diffmsk' is not in section explainers \(did you mean 'diffmask'\?\)",
        ),
        (
            _all(
                _set("attacks", value={"pgd": {}}),
                _set("experiments", "fashion_mnist", "attacks", value=["clean", "pgd"]),
            ),
            r"experiments\.fashion_mnist\.attacks: 'clean' is not in section attacks",
        ),
        (_set("explainers", "Big Name", value={}), r"explainers\.Big Name: ids become folder names"),
    ],
)
def test_mistakes_name_the_key_and_the_way_out(
    raw: dict[str, Any], change: Callable[[dict[str, Any]], None], message: str
) -> None:
    change(raw)
    with pytest.raises(ConfigError) as error:
        load_study(raw)
    assert re.search(message, str(error.value)), str(error.value)


def test_a_figure_knows_direction_and_fill_of_a_metric_under_an_id_of_your_own(raw: dict[str, Any]) -> None:
    raw["metrics"]["mine"] = {"metric": "deletion_auc", "steps": 7}
    raw["figures"]["saco_leaderboard"] = {"metric": "mine"}

    def spec(figure: str) -> Any:
        return json.loads(spec_of(Plan(load_study(raw)), "figures", {"experiment": "fashion_mnist", "figure": figure}))

    def directions(figure: str) -> Any:
        return spec(figure)["figure"]["directions"]

    assert spec("saco_leaderboard")["fills"] == {"mine": "image_mean"}
    assert set(spec("beats_random")["fills"]) == {"saco", "deletion_auc", "insertion_auc", "aopc", "log_odds", "mine"}
    assert spec("gallery")["fills"] == {}

    assert directions("saco_leaderboard") == {"mine": "lower"}
    every = {
        "saco": "higher",
        "deletion_auc": "lower",
        "insertion_auc": "higher",
        "aopc": "higher",
        "log_odds": "lower",
    }
    assert directions("beats_random").items() >= (every | {"mine": "lower"}).items()
    assert directions("critical_difference") == {"saco": "higher"}  # so that a corrected direction redraws the figure
    raw["figures"]["saco_leaderboard"]["directions"] = {"mine": "higher"}
    assert directions("saco_leaderboard") == {"mine": "higher"}


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("targets", "it is a key of an experiment"),
        ("shard_size", "it is a key of a dataset"),
        ("batch_size", "it is a key of compute"),
        ("confidence", "it is a key of statistics"),
        ("explainer", "did you mean 'explainers'?"),
    ],
)
def test_a_key_at_the_top_that_belongs_elsewhere(raw: dict[str, Any], key: str, hint: str) -> None:
    raw[key] = "x"
    with pytest.raises(ConfigError, match=re.escape(f"{key}: unknown section ({hint})")):
        load_study(raw)


def test_trained_weights_need_a_recipe(raw: dict[str, Any]) -> None:
    raw["models"]["vit_patch4"]["weights"] = "trained"
    del raw["models"]["vit_patch4"]["training"]
    with pytest.raises(ConfigError, match=r"models\.vit_patch4: weights are 'trained' but there is no key 'training'"):
        load_study(raw)


def test_broken_yaml_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_text("a: [1\nb: 2")
    with pytest.raises(ConfigError, match=r"not valid YAML[\s\S]*line"):
        read_yaml(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match="must hold sections"):
        read_yaml(tmp_path / "a.yaml")


def test_reading_a_config_imports_no_heavy_library() -> None:
    code = (
        "import sys; from pathlib import Path; from vitfaith.study.load import load_study, read_yaml; from vitfaith.study.plan import Plan; "
        "Plan(load_study(read_yaml(Path('config/config.yaml')))); "
        "print([m for m in ('torch', 'timm', 'diffusers', 'torchattacks', 'seaborn', 'matplotlib') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("written", "read"), [("on", "on"), ("off", "off"), ("'on'", "on"), ("true", "on"), ("false", "off")]
)
def test_the_switch_of_fast_paths_is_a_word_or_a_truth_value(raw: dict[str, Any], written: str, read: str) -> None:
    assert load_study(raw | {"compute": yaml.safe_load(f"fast: {written}")}).compute.fast == read


def test_another_position_of_the_switch_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"compute\.fast: Input should be 'on' or 'off'"):
        load_study(raw | {"compute": {"fast": "offf"}})

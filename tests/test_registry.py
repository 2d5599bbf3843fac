"""Registries: lookup, suggestions, duplicates, plugins."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vitfaith.errors import ConfigError
from vitfaith.explainers.registry import explainer
from vitfaith.metrics.registry import metric
from vitfaith.plugins import load_plugin, plugin_fault, plugin_module
from vitfaith.registries import REGISTRIES
from vitfaith.registry import Item, Parameters, Registry
from vitfaith.study.load import load_study, read_yaml

ROOT = Path(__file__).resolve().parents[1]


def test_lookup_summary_and_suggestion() -> None:
    registry: Registry = Registry("explainer")

    @registry.register("rollout", citation="someone", family="one_pass")
    def rollout() -> None:
        """Multiply the layers."""

    assert registry["rollout"].summary == "Multiply the layers."
    assert registry["rollout"].traits["family"] == "one_pass"
    with pytest.raises(ConfigError, match=r"unknown explainer 'rolout' \(did you mean 'rollout'\?\)"):
        registry["rolout"]


class _Width(Parameters):
    width: float = 1.0


def test_an_item_is_an_entry_with_settings_of_its_own_kind() -> None:
    registry: Registry = Registry("ruler")
    registry.register("plain")(lambda: None)
    registry.register("wide", parameters=_Width, unit="px")(lambda parameters: parameters.width)
    item = registry.item("wide", width="3/2")
    assert (item.name, item.traits["unit"], item.implementation(item.parameters), item.id) == ("wide", "px", 1.5, "")
    assert registry.item("wide").spec() == {"use": "wide", "width": 1.0}
    assert registry.from_specs({"mine": {"use": "wide"}}) == {"mine": Item(registry["wide"], _Width(), "mine")}
    with pytest.raises(ConfigError, match="ruler 'mine': parameters are Parameters, but 'wide' takes _Width"):
        Item(registry["wide"], Parameters(), "mine")
    with pytest.raises(ConfigError, match=r"unknown ruler 'wid' \(did you mean 'wide'"):
        registry.from_spec({"use": "wid"})


@pytest.mark.parametrize("path", sorted((ROOT / "config").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_item_of_a_shipped_study_comes_back_from_a_jobs_json(path: Path) -> None:
    study = load_study(read_yaml(path))
    sections = {name: getattr(study, name) for name in REGISTRIES}
    sections["datasets"] = {id_: reader for id_, (reader, _) in study.datasets.items()}
    for name, items in sections.items():
        told = json.loads(json.dumps({id_: item.spec() for id_, item in items.items()}))
        assert REGISTRIES[name].from_specs(told) == items


def test_a_name_taken_by_another_module_is_refused() -> None:
    registry: Registry = Registry("metric")
    registry.register("same")(lambda: None)

    def other() -> None: ...

    other.__module__ = "elsewhere"
    with pytest.raises(ConfigError, match="registered twice"):
        registry.register("same")(other)


@pytest.mark.parametrize(
    ("registered", "told"),
    [
        (
            lambda: explainer("mine_for_test", family="relevancex", class_specific=False, citation="mine"),
            "explainer 'mine_for_test': family = 'relevancex' is unknown (did you mean 'relevance'?); choose from: one_pass, path",
        ),
        (
            lambda: metric("mine_for_test", direction="up", citation="mine")(type("Mine", (), {})),
            "metric 'mine_for_test': direction = 'up' is unknown; choose from: higher, lower, none",
        ),
        (
            lambda: metric("mine_for_test", direction="none", citation="mine", needs=("truth", "label"))(
                type("Mine", (), {})
            ),
            "metric 'mine_for_test': needs = 'label' is unknown (did you mean 'labels'?); choose from: labels, truth",
        ),
    ],
)
def test_a_trait_is_one_of_the_words_of_its_registry(registered: Callable[[], object], told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        registered()


def test_plugin_file_registers_and_missing_one_is_named(tmp_path: Path) -> None:
    from vitfaith.explainers.registry import EXPLAINERS

    file = tmp_path / "mine.py"
    file.write_text(
        "from vitfaith.explainers.registry import explainer\n"
        "@explainer('mine_for_test', family='one_pass', class_specific=False, citation='me')\n"
        "def mine(context, parameters):\n    '''My own.'''\n    return context.images.mean((1, 2, 3))\n"
    )
    load_plugin(file)
    assert EXPLAINERS["mine_for_test"].summary == "My own."
    del EXPLAINERS._entries["mine_for_test"]
    with pytest.raises(ConfigError, match=r"absent\.py' does not exist"):
        load_plugin(tmp_path / "absent.py")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import os\n\nopen = [\n", r"SyntaxError: '\[' was never closed \(line 3\)"),
        ("raise ValueError('two\\n  lines')\n", r"ValueError: two lines \(line 1\)"),
        ("import json\njson.loads('{')\n", r"JSONDecodeError: .*\(line 2, raised at line \d+ of json/decoder\.py\)"),
        ("import absent_for_test\n", r"ModuleNotFoundError: No module named 'absent_for_test' \(line 1\)"),
        (
            "from vitfaith.explainers.registry import EXPLAINERS\nEXPLAINERS.register('saliency')(lambda: None)\n",
            r"explainer 'saliency' is registered twice: .* \(line 2\)",
        ),
    ],
)
def test_a_plugin_that_fails_is_one_line_with_its_place(text: str, told: str, tmp_path: Path) -> None:
    import vitfaith.explainers.registry  # noqa: F401  (its own items are registered first)

    (file := tmp_path / "fails_for_test.py").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_plugin(file)
    assert re.fullmatch(f"plugins: '{re.escape(str(file))}' cannot be imported: {told}", str(caught.value))


def test_an_error_inside_a_plugin_s_function_has_its_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (file := Path("faulty_for_test.py")).write_text(
        "import json\n\ndef own():\n    1 / 0\n\ndef below():\n    json.loads('{')\n"
    )
    load_plugin(file)
    plugin = sys.modules[plugin_module(file)]
    with pytest.raises(ZeroDivisionError) as caught:
        plugin.own()
    assert plugin_fault(caught.value) == "faulty_for_test.py, line 4: ZeroDivisionError: division by zero"
    with pytest.raises(ValueError, match="double quotes") as deeper:
        plugin.below()
    assert str(plugin_fault(deeper.value)).startswith("faulty_for_test.py, line 7: JSONDecodeError: Expecting")
    assert str(plugin_fault(deeper.value)).endswith(" of json/decoder.py")
    assert plugin_fault(ValueError("not from a plugin")) is None


def test_every_setting_says_what_it_means() -> None:
    silent = [
        f"{section}.{entry.name}.{key}"
        for section, registry in REGISTRIES.items()
        for entry in registry
        for key, field in entry.parameters.model_fields.items()
        if not field.description
    ]
    assert not silent

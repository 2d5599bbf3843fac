"""Registries: lookup, suggestions, duplicates, plugins."""

from __future__ import annotations

from pathlib import Path

import pytest

from vitfaith.errors import ConfigError
from vitfaith.registries import REGISTRIES
from vitfaith.registry import Registry, load_plugin


def test_lookup_summary_and_suggestion() -> None:
    registry: Registry = Registry("explainer")

    @registry.register("rollout", citation="someone", family="one_pass")
    def rollout() -> None:
        """Multiply the layers."""

    assert registry["rollout"].summary == "Multiply the layers."
    assert registry["rollout"].traits["family"] == "one_pass"
    with pytest.raises(ConfigError, match=r"unknown explainer 'rolout' \(did you mean 'rollout'\?\)"):
        registry["rolout"]


def test_a_name_taken_by_another_module_is_refused() -> None:
    registry: Registry = Registry("metric")
    registry.register("same")(lambda: None)

    def other() -> None: ...

    other.__module__ = "elsewhere"
    with pytest.raises(ConfigError, match="registered twice"):
        registry.register("same")(other)


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


def test_every_setting_says_what_it_means() -> None:
    silent = [
        f"{section}.{entry.name}.{key}"
        for section, registry in REGISTRIES.items()
        for entry in registry
        for key, field in entry.parameters.model_fields.items()
        if not field.description
    ]
    assert not silent

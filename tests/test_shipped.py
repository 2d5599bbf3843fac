"""Names of shipped files: those that exist, and nothing outside their folder."""

from __future__ import annotations

import pytest

from vitfaith.errors import ConfigError
from vitfaith.shipped import located, named


def test_names_and_paths_are_inverse() -> None:
    for name in ("vitfaith:models/vit_patch4.safetensors", "vitfaith:denoisers/fashion_mnist"):
        assert named(located({"a": [name]})) == {"a": [name]}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("vitfaith:models/vit_pach4.safetensors", " (did you mean 'models/vit_patch4.safetensors'?)"),
        ("vitfaith:../pyproject.toml", ""),
        ("vitfaith:/etc/passwd", ""),
        ("vitfaith:models/../../README.md", ""),
        ("vitfaith:", ""),
    ],
)
def test_a_name_that_is_no_shipped_file(name: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        located({"models": [{"weights": name}]})
    assert str(caught.value) == f"models.0.weights: '{name}' is no file that is shipped with vitfaith{hint}"

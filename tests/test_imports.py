"""Planning imports no heavy library: modules directly in a noun hold what is planned with, machinery lies in sub-packages."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    *("torch", "torchattacks", "timm", "diffusers", "matplotlib", "seaborn"),
    *("numpy", "pyarrow", "pandas", "scipy", "PIL", "h5py", "safetensors", "rich", "tqdm", "filelock"),
)
"""What Snakemake does not install by itself: a Snakefile that uses this one as a module is read without."""

LIGHT: dict[str, tuple[str, ...]] = {
    "datasets": HEAVY,
    "attacks": HEAVY,
    "smoothings": HEAVY,
    "explainers": HEAVY,
    "metrics": HEAVY,
    "metrics.fills": HEAVY,
    "stability": HEAVY,
    "sanity": HEAVY,
    "certificates": HEAVY,
    "figures": HEAVY,
    "study": HEAVY,
}
"""Package → the libraries without which it and every module directly in it can be imported."""

IMPORT_ALL = """
import importlib, pkgutil, sys
name, *refused = sys.argv[1:]
sys.modules.update(dict.fromkeys(refused))  # importing one of them now fails
package = importlib.import_module(name)
for module in pkgutil.iter_modules(package.__path__):
    if not module.ispkg:
        importlib.import_module(f"{name}.{module.name}")
"""


def import_all(package: str, refused: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", IMPORT_ALL, package, *refused], capture_output=True, text=True)


@pytest.mark.parametrize("package", LIGHT)
def test_a_noun_is_imported_without_heavy_libraries(package: str) -> None:
    found = import_all(f"vitfaith.{package}", LIGHT[package])
    assert found.returncode == 0, found.stderr


def test_a_heavy_import_is_found_and_its_place_named() -> None:
    found = import_all("vitfaith.models", ("torch",))
    assert found.returncode == 1
    assert "src/vitfaith/models/" in found.stderr
    assert "import of torch halted" in found.stderr

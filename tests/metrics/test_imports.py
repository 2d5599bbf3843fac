"""Listing metrics and reading their parameters costs no second of importing torch."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["vitfaith.metrics", "vitfaith.metrics.fills", "vitfaith.metrics.bank.store"])
def test_all_metrics_and_fills_import_without_torch(module: str):
    text = f"import sys, {module}; print('torch' in sys.modules, 'vitfaith.metrics.evaluate' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]

"""Importing timm without torch's compiler, and the compiler afterwards."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_classifier_module_does_not_load_the_compiler() -> None:
    code = "import sys, vitfaith.models.classifier; print('torch._dynamo' in sys.modules, 'timm' in sys.modules)"
    assert run(code) == "False True"


def test_torch_compile_still_works() -> None:
    code = (
        "import torch, vitfaith.models.classifier\n"
        "double = torch.compile(lambda x: 2 * x, backend='eager')\n"
        "print(double(torch.tensor(3)).item())"
    )
    assert run(code) == "6"


def test_the_real_module_answers_what_the_stand_in_cannot() -> None:
    code = (
        "import sys, torch\nfrom vitfaith.models.fast.compiler import without_compiler\n"
        "with without_compiler():\n    import torch._dynamo\n    print(torch._dynamo.config.__name__)"
    )
    assert run(code) == "torch._dynamo.config"


def test_the_compiler_is_not_deferred_where_fast_paths_are_off() -> None:
    code = (
        "import sys\nfrom vitfaith.models.fast.switch import fast_paths\n"
        "with fast_paths(on=False):\n    import vitfaith.models.classifier\n"
        "print('torch._dynamo' in sys.modules)"
    )
    assert run(code) == "True"

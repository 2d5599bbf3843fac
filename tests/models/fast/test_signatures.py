"""The parts of torch and timm that the fast paths rely on are still what they were; a change names the module to repair.

Nothing here is skipped: a fast path that no longer fits would give wrong numbers, or quietly none of its speed.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo
from timm.layers.attention import Attention
from timm.layers.layer_scale import LayerScale
from timm.layers.mlp import Mlp
from timm.models.vision_transformer import Block, VisionTransformer

import vitfaith.models.fast

LINEAR, CLASS_TOKEN, SECOND_LINEAR, COMPILER = (
    f"vitfaith.models.fast.{name}" for name in ("linear", "class_token", "second_linear", "compiler")
)


def advice(module: str) -> str:
    return f"compare with {module}, repair it and then this table; until then users can set compute.fast: off"


def parts(function: Callable[..., Any]) -> set[str]:
    """The attributes of ``self`` that a method reads."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    }


def names(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_the_product_of_onednn_takes_what_we_give_it() -> None:
    if not torch.backends.mkldnn.is_available():
        assert not hasattr(torch.ops.mkldnn, "_linear_pointwise"), f"torch has the product alone: {advice(LINEAR)}"
        return
    assert hasattr(torch.ops.mkldnn, "_linear_pointwise"), (
        f"torch.ops.mkldnn._linear_pointwise is gone: {advice(LINEAR)}"
    )
    schema = str(torch.ops.mkldnn._linear_pointwise.default._schema)
    expected = "mkldnn::_linear_pointwise(Tensor X, Tensor W, Tensor? B, str attr, Scalar?[] scalars, str? algorithm) -> Tensor Y"
    assert schema == expected, f"torch.ops.mkldnn._linear_pointwise is now {schema}: {advice(LINEAR)}"


def test_torch_names_the_instruction_set() -> None:
    known = {"DEFAULT", "NO AVX", "AVX2", "AVX512", "Z VECTOR", "SVE128", "SVE256", "VSX"}
    found = torch.backends.cpu.get_cpu_capability()
    assert found in known, f"torch calls this processor's instruction set {found!r}: {advice(LINEAR)}"


@pytest.mark.parametrize(
    ("function", "expected", "module"),
    [
        (Mlp.forward, ["self", "x"], LINEAR),
        (Attention.forward, ["self", "x", "attn_mask", "is_causal"], CLASS_TOKEN),
        (Block.forward, ["self", "x", "attn_mask", "is_causal"], CLASS_TOKEN),
        (LayerScale.forward, ["self", "x"], SECOND_LINEAR),
        (torch._dynamo.disable, ["fn", "recursive", "reason", "wrapping"], COMPILER),
        (torch._dynamo.allow_in_graph, ["fn"], COMPILER),
        (torch._dynamo.utils.is_compile_supported, ["device_type"], COMPILER),
    ],
    ids=lambda value: getattr(value, "__qualname__", None),
)
def test_functions_that_we_stand_in_for_take_the_same_arguments(
    function: Callable[..., Any], expected: list[str], module: str
) -> None:
    found = names(function)
    where = f"{function.__module__}.{function.__qualname__}"
    assert found == expected, f"{where} takes {found} now, {expected} before: {advice(module)}"


@pytest.mark.parametrize(
    ("function", "expected", "module"),
    [
        (Mlp.forward, {"fc1", "act", "drop1", "norm", "fc2", "drop2"}, LINEAR),
        (
            Attention.forward,
            {"gate", "qkv", "num_heads", "head_dim", "q_norm", "k_norm", "fused_attn", "attn_drop", "training", "scale",
             "attn_dim", "norm", "proj", "proj_drop"},
            CLASS_TOKEN,
        ),
        (Block.forward, {"norm1", "attn", "ls1", "drop_path1", "norm2", "mlp", "ls2", "drop_path2"}, CLASS_TOKEN),
        (LayerScale.forward, {"inplace", "gamma"}, SECOND_LINEAR),
        (VisionTransformer.pool, {"attn_pool", "global_pool", "num_prefix_tokens", "pool_include_prefix"}, CLASS_TOKEN),
    ],
    ids=lambda value: getattr(value, "__qualname__", None),
)  # fmt: skip
def test_modules_that_we_compute_ourselves_read_the_same_parts(
    function: Callable[..., Any], expected: set[str], module: str
) -> None:
    found = parts(function)
    new, gone = sorted(found - expected), sorted(expected - found)
    where = f"{function.__module__}.{function.__qualname__}"
    assert not new, f"{where} also reads {new} of its module: {advice(module)}"
    assert not gone, f"{where} no longer reads {gone} of its module: {advice(module)}"


def test_no_other_module_relies_on_private_parts() -> None:
    """What can break with a new version of torch or timm lies in one room."""
    private = re.compile(r"torch\._|torch\.ops\b|_dynamo|_inductor|mkldnn|timm(\.\w+)*\._|\._forward_(pre_)?hooks\b")
    room = Path(vitfaith.models.fast.__file__).parent
    files = sorted(room.parent.parent.rglob("*.py"))
    found = [str(f) for f in files if room not in f.parents and private.search(f.read_text(encoding="utf-8"))]
    assert len(files) > 300
    assert found == []

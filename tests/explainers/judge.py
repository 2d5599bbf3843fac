"""Whether an explainer is right on a backbone: laws that need no reference, and the verdict of a pair."""

from __future__ import annotations

import copy
import math
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tests.explainers.backbones import BACKBONES, double
from tests.explainers.rewrites import folded, respelled, scales, with_heads_permuted
from tests.explainers.twins import transposed, without_norms
from vitfaith.errors import VitfaithError
from vitfaith.explainers.diffmask.files import save_diffmask
from vitfaith.explainers.diffmask.hard_concrete import HardConcrete
from vitfaith.explainers.diffmask.network import new_diffmask
from vitfaith.explainers.explain import explain
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.explainers.shapley.files import save_untrained
from vitfaith.models.classifier import Classifier, freeze
from vitfaith.models.passes import PassCounter
from vitfaith.registry import Entry, Item

State = Literal["works", "refused", "ERROR", "WRONG"]

CHEAP = {"samples": 8, "steps": 3, "masks": 6, "iterations": 5, "noise": 0.0}
"""Small budgets; no noise, so that the laws on rewritten networks hold for ViT-CX too."""

ENTRIES = [entry for entry in EXPLAINERS if entry.traits["family"] != "external"]

TABLE = Path(__file__).with_name("refused.json")
"""Backbone → explainers that refuse it."""

PART = 4
"""The tests look at every fourth explainer of a backbone, each backbone starting at another one."""

TOLERANCE = 1e-4
"""Relative to a map's largest magnitude; the networks are in double precision, the maps in single."""

FEW = 32
"""Patches up to which explainers that hide them do so one by one."""

LOOSE = {"token_xgradcam": 1e-2, "smoothgrad": 1e-3}
PLACELESS = (
    "random", "rise", "kernel_shap", "smoothgrad", "expected_gradients", "diffmask_per_image", "diffmask_per_image_class",
    "vit_shapley",
)  # fmt: skip
"""Explainers whose random numbers are drawn by position, so that a transposed image gets other ones; and one whose surrogate
has no transposed twin."""


@dataclass(frozen=True)
class Verdict:
    """What became of one explainer on one backbone.

    Attributes:
        state: ``works`` where every law that applies holds.
        why: the refusal, the error, or the law that is broken and by how much.
        laws: those that were tried.
        forwards, backwards: images that one explained image sends through the network.
        seconds: per image, with the small settings, on the tiny network.
    """

    explainer: str
    backbone: str
    state: State
    why: str = ""
    laws: tuple[str, ...] = ()
    forwards: float = 0.0
    backwards: float = 0.0
    seconds: float = 0.0

    def row(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@cache
def _rewritten(name: str, law: str) -> Classifier | None:
    """The network of a law; None where it does not apply, after checking that the logits are those of the original."""
    classifier = double(name)
    try:
        make: dict[str, Callable[[], Classifier | None]] = {
            "folded": lambda: _folded(classifier) if scales(classifier) else None,
            "heads": lambda: with_heads_permuted(classifier) if hasattr(classifier.backbone, "blocks") else None,
            "respelled": lambda: respelled(classifier) if hasattr(classifier.backbone, "blocks") else None,
            "transposed": lambda: transposed(BACKBONES[name], classifier),
            "planted": lambda: _planted(classifier),
        }
        twin = make[law]()
        if twin is None or law == "planted":
            return twin
        images, _, _ = batch(classifier)
        with torch.no_grad():
            found, expected = _logits(freeze(twin), _seen(images, law)), _logits(classifier, images)
    except (VitfaithError, RuntimeError, AssertionError, IndexError, AttributeError, TypeError):
        return None
    return twin if torch.allclose(found, expected, rtol=1e-6, atol=1e-8) else None


def _folded(classifier: Classifier) -> Classifier:
    """As :func:`folded`, with ones where a block cannot do without its scale."""
    twin = folded(classifier)
    for ours, theirs in zip(twin.modules(), classifier.modules(), strict=False):
        for name in ("gamma_1", "gamma_2"):
            if type(ours) is type(theirs) and isinstance(getattr(theirs, name, None), nn.Parameter):
                setattr(ours, name, nn.Parameter(torch.ones_like(getattr(theirs, name))))
    return twin


def _logits(classifier: Classifier, images: Tensor) -> Tensor:
    return classifier(images.double())


def _seen(images: Tensor, law: str) -> Tensor:
    return images.transpose(2, 3) if law == "transposed" else images


class _OnePatch(nn.Module):
    """Hides all but one patch of the (normalised) images from a network."""

    def __init__(self, network: nn.Module, mask: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mask", mask)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images * self.mask)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("network"), name)


def place(grid: tuple[int, int]) -> tuple[int, int]:
    """The patch that a planted network reads: off the diagonal."""
    return min(1, grid[0] - 1), grid[1] - 2


def _planted(classifier: Classifier) -> Classifier:
    patches = classifier.patches
    cells = torch.zeros(patches.grid)
    cells[place(patches.grid)] = 1
    one = copy.copy(classifier)  # with the cells and sizes that were given
    one._modules = {
        **classifier._modules,
        "backbone": _OnePatch(classifier.backbone, patches.to_pixels(cells).double()),
    }
    return freeze(one)


def batch(classifier: Classifier, count: int = 2) -> tuple[Tensor, Tensor, list[str]]:
    """Images, targets and ids."""
    images = torch.rand(count, *classifier.input_shape, generator=torch.Generator().manual_seed(7))
    return images, torch.arange(count) + 1, [f"image-{i}" for i in range(count)]


def methods_of(entry: Entry, name: str) -> dict[str, Item]:
    """The explainer with small settings and, where it needs one, a trained network that fits the backbone ``name``."""
    fields = entry.parameters.model_fields
    settings: dict[str, Any] = {
        key: value for key, value in CHEAP.items() if key in fields and (key != "noise" or entry.name == "vit_cx")
    }
    cells = math.prod(double(name).grid) if entry.name in ("kernel_shap", "occlusion") else 0
    if entry.name == "kernel_shap" and cells <= FEW:
        settings["samples"] = 128  # more than patches, so that the regression is determined
    if entry.name == "occlusion" and cells > FEW:
        settings |= {"window": 4, "stride": 4}
    if "weights" in fields:
        by_shapley = entry.traits.get("trained_by") == "shapley"
        settings["weights"] = _shapley(name) if by_shapley else _learned(name, entry.traits["class_specific"])
    return {entry.name: Item(entry, entry.parameters(**settings))}


@cache
def _learned(name: str, class_specific: bool) -> Path:
    path = Path(mkdtemp(prefix="vitfaith-test-")) / "diffmask.safetensors"
    classifier, source = double(name), torch.Generator().manual_seed(0)
    network = new_diffmask(
        classifier, distribution=HardConcrete(), beta=1.0, class_specific=class_specific, generator=source
    )
    save_diffmask(network, path, classifier, {})
    return path


@cache
def _shapley(name: str) -> Path:
    path = Path(mkdtemp(prefix="vitfaith-test-")) / "shapley.safetensors"
    save_untrained(path, double(name), torch.Generator().manual_seed(0))
    return path


def shuffled_pairs(name: str) -> list[str]:
    """The explainers that the tests try on the backbone ``name``."""
    return [entry.name for entry in ENTRIES[list(BACKBONES).index(name) % PART :: PART]]


def judge(explainer: str, name: str) -> Verdict:
    """Run ``explainer`` on the backbone ``name``, and every law that applies."""
    entry = EXPLAINERS[explainer]
    try:
        return _judge(entry, name)
    except VitfaithError as error:
        return Verdict(explainer, name, "refused", str(error))
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {str(error)[:200]} ({Path(last.filename).name}:{last.lineno})"
        return Verdict(explainer, name, "ERROR", text)


def _judge(entry: Entry, name: str) -> Verdict:
    classifier = double(name)
    images, targets, ids = batch(classifier)
    methods = methods_of(entry, name)

    def run(network: Classifier, images: Tensor, part: slice = slice(None)) -> Tensor:
        return explain(network, images[part], targets[part], ids[part], methods, seed=0, batch_size=8)[entry.name]

    start = time.perf_counter()
    with PassCounter(classifier.backbone) as passes:
        maps = run(classifier, images)
    seconds = (time.perf_counter() - start) / len(images)
    counted = passes.forwards / len(images), passes.backwards / len(images)
    broken, laws = [], ["batch"]
    singles = torch.cat([run(classifier, images, slice(i, i + 1)) for i in range(len(images))])
    tolerance = LOOSE.get(entry.name, TOLERANCE)

    def compare(law: str, found: Tensor, expected: Tensor) -> None:
        laws.append(law) if law not in laws else None
        error = distance(found, expected)
        if not error <= tolerance:
            broken.append(f"{law}: {error:.2g}")

    compare("batch", singles, maps)
    for law in ("folded", "heads", "respelled"):
        twin = _rewritten(name, law)
        if twin is not None:
            compare(law, run(twin, images), maps)
    for pair in without_norms(classifier):
        compare("norms", run(pair[0], images), run(pair[1], images))
    if entry.name not in PLACELESS and (twin := _rewritten(name, "transposed")) is not None:
        compare("transposed", run(twin, _seen(images, "transposed")).transpose(1, 2), maps)
    coarse = entry.name in ("kernel_shap", "occlusion") and maps[0].numel() > FEW
    if reads_pixels(entry) and not coarse and (twin := _rewritten(name, "planted")) is not None:
        found = run(twin, images)
        rest = found.clone()
        rest[(slice(None), *place(classifier.grid))] = 0
        laws.append("planted")
        share = float((rest.abs().amax((1, 2)) / found.abs().amax((1, 2))).max())
        if not share <= tolerance:
            broken.append(f"planted: {share:.2g}")
    if entry.name == "tis":  # drops tokens, so nothing behind them may know where they stood
        compare("order", _logits_of_shuffled(classifier, images), _logits(classifier, images))
    if not bool(torch.isfinite(maps).all()):
        broken.append("finite")
    state: State = "WRONG" if broken else "works"
    return Verdict(entry.name, name, state, "; ".join(broken), tuple(laws), *counted, seconds)


def _logits_of_shuffled(classifier: Classifier, images: Tensor) -> Tensor:
    """Logits with the patch tokens in another order from the first block on, their positions with them."""
    prefix, patches = classifier.prefix_tokens, classifier.grid[0] * classifier.grid[1]
    order = torch.cat([torch.arange(prefix), prefix + torch.arange(patches).roll(2)])

    def shuffle(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0][:, order], *args[1:])

    handle = classifier.backbone.blocks[0].register_forward_pre_hook(shuffle)
    try:
        return _logits(classifier, images)
    finally:
        handle.remove()


def reads_pixels(entry: Entry) -> bool:
    """Whether a patch that the network does not see gets 0 exactly."""
    return entry.name in (
        "saliency",
        "input_x_gradient",
        "integrated_gradients",
        "expected_gradients",
        "smoothgrad",
        "occlusion",
        "kernel_shap",
    )


def distance(found: Tensor, expected: Tensor) -> float:
    """Largest difference of a map, relative to its largest magnitude."""
    found, expected = found.flatten(1), expected.flatten(1)
    return float(((found - expected) / expected.abs().amax(1, keepdim=True).clamp_min(1e-20)).abs().max())

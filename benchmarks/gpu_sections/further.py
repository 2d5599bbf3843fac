"""Settings, networks and arguments that lead through code which the other sections pass by, on the device against the CPU."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from benchmarks.gpu_sections.compare import compared
from benchmarks.gpu_sections.correctness import METHODS, attacked, maps_of, scores_of
from benchmarks.gpu_sections.setup import SMALL_VIT, Case, Row, Setup
from benchmarks.gpu_sections.shipped import Shipped, both
from torch import Tensor

import vitfaith as vf
from vitfaith.artifacts.schemas import SHARDS
from vitfaith.artifacts.store import read_table
from vitfaith.artifacts.targets import explained_targets
from vitfaith.attacks.craft.keyed import KeyedRandom, forked_random
from vitfaith.denoisers.denoiser import job_denoiser
from vitfaith.explainers.explain import explain
from vitfaith.metrics.bank.build import build_bank
from vitfaith.metrics.bank.masks import BankRequest
from vitfaith.metrics.context import ScoreContext
from vitfaith.models.classifier import Classifier, build_backbone, freeze
from vitfaith.models.load import job_classifier
from vitfaith.models.precision import forward_precision
from vitfaith.registries import REGISTRIES
from vitfaith.stages.denoise import run_denoise
from vitfaith.transfer import upload

Numbers = list[Any]
"""Tensors, arrays or numbers that are compared."""


def cases(setup: Setup) -> Iterator[Case]:
    """Each row computes the same numbers on both devices."""
    on_cpu, on_device = both(setup)
    own = maps_of(on_cpu, METHODS)
    functions: dict[str, Callable[[Shipped], Numbers]] = {
        "maps from a file": _external,
        "attention pooling": partial(_other_network, global_pool="map"),
        "cut patches": partial(_other_network, img_size=27, dynamic_img_size=True, dynamic_img_pad=True),
        "maps enlarged by repeating": lambda where: [
            scores_of(where, own, "deletion_auc", {"level": "pixel", "upsampling": "nearest", "steps": 4})
        ],
        "no maps": lambda where: [scores_of(where, {}, "deletion_auc", {"steps": 4})],
        "half precision": _half,
        "random numbers of attacks": _drawn,
        "network moved after wrapping": _moved_later,
        "maps on the device": partial(_shown, own),
        "what is asked for on the device is there": _places,
        "a device that is none": _no_device,
        "bank of images elsewhere": _bank,
    }
    for name, settings in ATTACKS.items():
        functions[name] = partial(_attacked, settings=settings)
    for name, function in functions.items():
        yield name, partial(_compare, on_cpu, on_device, function)


ATTACKS: dict[str, dict[str, Any]] = {
    "attack manipulation, corner": {"name": "manipulation", "pattern": "corner", "steps": 2},
    "attack manipulation through dds": {"name": "manipulation", "through": "dds", "eot": 2, "steps": 1},
}
"""Row → name and settings."""


def _compare(on_cpu: Shipped, on_device: Shipped, function: Callable[[Shipped], Numbers]) -> Row:
    with forward_precision("float32", on_device.device):
        found, expected = (_joined(function(where)) for where in (on_device, on_cpu))
    return compared(found, expected, 1e-3, within=0.95)


def _joined(parts: Numbers) -> np.ndarray:
    return np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in parts])


def _external(where: Shipped) -> Numbers:
    path = where.folder / "maps.npz"
    rows, columns = where.classifier.grid
    values = np.random.default_rng(0).random((where.count, rows, columns), dtype=np.float32)
    np.savez(path, **dict(zip(where.ids, values, strict=True)))
    return [_explained(where, where.classifier, where.images, {"external": {"path": str(path)}})]


def _explained(where: Shipped, classifier: Classifier, images: Tensor, methods: dict[str, dict[str, Any]]) -> Tensor:
    items = {name: REGISTRIES["explainers"].item(name, **settings) for name, settings in methods.items()}
    found = explain(classifier, images.cpu(), where.targets.cpu(), where.ids, items, seed=0, batch_size=64)
    return torch.stack(list(found.values()))


def _other_network(where: Shipped, **arguments: Any) -> Numbers:
    """Maps, and what is removed by them, with a random ViT of other shape."""
    shape = {"in_chans": where.images.shape[1], "num_classes": where.classifier.num_classes} | arguments
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = build_backbone("vit_tiny_patch16_224", SMALL_VIT | {"depth": 2} | shape)
    mean, std = ([0.5] * where.images.shape[1] for _ in range(2))
    classifier = freeze(Classifier(backbone, mean, std)).to(where.device)
    images = torch.nn.functional.interpolate(where.images.cpu(), classifier.input_shape[1:])
    names = ("transformer_attribution", "input_x_gradient", "saliency", "attention_rollout")
    maps = _explained(where, classifier, images, {name: {} for name in names})
    return [
        maps,
        vf.score(vf.wrap(classifier), images, dict(zip(names, maps, strict=True)), "saco", batch_size=64).value,
    ]


def _half(where: Shipped) -> Numbers:
    """The normalisation stays in float32."""
    return [copy.deepcopy(where.classifier).half().normalise(where.images).float().cpu()]


def _drawn(where: Shipped) -> Numbers:
    """Draws that are made whole, not filled in place."""
    chances = where.images.flatten(1)
    with forked_random(0, where.ids, "test", where.images.device):
        with KeyedRandom(0, where.ids):
            several = torch.bernoulli(chances)
        with KeyedRandom(0, where.ids[:1]):
            one = [torch.normal(chances[:1], std=chances[:1]), torch.multinomial(chances[0] + 0.1, num_samples=3)]
    return [(some * chances.new_ones(some.shape[-1])).cpu() for some in (several, *one)]


def _attacked(where: Shipped, settings: dict[str, Any]) -> Numbers:
    named = dict(settings)
    return list(attacked(where, named.pop("name"), named))


def _moved_later(where: Shipped) -> Numbers:
    mean, std = (values.flatten().tolist() for values in (where.classifier.mean, where.classifier.std))
    model = vf.wrap(copy.deepcopy(where.classifier.backbone).cpu(), mean=mean, std=std)
    model.backbone.to(where.device)
    return list(vf.explain(model, where.images.cpu(), ["attention_rollout", "saliency"], batch_size=64).values())


def _shown(maps: dict[str, Tensor], where: Shipped) -> Numbers:
    """Pictures and comparisons of maps, given where the network is."""
    here = {name: one.to(where.device) for name, one in maps.items()}
    picture = io.BytesIO()
    vf.plot.maps(where.images, here).savefig(picture, format="rgba")
    kept = vf.Maps(here, target=where.targets, image_ids=where.ids)
    flags = [len(flag) for flags in kept.flags.values() for flag in flags]
    own = vf.explain(where.classifier, where.images, ["random"], target=where.targets, batch_size=64)
    same = vf.smooth(where.classifier, where.images, "none").samples
    spec = {"seed": 0, "smoothing": REGISTRIES["smoothings"].item("none").spec()}
    out = where.folder / "none.parquet"
    out.unlink(missing_ok=True)  # else its samples are kept
    run_denoise(spec, "", where.shard, None, out, device=where.device, batch_size=64)
    return [
        np.frombuffer(picture.getvalue(), np.uint8),
        flags,
        own.target,
        same,
        vf.compare_maps(here, dict(reversed(here.items())), "cosine").value,
    ]


def _places(where: Shipped) -> Numbers:
    """Whether each is where it was asked for, since a network that stays on the CPU computes the same."""
    mean, std = (values.flatten().tolist() for values in (where.classifier.mean, where.classifier.std))
    path, spec = where.given.denoiser, {"explained": "class_1"}
    shard, backbone = read_table(where.shard, SHARDS), copy.deepcopy(where.classifier.backbone).cpu()
    labelled = shard.append_column("target", shard.column("label"))
    made = [
        next(vf.load_denoiser(str(path), device=where.device).network.parameters()),
        next(job_denoiser(path, None, where.device).network.parameters()),
        next(vf.wrap(backbone, mean=mean, std=std, device=where.device).parameters()),
        job_classifier(where.given.spec, where.given.weights, where.device).mean,
        explained_targets(spec, labelled, None, where.device),
    ]
    there = [tensor.device.type == torch.device(where.device).type for tensor in made]
    return [[*there, upload(where.images, "cpu").device.type == "cpu"]]


def _no_device(where: Shipped) -> Numbers:
    try:
        vf.load_denoiser(str(where.given.denoiser), device="xla")
    except vf.InputError as error:
        return [["torch cannot use" in str(error)]]
    raise RuntimeError("a device that is none was taken")


class _Elsewhere(BankRequest):
    """Its masks stay on the CPU."""

    def chosen(self, context: ScoreContext) -> Tensor:
        """As of any request."""
        return super().chosen(context).cpu()


def _bank(where: Shipped) -> Numbers:
    item = REGISTRIES["metrics"].item("faithfulness_correlation")
    requests = list(item.implementation(item.parameters).banked())
    requests = [_Elsewhere(request.masks, request.fill) for request in requests]
    bank = build_bank(where.classifier, where.images.cpu(), where.targets, where.ids, requests)
    table = bank.to_table()
    return [table.column("probability").to_numpy(), table.column("target").to_numpy()]

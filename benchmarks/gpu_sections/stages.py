"""Every stage as its job runs it, from file to file, on the device against the CPU; each reads what the CPU's chain wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu_sections.compare import of_tables, only_on
from benchmarks.gpu_sections.setup import Case, Row, Setup
from benchmarks.gpu_sections.shipped import Shipped, both

from vitfaith.artifacts.store import read_any
from vitfaith.explained import RUNNER_UP
from vitfaith.models.precision import forward_precision
from vitfaith.registries import REGISTRIES
from vitfaith.stages.attack import run_attack
from vitfaith.stages.attribute import run_attribute
from vitfaith.stages.bank import run_bank
from vitfaith.stages.certify import run_certify
from vitfaith.stages.denoise import run_denoise
from vitfaith.stages.predict import run_predict
from vitfaith.stages.sanity import run_sanity
from vitfaith.stages.score import run_score
from vitfaith.stages.stability import run_stability

METHODS = ("random", "attention_rollout", "transformer_mm", "input_x_gradient", "legrad", "tokentm")
METRICS = ("saco", "insertion_auc", "faithfulness_correlation", "energy_pointing_game")
"""All others are computed alike; the section 'correctness' has each metric and explainer."""
CHECKS: dict[str, dict[str, Any]] = {
    "model_randomisation": {"stride": 4}, "smooth_randomisation": {"stride": 4, "samples": 2}, "sensitivity": {"samples": 2},
    "relative_stability": {"samples": 2},
}  # fmt: skip
SPLIT = {"selection": 4}
"""Settings of checks and certificates that keep their rows short."""


@dataclass
class Chain:
    """Files of one shard, and the specifications of its jobs."""

    shipped: Shipped
    folder: Path

    def specs(self) -> dict[str, dict[str, Any]]:
        """Stage → what it is told."""
        model = {"seed": 0, "model": self.shipped.given.spec}
        smoothing = _item("smoothings", "dds", sigma=0.25, samples=24, denoiser="shipped")
        methods = {name: self.shipped.explainer(name).spec() for name in METHODS}
        asked = {name: REGISTRIES["metrics"].item(name) for name in METRICS}
        checks = {name: _item("sanity", name, **CHECKS.get(name, {})) for name in REGISTRIES["sanity"].names}
        masks = [request.spec() for item in asked.values() for request in _banked(item)]
        return {
            "attack": model | {"attack": _item("attacks", "pgd", steps=3)},
            "denoise": {"seed": 0, "smoothing": smoothing},
            "predict": {"model": self.shipped.given.spec},
            "attribute": model | {"smoothing": smoothing, "methods": methods},
            "bank": model | {"precision": "float32", "masks": masks},
            "score": model | {"precision": "float32", "metrics": {name: item.spec() for name, item in asked.items()}},
            "stability": {"measures": {name: _item("stability", name) for name in REGISTRIES["stability"].names}},
            "sanity": model | {"methods": methods, "checks": checks},
            "certify": {
                "seed": 0, "sigma": 0.25,
                "certificates": {name: _item("certificates", name, **SPLIT) for name in REGISTRIES["certificates"].names},
            },
        }  # fmt: skip


def _item(section: str, name: str, **settings: Any) -> dict[str, Any]:
    return REGISTRIES[section].item(name, **settings).spec()


def _banked(item: Any) -> Any:
    return item.implementation(item.parameters).banked()


def cases(setup: Setup) -> Iterator[Case]:
    """One row a stage. A stage that runs no network gets the device's maps and predictions in place of the CPU's."""
    on_cpu, _ = both(setup)
    folder = setup.folder / "stages"
    chain = Chain(on_cpu, folder)
    for place in ("cpu", "device"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    jobs = _jobs(chain)
    for name in jobs:
        yield f"stage {name}", partial(_stage, setup, folder, jobs, name)


Job = Callable[[Callable[[str], Path], Callable[[str], Path], str], None]
"""``job(made, out, device)``: paths of what stages before have made, paths to write, where to compute."""


Jobs = dict[str, tuple[Job, list[str], float, float]]


def _jobs(chain: Chain) -> Jobs:
    """Stage → its job, the files that it writes, the tolerance and the share of values that keeps it."""
    specs, weights, shard = chain.specs(), chain.shipped.given.weights, chain.shipped.shard
    network: dict[str, Any] = {"batch_size": 64}

    def attack(made: Any, out: Any, device: str) -> None:
        run_attack(specs["attack"], "", shard, weights, out("images"), out("plain"), device=device, **network)

    def denoise(made: Any, out: Any, device: str) -> None:
        run_denoise(
            specs["denoise"],
            "",
            made("images"),
            str(chain.shipped.given.denoiser),
            out("denoised"),
            device=device,
            **network,
        )

    def predict(made: Any, out: Any, device: str) -> None:
        paths = (made("images"), made("denoised"), weights, out("votes"))
        run_predict(specs["predict"], "", *paths, device=device, **network)

    def attribute(made: Any, out: Any, device: str) -> None:
        spec = specs["attribute"] | {"smoothing": _item("smoothings", "none")}
        run_attribute(spec, "", made("images"), None, weights, out("maps"), device=device, **network)

    def runner_up(made: Any, out: Any, device: str) -> None:
        spec = specs["attribute"] | {"smoothing": _item("smoothings", "none"), "explained": RUNNER_UP}
        paths = (made("images"), None, weights, out("runner_up"))
        run_attribute(spec, "", *paths, predictions=made("plain"), device=device, **network)

    def attribute_smoothed(made: Any, out: Any, device: str) -> None:
        paths = (made("images"), made("denoised"), weights, out("smoothed"))
        run_attribute(specs["attribute"] | {"sample_maps": True}, "", *paths, device=device, **network)

    def bank(made: Any, out: Any, device: str) -> None:
        run_bank(specs["bank"], "", made("images"), weights, out("bank"), device=device, **network)

    def score(made: Any, out: Any, device: str) -> None:
        run_score(
            specs["score"], "", images=made("images"), maps=made("smoothed"), weights=weights, scores=out("scores"),
            curves=out("curves"), bank=made("bank"), truth=shard, device=device, **network,
        )  # fmt: skip

    def stability(made: Any, out: Any, device: str) -> None:
        here = out if out("maps").exists() else made
        run_stability(specs["stability"], "", here("smoothed"), out("stability"), clean=here("maps"))

    def sanity(made: Any, out: Any, device: str) -> None:
        run_sanity(specs["sanity"], "", made("images"), weights, out("sanity"), device=device, **network)

    def certify(made: Any, out: Any, device: str) -> None:
        here = out if out("votes").exists() else made
        run_certify(specs["certify"], "", made("images"), here("votes"), [here("smoothed")], out("certificates"))

    return {
        "attack": (attack, ["images", "plain"], 1e-3, 0.95),
        "denoise": (denoise, ["denoised"], 0.0, 0.95),
        "predict": (predict, ["votes"], 1e-4, 0.999),
        "attribute": (attribute, ["maps"], 1e-3, 0.99),
        "attribute, runner-up": (runner_up, ["runner_up"], 1e-3, 0.99),
        "attribute, smoothed": (attribute_smoothed, ["smoothed"], 1e-3, 0.99),
        "bank": (bank, ["bank"], 1e-4, 0.999),
        "score": (score, ["scores", "curves"], 1e-3, 0.95),
        "stability": (stability, ["stability"], 1e-3, 0.9),
        "sanity": (sanity, ["sanity"], 1e-3, 0.9),
        "certify": (certify, ["certificates"], 1e-3, 0.95),
    }


def _stage(setup: Setup, folder: Path, jobs: Jobs, name: str) -> Row:
    job, written, tolerance, within = jobs[name]

    def at(place: str) -> Callable[[str], Path]:
        return lambda file: folder / place / f"{file}.parquet"

    def made(file: str) -> Path:
        """A file of the CPU's chain, which is made where it is not there yet."""
        path = at("cpu")(file)
        if not path.exists():
            (producer,) = (one for one, written, *_ in jobs.values() if file in written)
            producer(made, at("cpu"), "cpu")
        return path

    for file in written:
        made(file)
    with forward_precision("float32", setup.device), only_on(setup.device):
        job(made, at("device"), setup.device)
    rows = []
    for file in written:
        found, expected = (read_any(at(place)(file)) for place in ("device", "cpu"))
        rows.append(of_tables(found, expected, tolerance, within=within) | {"file": file})
    return next((row for row in rows if row["result"] != "ok"), rows[0])

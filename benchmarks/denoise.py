"""How close smoothing comes to the bare U-Net calls that it cannot avoid.

    python benchmarks/denoise.py [--denoiser FOLDER] [--device cuda] [--images 64] [--samples 8] [--batch-size 256]

Prints one row per mode: seconds of ``dds``, seconds of the same number of network calls on a resident
batch, and their ratio (1 is the bar's top, 0.95 the bar). Best of several alternating runs; on a CPU the time of the process
itself on one thread, which other load changes little. Then what is counted, which no machine changes: network calls an image for M explainers, shared
here, against the published procedure, which denoises anew for each; and calls of a cache that is extended by the stage.
``--counts`` prints the counts alone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import torch

from vitfaith.artifacts.images import encode_images
from vitfaith.artifacts.schemas import SHARDS
from vitfaith.artifacts.store import read_provenance, write_table
from vitfaith.denoisers.denoiser import Denoiser
from vitfaith.models.fast.memory import keep_freed_memory
from vitfaith.models.passes import PassCounter
from vitfaith.registries import REGISTRIES
from vitfaith.smoothings.dds import DdsParameters, dds, noise_level
from vitfaith.stages.denoise import run_denoise

MODES: dict[str, dict[str, object]] = {
    "calibrated": {"sigma": 0.25},
    "multistep, 10 steps": {"sigma": 0.25, "mode": "multistep", "steps": 10},
    "official, 8/255": {"sigma": 8 / 255, "mode": "official"},
}


def seconds(function: Callable[[], object], device: torch.device) -> float:
    """Time of one call: of this process on a CPU, by the wall on a GPU, its queue emptied before and after."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = clock()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start


def bare_calls(denoiser: Denoiser, shape: tuple[int, ...], rows: int, batch_size: int, calls: int) -> None:
    """The network alone: ``calls`` passes of ``rows`` images in batches."""
    for start in range(0, rows, batch_size):
        batch = torch.zeros(min(batch_size, rows - start), *shape, device=denoiser.device)
        steps = torch.zeros(len(batch), dtype=torch.long, device=denoiser.device)
        with torch.inference_mode():
            for _ in range(calls):
                denoiser.network(batch, steps)


def counted(denoiser: Denoiser, settings: dict[str, object], samples: int) -> int:
    """Network calls of one image, counted while they happen."""
    parameters = DdsParameters.model_validate({"denoiser": "benchmark", **settings})
    image = torch.rand(1, denoiser.channels, *(denoiser.size or (32, 32)))
    with PassCounter(denoiser.network) as passes:
        dds(denoiser, image, ["a"], parameters, range(samples), seed=0, batch_size=256)
    return passes.forwards


def print_shared_calls(denoiser: Denoiser) -> None:
    """Calls an image for M explainers: one cache for all, against denoising for each."""
    shared = {m: counted(denoiser, {"sigma": 0.25}, m) for m in (2, 10)}
    published = {m: counted(denoiser, MODES["official, 8/255"], m) for m in (2, 10)}
    print(
        f"\n{'U-Net calls an image':24}{'M':>4}{'calibrated':>12}{'official, cached':>18}{'as published':>14}{'ratio':>8}"
    )
    for m in shared:
        for explainers in (1, 6, len(REGISTRIES["explainers"])):
            alone = published[m] * explainers
            row = f"{f'm = {m}':24}{explainers:4}{shared[m]:12}{published[m]:18}{alone:14}"
            print(f"{row}{alone / shared[m]:8.0f}")


def print_extension(folder: Path, images: int = 4) -> None:
    """Calls of the denoise stage, from 10 samples to 50, and from none to 50."""
    size = Denoiser.load(folder).size or (32, 32)
    channels = Denoiser.load(folder).channels
    pixels = torch.randint(0, 256, (images, channels, *size), dtype=torch.uint8).numpy()
    shard = {"image_id": pa.array(list(map(str, range(images)))), "label": pa.array([0] * images)}
    print(f"\n{'cache of the stage':24}{'samples':>8}{'kept':>6}{'calls':>7}{'a sample':>10}   ({images} images)")
    with tempfile.TemporaryDirectory() as name:
        source = Path(name, "shard.parquet")
        write_table(pa.table(shard | encode_images(pixels)), source, SHARDS, {})
        for label, out, samples in (("new", "a", 10), ("extended", "a", 50), ("new", "b", 50), ("repeated", "b", 50)):
            spec = {"seed": 0, "smoothing": {"use": "dds", "sigma": 0.25, "denoiser": "benchmark", "samples": samples}}
            target = Path(name, f"{out}.parquet")
            run_denoise(spec, "", source, str(folder), target, device="cpu", batch_size=256)
            facts = read_provenance(target)
            new = images * (samples - facts["kept"])
            print(f"{label:24}{samples:8}{facts['kept']:6}{facts['forwards']:7}{facts['forwards'] / max(new, 1):10.2f}")


def main() -> None:
    """Run all modes and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--denoiser", type=Path, default=Path("resources/denoisers/fashion_mnist"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--counts", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    denoiser = Denoiser.load(arguments.denoiser, device=arguments.device)
    if not arguments.counts:
        print_throughput(denoiser, arguments)
    print_shared_calls(denoiser)
    print_extension(arguments.denoiser)


def print_throughput(denoiser: Denoiser, arguments: argparse.Namespace) -> None:
    """Smoothing against bare calls, one row a mode."""
    rows = arguments.images * arguments.samples
    print(f"{'mode':24}{'calls':>6}{'smoothing s':>13}{'bare calls s':>14}{'ratio':>7}{'samples/s':>11}")
    for name in MODES:
        calls, ours, floor = measure(
            denoiser, name, arguments.images, arguments.samples, arguments.batch_size, arguments.repeats
        )
        print(f"{name:24}{calls:6}{ours:13.3f}{floor:14.3f}{floor / ours:7.2f}{rows / ours:11.0f}")


def measure(
    denoiser: Denoiser, mode: str, images: int, samples: int, batch_size: int, repeats: int
) -> tuple[int, float, float]:
    """Network calls a sample, best seconds of smoothing, and of bare calls."""
    shape = (denoiser.channels, *(denoiser.size or (32, 32)))
    pixels, ids = torch.rand(images, *shape), [str(i) for i in range(images)]
    parameters = DdsParameters.model_validate({"denoiser": "benchmark", **MODES[mode]})
    calls = noise_level(denoiser.schedule, parameters).calls

    def smooth() -> None:
        dds(denoiser, pixels, ids, parameters, range(samples), seed=0, batch_size=batch_size)

    def bare() -> None:
        bare_calls(denoiser, shape, images * samples, batch_size, calls)

    bare()
    rounds = range(max(1, repeats if calls == 1 else repeats // 2))
    pairs = [(seconds(smooth, denoiser.device), seconds(bare, denoiser.device)) for _ in rounds]
    ours, floor = (min(values) for values in zip(*pairs, strict=True))
    return calls, ours, floor


if __name__ == "__main__":
    main()

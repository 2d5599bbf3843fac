"""How close smoothing comes to the bare U-Net calls that it cannot avoid.

    python benchmarks/denoise.py [--denoiser FOLDER] [--device cuda] [--images 64] [--samples 8] [--batch-size 256]

Prints one row per mode: seconds of ``denoise_images``, seconds of the same number of network calls on a resident
batch, and their ratio (1 is the bar's top, 0.9 the bar). Best of several alternating runs, so that another process on
the machine slows both.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch

from vitfaith.denoise.denoiser import Denoiser
from vitfaith.denoise.smooth import denoise_images, noise_level
from vitfaith.denoise.smoothings import DdsParameters

MODES: dict[str, dict[str, object]] = {
    "calibrated": {"sigma": 0.25},
    "multistep, 10 steps": {"sigma": 0.25, "mode": "multistep", "steps": 10},
    "official, 8/255": {"sigma": 8 / 255, "mode": "official"},
}


def seconds(function: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call, with the device's queue emptied before and after."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def bare_calls(denoiser: Denoiser, shape: tuple[int, ...], rows: int, batch_size: int, calls: int) -> None:
    """The network alone: ``calls`` passes of ``rows`` images in batches."""
    for start in range(0, rows, batch_size):
        batch = torch.zeros(min(batch_size, rows - start), *shape, device=denoiser.device)
        steps = torch.zeros(len(batch), dtype=torch.long, device=denoiser.device)
        with torch.inference_mode():
            for _ in range(calls):
                denoiser.network(batch, steps)


def main() -> None:
    """Run all modes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--denoiser", type=Path, default=Path("resources/denoisers/fashion_mnist"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    denoiser = Denoiser.load(arguments.denoiser, device=arguments.device)
    side = denoiser.size or (32, 32)
    shape = (denoiser.channels, *side)
    images = torch.rand(arguments.images, *shape)
    ids = [str(i) for i in range(len(images))]
    rows = arguments.images * arguments.samples
    print(f"{'mode':24}{'calls':>6}{'smoothing s':>13}{'bare calls s':>14}{'ratio':>7}{'samples/s':>11}")
    for name, settings in MODES.items():
        parameters = DdsParameters.model_validate({"denoiser": "benchmark", **settings})
        calls = noise_level(denoiser.schedule, parameters).calls

        def smooth(parameters: DdsParameters = parameters) -> None:
            samples = range(arguments.samples)
            denoise_images(denoiser, images, ids, parameters, samples, seed=0, batch_size=arguments.batch_size)

        def bare(calls: int = calls) -> None:
            bare_calls(denoiser, shape, rows, arguments.batch_size, calls)

        repeats = max(1, arguments.repeats if calls == 1 else arguments.repeats // 2)
        pairs = [(seconds(smooth, denoiser.device), seconds(bare, denoiser.device)) for _ in range(repeats)]
        ours, floor = (min(values) for values in zip(*pairs, strict=True))
        print(f"{name:24}{calls:6}{ours:13.3f}{floor:14.3f}{floor / ours:7.2f}{rows / ours:11.0f}")


if __name__ == "__main__":
    main()

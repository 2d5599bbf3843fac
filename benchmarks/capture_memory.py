"""Peak memory of the shared pass with fused attention against attention matrices that autograd retains.

    python -m benchmarks.capture_memory [--size 512] [--images 2]

A random ViT-Ti/16 at 512 pixels (1025 tokens), on the GPU if there is one. Each line runs in a process of its own. On a
CPU the number is the peak resident memory minus what was resident before the pass, on a GPU the peak that torch
allocated, minus the same. The last column is relative to the bare forward and backward.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

from vitfaith.registry import Item

MODEL = "vit_tiny_patch16_224"
LINES = {
    "bare": "bare forward + backward, fused attention",
    "pass": "shared pass of all one-pass explainers, before any map is read",
    "maps": "shared pass and the maps of all one-pass explainers",
    "unfused": "unfused attention, its matrices and their gradients retained by autograd",
}


def measure(line: str, size: int, images: int) -> int:
    """Bytes that one line needs above what was resident before it."""
    import torch
    from benchmarks.shared import one_pass
    from tests.explainers.autograd import reference

    from vitfaith.explainers.explain import explain
    from vitfaith.explainers.passes.shared_pass import run_capture
    from vitfaith.models.classifier import Classifier, build_backbone, freeze

    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    classifier = freeze(Classifier(build_backbone(MODEL, {"img_size": size}), [0.5] * 3, [0.5] * 3)).to(device)
    entries = one_pass()
    needs = frozenset(need for entry in entries for need in entry.traits["needs"])

    def run(pixels: torch.Tensor, targets: torch.Tensor) -> object:
        if line == "bare":
            leaf = pixels.clone().requires_grad_()
            return torch.autograd.grad(classifier(leaf).gather(1, targets[:, None]).sum(), leaf)
        if line == "pass":
            return run_capture(classifier, pixels, targets, needs)
        if line == "maps":
            methods = {entry.name: Item(entry, entry.parameters()) for entry in entries}
            ids = [str(i) for i in range(len(pixels))]
            return explain(classifier, pixels, targets, ids, methods, seed=0, batch_size=len(ids))
        return reference(classifier, pixels, targets)

    def batch(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.rand(count, 3, size, size).to(device), torch.arange(count, device=device)

    if device == "cuda":
        run(*batch(1))  # libraries load at first use
        pixels, targets = batch(images)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        kept = run(pixels, targets)
        return torch.cuda.max_memory_allocated() - before if kept is not None else 0
    import scipy.linalg  # noqa: F401  (loads at first use)

    pixels, targets = batch(images)
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    kept = run(pixels, targets)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before if kept is not None else 0


def main() -> None:
    """Print the table, or with ``--line`` the bytes of one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512, help="side of the images in pixels")
    parser.add_argument("--images", type=int, default=2, help="images in the batch")
    parser.add_argument("--line", choices=LINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.line:
        print(json.dumps(measure(options.line, options.size, options.images)))
        return
    found = {}
    for line in LINES:
        arguments = ["--size", str(options.size), "--images", str(options.images), "--line", line]
        command = [sys.executable, "-m", "benchmarks.capture_memory", *arguments]
        found[line] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    tokens = (options.size // 16) ** 2 + 1
    print(f"{MODEL}, {options.images} images of {options.size} pixels, {tokens} tokens\n")
    print("| what | peak memory, MB | / bare |\n|---|---:|---:|")
    for line, text in LINES.items():
        print(f"| {text} | {found[line] / 1e6:.0f} | {found[line] / found['bare']:.2f} |")


if __name__ == "__main__":
    main()

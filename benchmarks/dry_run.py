"""How long Snakemake plans the study of all ImageNet: `uv run python benchmarks/dry_run.py [CONFIG] [--list]`.

Builds a folder of 50,000 empty pictures in 1,000 class folders (with --list the number of images is taken out of the
configuration, so that the plan counts them), and prints jobs and seconds of `snakemake -n`. Nothing of it stays.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
CLASSES, EACH = 1000, 50


def build(folder: Path, config: Path, count_images: bool) -> None:
    """The workflow by links, the pictures, an empty checkpoint, and the configuration with their paths."""
    for name in ("Snakefile", "config", "rules", "workflow", "envs", "src", "resources"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "profiles").symlink_to(ROOT / "workflow" / "profiles")
    validation = folder / "data" / "imagenet" / "val"
    for label in range(CLASSES):
        (validation / f"n{label:08d}").mkdir(parents=True)
        for number in range(label * EACH, (label + 1) * EACH):
            (validation / f"n{label:08d}" / f"ILSVRC2012_val_{number + 1:08d}.JPEG").touch()
    (folder / "data" / "256x256_diffusion_uncond.pt").touch()
    study = yaml.safe_load(config.read_text())
    if count_images:
        del study["datasets"]["imagenet"]["images"]
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))


def main() -> None:
    """Build, plan, print."""
    arguments = [a for a in sys.argv[1:] if a != "--list"]
    config = Path(arguments[0]) if arguments else ROOT / "config" / "examples" / "imagenet_full.yaml"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder, config, "--list" in sys.argv)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PYTHONPATH": str(folder / "src")}
        command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--configfile", "study.yaml"]
        start = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        wall = time.perf_counter() - start
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    table = re.search(r"Job stats:\n.*?\ntotal +\d+", done.stdout, re.DOTALL)
    print(table.group(0) if table else done.stdout)
    print(f"{wall:.1f} s of wall, {used.ru_utime + used.ru_stime:.1f} s of CPU, {used.ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()

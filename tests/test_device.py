"""GPU slots: never two jobs on one GPU, none lost when a job dies, the CPU where there is no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from vitfaith import device
from vitfaith.device import gpu_slot, job_device, visible_gpus
from vitfaith.errors import ConfigError

JOB = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from vitfaith.device import gpu_slot
    folder = Path(sys.argv[1])
    with gpu_slot(["0", "1"], folder, poll_seconds=0.01) as gpu:
        mark = folder / f"busy-{gpu}"
        mark.touch(exist_ok=False)  # fails when another job is on this GPU
        time.sleep(0.1)
        mark.unlink()
        print(gpu)
    """
)


def test_six_jobs_on_two_gpus_never_share_one(tmp_path: Path) -> None:
    jobs = [
        subprocess.Popen([sys.executable, "-c", JOB, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    answers = [job.communicate(timeout=60)[0].strip() for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 6
    assert set(answers) == {"0", "1"}


def test_a_killed_job_frees_its_gpu(tmp_path: Path) -> None:
    hold = JOB.replace("time.sleep(0.1)", "print('held', flush=True); time.sleep(60)")
    job = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert job.stdout is not None
    assert job.stdout.readline().strip() == "held"
    job.kill()
    job.wait()
    start = time.monotonic()
    with gpu_slot(["0"], tmp_path, poll_seconds=0.01) as gpu:
        assert gpu == "0"
    assert time.monotonic() - start < 30


def test_no_gpu_means_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with job_device(1) as chosen:
        assert chosen == "cpu"


def test_gpus_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    assert visible_gpus() == ["2", "5"]


def test_slurm_has_chosen_already(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(device, "DRIVER", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    with job_device(1) as chosen:
        assert chosen == "cuda"
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"


def test_what_is_asked_for_is_obeyed_or_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with job_device(1, "cpu") as chosen:
        assert chosen == "cpu"
    with pytest.raises(ConfigError, match="job has no GPU"), job_device(0, "cuda"):
        pass
    monkeypatch.setattr(device, "DRIVER", tmp_path / "no-driver")
    with pytest.raises(ConfigError, match="given GPU 0, but NVIDIA's driver is not loaded"), job_device(1):
        pass

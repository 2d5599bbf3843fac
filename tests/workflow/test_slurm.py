"""The executor for SLURM without a SLURM: refusals, the interval of its questions, ends that it must not miss, retries; GPUs.

`tests/slurm` runs it on a cluster.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace as Object
from typing import Any

import pytest
from snakemake_executor_plugin_slurm import Executor as SlurmExecutor
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

from tests.workflow.conftest import Workflow, copy_of_the_workflow
from vitfaith.errors import REPEATS
from vitfaith.study import cluster
from vitfaith.study.jobs import Job
from vitfaith.study.status import status
from vitfaith_slurm import install, refusals
from vitfaith_slurm.executor import Executor

LIMIT = "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy"
NOWHERE = "sbatch: error: invalid partition specified: nowhere"


@pytest.fixture
def executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Executor:
    """One with no cluster behind it; `said` are its warnings, `over` the jobs it reported."""
    monkeypatch.chdir(tmp_path)
    made = Executor.__new__(Executor)
    monkeypatch.setattr(SlurmExecutor, "__post_init__", lambda self, test_mode: None)
    monkeypatch.setattr("vitfaith_slurm.executor.get_min_job_age", lambda: 300)
    said: list[str] = []
    over: list[tuple[str, Any]] = []
    settings = Object(status_command="squeue", init_seconds_before_status_checks=20, array_jobs=None)
    scheduler = Object(
        finish_callback=lambda job: over.append(("done", job)),
        error_callback=lambda job: over.append(("failed", job)),
        submit_callback=lambda job: None,
    )
    made.workflow = Object(executor_settings=settings, scheduler=scheduler, remote_execution_settings=Object())
    made.logger = Object(warning=said.append)
    made.lock, made.active_jobs = threading.Lock(), []
    made._main_event_loop, made._submitted_job_clusters, made.run_uuid = None, set(), "run"
    made._next_seconds_between_status_checks = None  # type: ignore[assignment]
    made.workflow.remote_execution_settings.seconds_between_status_checks = 10
    made.__post_init__()
    made.said, made.over = said, over
    return made


def job(**more: Any) -> Any:
    made = Object(log=["a.log"], output=["a.parquet"], attempt=1, restart_times=2, resources={}, is_local=False, **more)
    made.register = lambda external_jobid: None
    made.said = []
    made.log_error = lambda msg, **_: made.said.append(msg)
    return made


def submitted(executor: Executor, id_: str = "7", log: str = "slurm.log") -> SubmittedJobInfo:
    info = SubmittedJobInfo(job(), id_, {"slurm_logfile": Path(log)})
    executor.report_job_submission(info)
    return info


def look(executor: Executor, infos: list[SubmittedJobInfo], monkeypatch: pytest.MonkeyPatch, queue: Any) -> list[Any]:
    """Jobs that still run after one look at a queue in which the plugin finds no end."""

    async def all_active(self: Any, active: list[Any]) -> AsyncIterator[Any]:
        for one in active:
            yield one

    monkeypatch.setattr(SlurmExecutor, "check_active_jobs", all_active)
    monkeypatch.setattr(cluster, "queue", lambda runs: queue)

    async def collect() -> list[Any]:
        return [one async for one in executor.check_active_jobs(infos)]

    return asyncio.run(collect())


def test_the_snakefile_puts_it_in_the_place_of_the_plugins() -> None:
    plugin = ExecutorPluginRegistry().get_plugin("slurm")
    before = plugin.executor
    try:
        install()
        assert plugin.executor is Executor
    finally:
        plugin.executor = before


@pytest.mark.parametrize(
    ("age", "first", "longest", "warns"),
    [(300, 20, 60, False), (60, 20, 20, True), (9, 3, 3, True), (2, 1, 2, True), (None, 20, 60, False)],
)
def test_slurm_is_asked_before_it_forgets(
    executor: Executor, age: int | None, first: int, longest: float, warns: bool
) -> None:
    """The plugin needs three looks within MinJobAge at first, and lets the interval grow to three minutes later."""
    executor._hold_to_the_memory_of_the_controller(age)
    assert executor.workflow.executor_settings.init_seconds_before_status_checks == first
    executor.next_seconds_between_status_checks = 180
    assert executor.next_seconds_between_status_checks == longest
    assert any("scontrol show config | grep MinJobAge" in text for text in executor.said) == warns


def test_a_controller_that_never_forgets_is_no_reason_for_sacct(executor: Executor) -> None:
    executor._hold_to_the_memory_of_the_controller(0)
    assert executor.workflow.executor_settings.init_seconds_before_status_checks == 0
    executor.next_seconds_between_status_checks = 0
    assert executor.next_seconds_between_status_checks == 20


@pytest.mark.parametrize(("wrote", "result"), [(True, "done"), (False, "failed")])
def test_a_forgotten_job_ends_by_its_files(
    executor: Executor, monkeypatch: pytest.MonkeyPatch, wrote: bool, result: str
) -> None:
    Path("a.parquet").write_text("of earlier settings")
    info = submitted(executor)
    if wrote:
        Path("a.parquet").unlink()
        Path("a.parquet").write_text("new")
    left = [info]
    for _ in range(2):
        left = look(executor, left, monkeypatch, {})
        assert left == [info]
    assert look(executor, left, monkeypatch, {}) == []
    assert executor.over == [(result, info.job)]


def test_a_cancelled_job_ends_also_where_the_plugin_overlooks_it(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With sacct its state is "CANCELLED by 0", which the plugin takes for none of the ends."""
    info = submitted(executor)
    for _ in range(2):
        assert look(executor, [info], monkeypatch, {"7": ("CANCELLED", "None")}) == [info]
    assert look(executor, [info], monkeypatch, {"7": ("CANCELLED", "None")}) == []
    assert executor.over == [("failed", info.job)]
    executor.handle_job_error(info.job)
    assert cluster.submissions(Path())["a.log"].ended == "CANCELLED"
    assert info.job.attempt == 1, "it is tried again"


def test_jobs_that_an_interrupted_run_cancels_are_to_do(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SlurmExecutor, "cancel_jobs", lambda self, active: None)
    Path("slurm.log").write_text("slurmstepd: error: *** JOB 7 ON node1 CANCELLED AT 2026-11-28T23:06:10 ***")
    info = submitted(executor)
    monkeypatch.setattr(cluster, "queue", lambda runs: {"7": ("CANCELLED", "None")})
    cancelled = Job("shard", "a", 1, [Path("a.parquet")])
    monkeypatch.setattr(Job, "log", Path("a.log"))
    assert status([cancelled], Path()).failures[0][1].startswith("SLURM job 7: CANCELLED: JOB 7 ON node1 CANCELLED AT")
    executor.cancel_jobs([info])
    assert status([cancelled], Path()).counts == {"shard": {"to do": 1}}


def test_running_jobs_and_a_silent_controller_end_nothing(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    info = submitted(executor)
    for queue in ({}, {}, {"7": ("RUNNING", "None")}, {}, {}, None, None, None):
        assert look(executor, [info], monkeypatch, queue) == [info]
    assert executor.over == []


def test_a_job_that_would_wait_for_ever_is_told_once(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    info = submitted(executor)
    for _ in range(3):
        look(executor, [info], monkeypatch, {"7": ("PENDING", "PartitionTimeLimit"), "8": ("PENDING", "Priority")})
    assert len(executor.said) == 1
    assert "1 SLURM jobs wait with the reason PartitionTimeLimit" in executor.said[0]


@pytest.mark.parametrize(("status", "attempt"), [(REPEATS, 3), (1, 1), (137, 1)])
def test_an_error_that_repeats_is_not_tried_again(executor: Executor, status: int, attempt: int) -> None:
    """Three tries are allowed, so the third attempt is the last."""
    Path("slurm.log").write_text(
        f"Command 'set -e; python -m vitfaith attack' returned non-zero exit status {status}.\n"
    )
    info = submitted(executor)
    executor.report_job_error(info, "SLURM-job '7' failed, SLURM status is: 'FAILED'. ")
    executor.handle_job_error(info.job)
    assert info.job.attempt == attempt
    assert ("It is not tried again" in info.job.said[0]) == (status == REPEATS)


def refusing(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[float]:
    """sbatch that answers so in turn and then accepts; gives the pauses that were made."""
    left, pauses = list(answers), []

    def run_job(self: Any, job: Any) -> None:
        if left:
            text = f"SLURM sbatch failed. The error message was '{left.pop(0)}'.\n    sbatch call:\n        sbatch …\n"
            self._report_job_error_threadsafe(SubmittedJobInfo(job), text)

    monkeypatch.setattr(SlurmExecutor, "run_job", run_job)
    monkeypatch.setattr(threading.Event, "wait", lambda self, seconds: bool(pauses.append(seconds)))
    return pauses


def test_a_full_queue_costs_pauses_and_no_retry(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = refusing(monkeypatch, *[LIMIT] * 3)
    executor.run_job(job())
    assert pauses == [10, 20, 40]
    assert executor.over == []
    assert executor.said[0].startswith("sbatch: AssocMaxSubmitJobLimit; Batch job submission failed")
    assert "should be below your MaxSubmitJobs" in executor.said[0]


def test_a_refusal_that_stays_fails_at_once(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses, one = refusing(monkeypatch, NOWHERE), job()
    executor.run_job(one)
    assert pauses == []
    assert executor.over == [("failed", one)]
    executor.handle_job_error(one)
    assert one.attempt == 3
    assert cluster.submissions(Path())["a.log"].why == "invalid partition specified: nowhere"


def test_other_failures_of_a_submission_go_the_plugins_way(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch)
    executor.run_job(job())
    executor._report_job_error_threadsafe(SubmittedJobInfo(job()), "SLURM sbatch failed for an array")
    assert [state for state, _ in executor.over] == ["failed"]


def test_pauses_end() -> None:
    pauses = list(refusals.pauses())
    assert pauses[:7] == [10, 20, 40, 80, 160, 300, 300]
    assert refusals.IN_ALL <= sum(pauses) < refusals.IN_ALL + refusals.LONGEST


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        (LIMIT, True),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit", True),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", True),
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", True),
        ("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying", True),
        (NOWHERE, False),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", False),
        (
            "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
            False,
        ),
    ],
)
def test_which_refusals_pass(text: str, passes: bool) -> None:
    assert refusals.passes(text) == passes


def test_arrays_are_warned_of(executor: Executor) -> None:
    executor.workflow.executor_settings.array_jobs = "predict"
    executor.__post_init__()
    assert executor.said == [text for text in executor.said if "--group-components" in text] != []


def test_no_account_is_guessed(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin would start sacct, which a site may lack."""
    monkeypatch.setenv("PATH", "")
    assert list(executor.get_account_arg(job())) == [""]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            SlurmExecutor, "get_account_arg", lambda self, job: (_ for _ in ()).throw(FileNotFoundError("sshare"))
        )
        assert list(executor.get_account_arg(Object(resources=Named(slurm_account="mine")))) == [" -A mine"]


class Named(dict[str, Any]):
    """Resources, by key and by attribute."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


ATTACK = "results/attack/dataset=tiny/model=vit_patch4/attack=clean/shard-000.parquet"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    return copy_of_the_workflow(tmp_path_factory.mktemp("slurm") / "repository")


@pytest.mark.parametrize(("device", "limit", "asked"), [("auto", 1, 1), ("auto", 4, 1), ("auto", 0, 0), ("cpu", 1, 0)])
def test_a_job_asks_for_a_gpu_where_there_are_some(fresh: Workflow, device: str, limit: int, asked: int) -> None:
    fresh.write_config(fresh.config | {"compute": {"device": device}})
    shown = fresh.snakemake("-n", "-p", "--resources", f"gpu={limit}", "--retries", "0", ATTACK).stdout
    assert f"--gpus {asked} --device {device}" in shown


def test_within_a_cluster_a_job_asks_as_its_submission_did(fresh: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    """There it is not told the limit: without the variable it would ask srun for a GPU that sbatch did not get."""
    fresh.write_config(fresh.config | {"compute": {"device": "auto"}})
    for limit in ("0", "1"):
        monkeypatch.setenv("VITFAITH_GPUS", limit)
        inside = ("--mode", "remote", "--workflow-profile", "none", "--retries", "0")
        assert f"--gpus {limit} --device auto" in fresh.snakemake("-n", "-p", *inside, ATTACK).stdout


def test_the_profile_lists_the_rules_that_ask_for_a_gpu(fresh: Workflow) -> None:
    texts = [path.read_text() for path in (fresh.folder / "rules").glob("*.smk")]
    blocks = [block for text in texts for block in re.split(r"^rule ", text, flags=re.MULTILINE)[1:]]
    on_device = {block.split(":")[0] for block in blocks if "**OF_A_DEVICE" in block}
    profile = (fresh.folder / "workflow/profiles/slurm/config.yaml").read_text()
    assert set(re.findall(r"^#   (\w+): \{gpu_model: a100\}$", profile, re.MULTILINE)) == on_device

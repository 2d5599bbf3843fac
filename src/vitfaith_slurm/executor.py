"""The plugin's executor with four changes: how it asks for states, what it does when SLURM refuses, what it tries again, notes."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

from snakemake_executor_plugin_slurm import Executor as SlurmExecutor
from snakemake_executor_plugin_slurm.job_status_query import get_min_job_age

from vitfaith.errors import REPEATS
from vitfaith.study import cluster
from vitfaith_slurm import refusals

_REPEATS = re.compile(rf"non-zero exit status {REPEATS}\b")
_MISSES = 3
"""Looks at the queue after which a job that ended there, or is gone from there, is taken as ended."""


class Executor(SlurmExecutor):
    """Submits jobs as the plugin does, and leaves none waiting, unasked or tried in vain."""

    # Read by the thread that asks for states, which starts before __post_init__.
    _longest = 60.0
    _shortest = 1.0

    def __post_init__(self, test_mode: bool = False) -> None:
        self._ending = threading.Event()
        self._this = threading.local()  # of each of the threads that submit
        self._hopeless: set[int] = set()
        self._submitted: dict[str, tuple[cluster.Submission, dict[str, int | None]]] = {}
        self._failed: dict[int, cluster.Submission] = {}
        self._misses: Counter[str] = Counter()
        self._told: set[str] = set()
        cluster.RECORD.unlink(missing_ok=True)
        self._hold_to_the_memory_of_the_controller(get_min_job_age())
        if self.workflow.executor_settings.array_jobs:
            self.logger.warning(
                "slurm-array-jobs: where one task fails, the plugin loses the results of others; --group-components does "
                "without (docs/slurm.md)"
            )
        super().__post_init__(test_mode)

    # States

    def _hold_to_the_memory_of_the_controller(self, age: int | None) -> None:
        """Ask often enough to see each ended job before slurmctld forgets it, ``age`` seconds (MinJobAge) after its end."""
        settings = self.workflow.executor_settings
        if age is None or settings.status_command != "squeue":
            return
        first = settings.init_seconds_before_status_checks
        if age == 0:  # it never forgets; the plugin takes 0 for too little
            self._shortest, settings.init_seconds_before_status_checks = float(first), 0
            return
        self._longest = min(self._longest, max(age / 3, 2.0))
        # Below three times the first interval the plugin turns to sacct, which needs accounting.
        settings.init_seconds_before_status_checks = max(1, min(first, age // 3))
        if age < 300:
            self.logger.warning(
                f"SLURM forgets ended jobs after {age} s (scontrol show config | grep MinJobAge; the default is 300): "
                f"asking for states every {self._longest:.0f} s"
            )

    @property
    def next_seconds_between_status_checks(self) -> float:
        """Seconds until SLURM is asked again."""
        asked: float = SlurmExecutor.next_seconds_between_status_checks.fget(self)
        return min(max(asked, self._shortest), self._longest)

    @next_seconds_between_status_checks.setter
    def next_seconds_between_status_checks(self, value: float) -> None:
        self._next_seconds_between_status_checks = value

    async def check_active_jobs(self, active_jobs: list[Any]) -> AsyncIterator[Any]:
        """Report what ended; give back what still runs. Jobs of which the plugin would wait for ever are ended here."""
        queued = await asyncio.to_thread(cluster.queue, [self.run_uuid]) if active_jobs else None
        async for job in super().check_active_jobs(active_jobs):
            if queued is None or self._submitted_job_clusters or not self._ended_unseen(job, queued):
                yield job
        for reason, number in cluster.asked_in_vain(queued or {}).items():
            self._warn_once(
                f"{number} SLURM jobs wait with the reason {reason}, and will for ever: {cluster.FOR_EVER[reason]}",
                reason,
            )

    def _ended_unseen(self, job: Any, queued: dict[str, tuple[str, str]]) -> bool:
        """Whether a job is over that the plugin still waits for; if so, it is reported."""
        id_ = str(job.external_jobid)
        state = queued.get(id_, ("",))[0]
        if "_" in id_ or (state and state not in cluster.FAILS):  # a task of an array is listed under other names
            del self._misses[id_]
            return False
        self._misses[id_] += 1
        if self._misses[id_] < _MISSES:
            return False
        if not state and self._wrote_all(id_):
            self.report_job_success(job)
            return True
        known = f"SLURM status is: '{state}'" if state else "SLURM has forgotten it, and its files are missing"
        self.report_job_error(job, f"SLURM-job '{id_}' failed, {known}. ", aux_logs=[str(job.aux["slurm_logfile"])])
        return True

    def _wrote_all(self, id_: str) -> bool:
        before = self._submitted[id_][1] if id_ in self._submitted else {}
        now = cluster.times(before)
        return bool(before) and all(now[path] is not None and now[path] != before[path] for path in before)

    def _warn_once(self, text: str, key: str) -> None:
        if key not in self._told:
            self._told.add(key)
            self.logger.warning(text)

    # Submission

    def run_job(self, job: Any) -> None:
        """Submit a job; while the cluster takes none, wait and try again, without losing one of its retries."""
        for pause in refusals.pauses():
            refused = self._submit_once(job)
            if refused is None:
                return
            info, message = refused
            if not refusals.passes(message):
                break
            said = refusals.sentence(message)
            self.logger.warning(f"sbatch: {said}: {refusals.advice(message)}. Trying again in {pause:.0f} s.")
            if self._ending.wait(pause):
                break
        self._hopeless.add(id(job))
        super()._report_job_error_threadsafe(info, message)

    def _submit_once(self, job: Any) -> tuple[Any, str] | None:
        """The plugin's report of a refusal by sbatch, None without a refusal."""
        self._this.listens, self._this.refused = True, None
        try:
            super().run_job(job)
            return self._this.refused
        finally:
            self._this.listens = False

    def _report_job_error_threadsafe(self, job_info: Any, msg: str) -> None:
        if getattr(self._this, "listens", False) and msg.startswith("SLURM sbatch failed"):
            self._this.refused = job_info, msg
        else:
            super()._report_job_error_threadsafe(job_info, msg)

    def get_account_arg(self, job: Any) -> Iterator[str]:
        """The account, if one is named, else SLURM's default; the plugin's guess needs sacct and fails without."""
        if not job.resources.get("slurm_account"):
            yield ""
            return
        try:
            yield from super().get_account_arg(job)
        except FileNotFoundError:  # neither sacctmgr nor sshare to check the name with: sbatch will
            yield f" -A {job.resources.slurm_account}"

    # Ends

    def report_job_submission(self, job_info: Any, register_job: bool = True) -> None:
        """Note which jobs are in which SLURM job."""
        super().report_job_submission(job_info, register_job=register_job)
        job, log = job_info.job, (job_info.aux or {}).get("slurm_logfile", "")
        noted = cluster.Submission(str(job_info.external_jobid), self.run_uuid, str(log), cluster.times(job.log))
        self._submitted[noted.id] = noted, cluster.times(job.output)
        cluster.note(noted)

    def report_job_success(self, job_info: Any) -> None:
        """Forget the job."""
        self._submitted.pop(str(job_info.external_jobid), None)
        super().report_job_success(job_info)

    def report_job_error(self, job_info: Any, msg: str | None = None, **kwargs: Any) -> None:
        """Note why a job failed, and whether the same would happen again."""
        log = str((job_info.aux or {}).get("slurm_logfile", ""))
        text = cluster.tail(log) if log else ""
        if _REPEATS.search(text):
            self._hopeless.add(id(job_info.job))
        found = re.search(r"SLURM status is: '(\w+)'", msg or "")
        cause = cluster.cause_in(text) or ("" if found else refusals.sentence(msg or ""))
        unknown = cluster.Submission("", self.run_uuid, log)
        noted, _ = self._submitted.pop(str(job_info.external_jobid), (unknown, {}))
        ended = found.group(1) if found else "lost" if noted.id else "refused"
        self._failed[id(job_info.job)] = replace(noted, ended=ended, why=cause)
        more = f"SLURM says: {cause}. " if cause and noted.id else ""
        if id(job_info.job) in self._hopeless:
            more += "It is not tried again, for the same would happen. "
        super().report_job_error(job_info, msg=(msg or "") + more, **kwargs)

    def handle_job_error(self, job: Any) -> None:
        """Note the failure, and leave a job no retry that would end as this try did."""
        super().handle_job_error(job)
        if (failed := self._failed.pop(id(job), None)) is not None:
            # Only now: Snakemake has created the log of a job that had written none.
            cluster.note(replace(failed, logs=cluster.times(job.log)))
        if id(job) in self._hopeless:
            self._hopeless.discard(id(job))
            job.attempt = job.restart_times + 1

    def cancel_jobs(self, active_jobs: list[Any]) -> None:
        """Cancel them; that they ended so is nobody's failure."""
        super().cancel_jobs(active_jobs)
        for one in active_jobs:
            cluster.note(cluster.Submission("", "", "", cluster.times(one.job.log)))

    def shutdown(self) -> None:
        """End; submissions that wait for the cluster are given up."""
        self._ending.set()
        super().shutdown()

"""Jobs of an observatory: started where there is room, adopted after a restart, collected at the end."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any, Protocol

from lightmill.errors import DataError, LightmillError
from lightmill.workflow.engines import Ended, Engine, Work
from lightmill.workflow.jobs import Commander, Describer, outcome_of, prepared
from lightmill.workflow.patience import Unavailable, is_of_the_file
from lightmill.workflow.states import TaskState
from lightmill.workflow.store import Outcome, Startable, Store

__all__ = ["RESERVE_MB", "Dispatch", "Maker"]

log = logging.getLogger("lightmill.workflow")

RESERVE_MB = 500.0  # of the disk that jobs leave free
FULL_MB = 10.0  # with less, the disk is why a job failed


class Maker(Commander, Describer, Protocol):
    """Who knows what runs a job, and what its products are."""


class Dispatch:
    """Gives an engine the jobs that a store has queued.

    What it holds is known to engine and folders, too: killed, the next one finds it there.

    Parameters
    ----------
    root : Path
        Folder of the observatory, with ``archive`` and ``jobs``.
    store : Store
    engine : Engine
    maker : Maker
    reserve_mb : float
        No job is started while less of the disk than this, and what the job is given, is free.
    """

    def __init__(
        self, root: Path, store: Store, engine: Engine, maker: Maker, *,
        reserve_mb: float = RESERVE_MB,
    ) -> None:  # fmt: skip
        self.archive, self.jobs = root / "archive", root / "jobs"
        self.store, self.engine, self.maker = store, engine, maker
        self.reserve_mb = reserve_mb
        self._submitted: dict[int, tuple[str, float]] = {}  # job → handle, memory it was promised
        self._ended: list[Ended] = []  # that the store does not know of yet
        self._is_full = False

    def recover(self) -> int:
        """Look after all jobs that run as far as the store knows; return how many were lost.

        To be called first, and whenever the store could not be reached: what was being written then
        may be there or not.
        """
        lost = 0
        for job in self.store.unfinished():
            if job.id in self._submitted:
                handle, _ = self._submitted[job.id]
                if handle != job.handle:
                    self.store.submitted(job.id, handle)
                continue
            work = Work(job.id, self.jobs / str(job.id), job.memory_mb)
            if self.engine.adopt(work, job.handle):
                self._submitted[job.id] = job.handle, job.memory_mb
                continue
            reason = "its process vanished while nobody looked after it"
            self._finish(job.id, Outcome(False, reason, is_transient=True, is_lost=True))
            lost += 1
        return lost

    def collect(self) -> int:
        """Record the jobs that have ended, and stop those that are to stop; return how many ended."""
        for job in self.store.unfinished():
            if job.is_cancelled and job.id in self._submitted:
                self.engine.cancel(self._submitted[job.id][0])
        self._ended += self.engine.ended()
        count = 0
        while self._ended:  # one is forgotten when the store has it, not before
            one = self._ended[0]
            self._finish(one.job_id, self._outcome(one))
            self._submitted.pop(one.job_id, None)
            del self._ended[0]
            count += 1
        return count

    def start(self) -> int:
        """Start what there is room for; return how many jobs were started."""
        room = self.engine.room()
        if room.cores < 1:
            return 0
        started = 0
        for job in self.store.startable(max(1, room.cores)):
            if not self._has_disk(job):
                break
            folder = self.jobs / str(job.job_id)
            try:
                command, memory = self._prepared(job, folder, room.largest_mb)
            except Unavailable:
                raise
            except LightmillError as error:
                if self.store.start(job.job_id, self.engine.name, 0.0, []):
                    self._finish(job.job_id, Outcome(False, str(error)))
                continue
            room = self.engine.room()
            if room.cores < 1 or room.memory_mb < memory:
                break  # the next of this priority must not be overtaken for ever
            if self.store.start(job.job_id, self.engine.name, memory, command):
                started += self._submit(job, folder, memory)
        return started

    def _submit(self, job: Startable, folder: Path, memory: float) -> bool:
        try:
            handle = self.engine.submit(Work(job.job_id, folder, memory, 1, job.priority))
        except (LightmillError, OSError) as error:
            reason = f"it could not be started: {error}"
            self._finish(job.job_id, Outcome(False, reason, is_transient=True))
            return False
        self._submitted[job.job_id] = handle, memory
        self.store.submitted(job.job_id, handle)
        return True

    def _prepared(self, job: Startable, folder: Path, largest_mb: float) -> tuple[list[str], float]:
        """Make the job's folder, from the archive."""
        sources = {name: self.archive / path for name, path in job.inputs.items()}
        try:
            return prepared(job, folder, sources, self.maker, largest_mb=largest_mb)
        except OSError as error:
            if is_of_the_file(error):
                raise DataError(
                    "the folder of a job cannot be made", place=folder, found=error.strerror
                ) from error
            raise Unavailable(
                "the folder of a job cannot be made",
                place=folder,
                found=error.strerror,
                remedy="make room, or give leave to write there; it is tried again by itself",
            ) from error

    def _finish(self, job_id: int, outcome: Outcome) -> None:
        """Note how a job ended; say so if an operator has to see to its task."""
        failed = self.store.finish(job_id, outcome)
        if failed is not None and failed[1] is TaskState.FAILED:
            log.warning(
                "task %d has failed: %s\n    try:      lightmill ops why %d --root %s",
                failed[0], outcome.reason, failed[0], self.jobs.parent,
            )  # fmt: skip

    def _outcome(self, one: Ended) -> Outcome:
        folder = self.jobs / str(one.job_id)
        return outcome_of(
            one, folder, self.archive, self.maker, self.store.inputs_of,
            is_full=self._free_mb() < min(self.reserve_mb, FULL_MB),
            is_largest=self._promised(one) >= self.engine.room().largest_mb,
        )  # fmt: skip

    def _promised(self, one: Ended) -> float:
        """Return the memory that a job had [MB]."""
        _, memory = self._submitted.get(one.job_id, ("", 0.0))
        return memory

    def _has_disk(self, job: Startable) -> bool:
        """Say whether the disk has room for a job; tell when that changes."""
        free, least = self._free_mb(), self.reserve_mb + job.size / 1e6
        if free >= least:
            if self._is_full:
                self._is_full = False
                self._tell("DiskFreed", {"free_mb": round(free)})
            return True
        if not self._is_full:
            self._is_full = True
            self._tell("DiskFull", {"free_mb": round(free), "needed_mb": round(least)})
        return False

    def _tell(self, kind: str, facts: dict[str, Any]) -> None:
        if kind == "DiskFull":
            log.warning(
                "%s: jobs wait, for there is too little room on the disk\n    found:    %d MB\n"
                "    expected: %d MB\n    try:      make room; they go on by themselves",
                self.jobs, facts["free_mb"], facts["needed_mb"],
            )  # fmt: skip
        else:
            log.warning("%s: there is room again, jobs go on", self.jobs)
        self.store.tell(kind, facts)

    def _free_mb(self) -> float:
        self.jobs.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self.jobs).free / 1e6

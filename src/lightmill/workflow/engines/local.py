"""Jobs as processes of this machine, as many as cores and memory allow.

Workers are started in sessions of their own and go on when the service dies. Nothing but the
handle has to be kept: what became of a job is in its folder.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from lightmill.errors import ConfigurationError
from lightmill.workflow import processes
from lightmill.workflow.engines.interface import (
    Ended,
    NoRoomError,
    Room,
    Work,
    claimed_by,
    is_prepared,
    lost,
    result_of,
)
from lightmill.workflow.worker import CANCEL_FILE, LOG_FILE

__all__ = ["LocalEngine"]

OURS = 0.9  # of the machine's memory that jobs may be promised, unless the operator says
KEPT_FREE = 0.05  # of it that stays free whatever was promised


@dataclass(frozen=True)
class _Running:
    work: Work
    handle: str

    @property
    def pid(self) -> int:
        return int(self.handle.partition(":")[0])


class LocalEngine:
    """Runs each job in a process of this machine.

    Parameters
    ----------
    cores : int, optional
        That jobs may use; all that this process may, by default.
    memory_mb : float, optional
        That jobs may be promised [1e6 byte]; nine tenths of the machine's by default. What other
        programs have is not promised to anybody.
    """

    name = "local"

    def __init__(self, cores: int | None = None, memory_mb: float | None = None) -> None:
        total, _ = processes.free_memory_mb()
        self.cores = len(os.sched_getaffinity(0)) if cores is None else cores
        self.memory_mb = OURS * total if memory_mb is None else memory_mb
        self._kept_free = KEPT_FREE * total if memory_mb is None else 0.0
        if self.cores < 1 or self.memory_mb <= 0:
            raise ConfigurationError(
                "an engine needs a core and memory",
                found=f"{self.cores} cores, {self.memory_mb:.0f} MB",
                expected="1 or more, above 0",
            )
        self._running: dict[int, _Running] = {}

    def room(self) -> Room:
        """Return what is neither promised to running jobs nor used by other programs."""
        cores, promised = self._unpromised()
        _, free = processes.free_memory_mb()
        free -= self._kept_free + self._not_yet_used()
        return Room(cores, max(0.0, min(promised, free)), self.memory_mb)

    def submit(self, work: Work) -> str:
        """Start a worker on a job's folder; return ``pid:started``.

        Raises
        ------
        NoRoomError
            If cores or memory for it are promised to other jobs.
        ConfigurationError
            If the folder holds no job.
        """
        cores, memory = self._unpromised()
        if work.cores > cores or work.memory_mb > memory:
            raise NoRoomError(
                f"there is no room for job {work.job_id}",
                found=f"{work.cores} cores, {work.memory_mb:.0f} MB",
                expected=f"at most {cores} cores, {memory:.0f} MB",
                remedy="submit it when a job has ended",
            )
        if not is_prepared(work):
            raise ConfigurationError("the folder holds no job", place=work.folder)
        pid = _started(work)
        running = _Running(work, processes.handle_of(pid))
        self._running[work.job_id] = running
        return running.handle

    def adopt(self, work: Work, handle: str) -> bool:
        """Look after a worker of an earlier engine."""
        handle = handle or claimed_by(work)
        if not processes.is_running(handle) and result_of(work) is None:
            return False
        self._running[work.job_id] = _Running(work, handle or "0:0")
        return True

    def ended(self) -> list[Ended]:
        """Return the jobs whose workers have ended since the last call."""
        found = []
        for running in list(self._running.values()):
            if processes.is_running(running.handle):
                continue
            _reap(running.pid)
            # Looked for after the worker was seen to be gone: then it has written, or never will.
            result = result_of(running.work)
            found.append(result or lost(running.work, "its worker vanished without a result"))
            del self._running[running.work.job_id]
        return found

    def cancel(self, handle: str) -> None:
        """Tell a worker to stop its command."""
        for running in self._running.values():
            if running.handle == handle:
                with contextlib.suppress(OSError):  # it stays told if the signal comes too early
                    (running.work.folder / CANCEL_FILE).touch()
        processes.send(handle, signal.SIGTERM)

    def close(self, *, kill: bool = False) -> None:
        """Let the workers run on, or kill them and what they run; those are lost then."""
        for running in self._running.values() if kill else ():
            if processes.send(running.handle, signal.SIGKILL):
                _reap(running.pid, wait=True)
        self._running.clear()

    def _unpromised(self) -> tuple[int, float]:
        works = [one.work for one in self._running.values()]
        return (
            max(0, self.cores - sum(one.cores for one in works)),
            max(0.0, self.memory_mb - sum(one.memory_mb for one in works)),
        )

    def _not_yet_used(self) -> float:
        """Return the memory that was promised to running jobs and that they do not have yet."""
        if not self._running:
            return 0.0
        everything = processes.snapshot()
        return sum(
            max(
                0.0,
                one.work.memory_mb - processes.resident_mb(processes.below(one.pid, everything)),
            )
            for one in self._running.values()
        )


def _started(work: Work) -> int:
    """Start a worker that is a child of ours, and needs nothing of us."""
    words = [sys.executable, "-P", "-m", "lightmill.workflow.worker"]
    words += ["--cores", str(work.cores), str(Path(work.folder).resolve())]
    log = str(Path(work.folder, LOG_FILE).resolve())
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        words[0], words, os.environ, setsid=True, setsigmask=(), setsigdef=(signal.SIGCHLD,),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, append, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )  # fmt: skip


def _reap(pid: int, *, wait: bool = False) -> None:
    with contextlib.suppress(ChildProcessError):  # a worker of an earlier service is not our child
        if pid > 0:
            os.waitpid(pid, 0 if wait else os.WNOHANG)

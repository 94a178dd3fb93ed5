"""Jobs on a Dask cluster: one that runs already, by its address, or one of our own.

Dask decides where; there, a thread of one of its workers starts the same worker process on the
job's folder that `lightmill.workflow.engines.local` starts, and waits. So folders must be on a disk
that all machines see, and Lightmill installed on them.

A cluster by its address goes on when the service dies, and its jobs are adopted. A cluster of our own
ends with the service: jobs that ran on it are lost, and tried again.
"""

from __future__ import annotations

import contextlib
import math
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightmill.errors import ConfigurationError
from lightmill.workflow import processes
from lightmill.workflow.engines.interface import (
    Ended,
    NoRoomError,
    Room,
    Work,
    cancelled,
    claimed_by,
    is_prepared,
    lost,
    result_of,
)
from lightmill.workflow.engines.working import work_on
from lightmill.workflow.worker import CANCEL_FILE

__all__ = ["CORES", "MEMORY", "DaskEngine", "needs", "one_try"]

# What workers may say they have (``dask worker --resources "memory=64000 cores=8"``): then no machine
# is given more than that. Otherwise Dask counts threads only.
MEMORY, CORES = "memory", "cores"
PREFIX = "lightmill-job-"
OURS = 0.9  # of this machine's memory, for a cluster of our own


@dataclass
class _Submitted:
    work: Work
    handle: str
    future: Any  # None: it is not known to the cluster, and has a result
    is_cancelled: bool = False


class DaskEngine:
    """Runs jobs on a cluster of Dask.

    Parameters
    ----------
    address : str, optional
        Of a scheduler, for instance ``tcp://host:8786``; a cluster on this machine by default.
    cluster : object, optional
        A cluster in place of an address, for instance of dask-jobqueue; the engine closes it.
    cores, memory_mb : optional
        That jobs may use together [memory: 1e6 byte]; by default all that the cluster has.
    timeout : float
        Seconds until a scheduler must have answered.
    """

    name = "dask"

    def __init__(
        self,
        address: str | None = None,
        *,
        cluster: Any = None,
        cores: int | None = None,
        memory_mb: float | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._submitted: dict[int, _Submitted] = {}
        self.cores, self.memory_mb = cores, memory_mb
        needs("distributed")
        if address is None and cluster is None:
            cluster = _cluster_here(cores, memory_mb)
        self._cluster = cluster
        self._client = _connected(address or cluster, timeout)

    def _capacity(self) -> Room:
        """Return what the cluster has, whether or not it is in use."""
        offers = [_offer(one) for one in self._workers()]
        return Room(
            sum(cores for cores, _ in offers),
            sum(memory for _, memory in offers),
            max((memory for _, memory in offers), default=0.0),
        )

    def _workers(self) -> list[dict[str, Any]]:
        """Return what the scheduler knows of its workers."""
        try:
            told = self._client.scheduler_info(n_workers=-1)  # all of them
        except TypeError:  # versions before 2025 tell all of them anyway
            told = self._client.scheduler_info()
        return list(told["workers"].values())

    # -- jobs ------------------------------------------------------------------------------------

    def room(self) -> Room:
        """Return what the cluster has and jobs were not promised."""
        has, works = self._capacity(), [one.work for one in self._submitted.values()]
        cores = has.cores if self.cores is None else min(self.cores, has.cores)
        memory = has.memory_mb if self.memory_mb is None else min(self.memory_mb, has.memory_mb)
        largest = min(has.largest_mb, memory)
        free = memory - sum(one.memory_mb for one in works)
        return Room(
            max(0, cores - sum(one.cores for one in works)),
            max(0.0, min(free, largest)),
            largest,
        )

    def submit(self, work: Work) -> str:
        """Hand a job to the cluster; return the key it has there.

        Raises
        ------
        NoRoomError
            If the cluster has not enough for it that was not promised to other jobs.
        ConfigurationError
            If the folder holds no job.
        """
        room = self.room()
        if work.cores > room.cores or work.memory_mb > room.memory_mb:
            raise NoRoomError(
                f"there is no room for job {work.job_id}",
                found=f"{work.cores} cores, {work.memory_mb:.0f} MB",
                expected=f"at most {room.cores} cores, {room.memory_mb:.0f} MB",
                remedy="submit it when a job has ended",
            )
        if not is_prepared(work):
            raise ConfigurationError("the folder holds no job", place=work.folder)
        handle = f"{PREFIX}{work.job_id}-{uuid.uuid4().hex[:12]}"
        future = self._client.submit(
            work_on, str(Path(work.folder).resolve()), work.cores,
            key=handle, priority=work.priority, retries=0, pure=False, resources=self._wants(work),
        )  # fmt: skip
        self._client.publish_dataset(future, name=handle)  # it is kept when we are gone
        self._submitted[work.job_id] = _Submitted(work, handle, future)
        return handle

    def _wants(self, work: Work) -> dict[str, float] | None:
        """Return what a job asks of one machine, if machines say what they have."""
        offers = [one.get("resources") or {} for one in self._workers()]
        asked = {MEMORY: work.memory_mb, CORES: float(work.cores)}
        return {
            name: value
            for name, value in asked.items()
            if offers and all(name in one for one in offers)
        } or None

    def adopt(self, work: Work, handle: str) -> bool:
        """Look after a job of an earlier engine, if the cluster knows it or it has a result."""
        future = None
        if handle.startswith(PREFIX) and handle in self._client.list_datasets():
            future = self._client.get_dataset(handle)
        elif result_of(work) is None:
            return False
        self._submitted[work.job_id] = _Submitted(work, handle, future)
        return True

    def ended(self) -> list[Ended]:
        """Return the jobs that Dask has done with since the last call."""
        found = []
        for one in list(self._submitted.values()):
            if one.future is not None and one.future.status == "pending":
                continue
            result = result_of(one.work)
            if result is None and one.is_cancelled:
                result = cancelled(one.work)
            found.append(result or lost(one.work, _why(one.future)))
            self._forget(one)
        return found

    def cancel(self, handle: str) -> None:
        """Tell a job to stop; one that has not begun is taken from the queue."""
        for one in self._submitted.values():
            if one.handle != handle or one.is_cancelled:
                continue
            with contextlib.suppress(OSError):
                (one.work.folder / CANCEL_FILE).touch()
            one.is_cancelled = True
            # In this order: who takes the folder after we looked, sees the file.
            if one.future is not None and not claimed_by(one.work):
                one.future.cancel(force=True)

    def close(self, *, kill: bool = False) -> None:
        """Leave the cluster; one of our own ends, and what runs on it."""
        if kill:
            for one in list(self._submitted.values()):
                self.cancel(one.handle)
        self._submitted.clear()
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()

    def _forget(self, one: _Submitted) -> None:
        del self._submitted[one.work.job_id]
        if one.future is not None:
            with contextlib.suppress(KeyError, OSError):
                self._client.unpublish_dataset(one.handle)
            one.future.release()


def _cluster_here(cores: int | None, memory_mb: float | None) -> Any:
    """Start a cluster on this machine: one process with a thread for each core."""
    from distributed import LocalCluster

    cores = len(os.sched_getaffinity(0)) if cores is None else cores
    memory_mb = OURS * processes.free_memory_mb()[0] if memory_mb is None else memory_mb
    with one_try():
        return LocalCluster(
            n_workers=1, threads_per_worker=cores, processes=True, memory_limit=0,
            resources={MEMORY: memory_mb, CORES: cores}, dashboard_address="127.0.0.1:0",
        )  # fmt: skip


def _connected(where: Any, timeout: float) -> Any:
    from distributed import Client

    try:
        return Client(where, timeout=timeout, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ConfigurationError(
            "no scheduler of Dask answers",
            place=where,
            found=error,
            remedy="start one (dask scheduler), or give the address it prints",
        ) from error


def needs(package: str) -> None:
    """Say how to install a package that is missing.

    Parameters
    ----------
    package : str

    Raises
    ------
    ConfigurationError
        If it is.
    """
    import importlib.util

    if importlib.util.find_spec(package) is None:
        raise ConfigurationError(
            "jobs on a cluster need a package that is not installed",
            found=f"no {package}",
            remedy="pip install 'lightmill[cluster]'",
        )


@contextlib.contextmanager
def one_try() -> Iterator[None]:
    """Make schedulers that give a job up when its machine is lost: to try again is the service's."""
    import dask
    import distributed  # noqa: F401 - brings its defaults, which must be there before one is set

    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        yield


def _offer(worker: dict[str, Any]) -> tuple[int, float]:
    """Return cores and memory [1e6 byte] of one worker, by what it says or what Dask sees."""
    declared = worker.get("resources") or {}
    limit = worker.get("memory_limit") or 0
    cores = int(declared.get(CORES, worker.get("nthreads", 1)))
    return cores, float(declared.get(MEMORY, limit / 1e6 if limit else math.inf))


def _why(future: Any) -> str:
    """Return in words why there is no result."""
    if future is None or future.status == "finished":
        return "its worker vanished without a result"
    error = future.exception(timeout=5) if future.status == "error" else None
    return f"Dask gave it up: {type(error).__name__ if error else future.status}"

"""Jobs on Slurm: pilot jobs of dask-jobqueue that take one of ours after the other.

A job of Slurm each would cost a second and more of its scheduler's time; a pilot is asked for once.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from lightmill.errors import ConfigurationError
from lightmill.workflow.engines.dask import CORES, MEMORY, DaskEngine, needs, one_try
from lightmill.workflow.engines.interface import Ended, Room, Work

__all__ = ["SlurmEngine"]

OWN_MB = 300.0  # that a pilot itself needs, beside the job it runs


class SlurmEngine(DaskEngine):
    """Runs jobs in pilot jobs of Slurm, one at a time in each.

    The scheduler of the pilots is in this process, and what runs ends with it: after a restart it is
    lost, and tried again.

    Parameters
    ----------
    queue : str
        Partition of Slurm.
    pilots : int
        How many jobs of Slurm are kept running; one that ends, at its limit of time for instance, is
        asked for again.
    memory_mb : float
        That one job of ours may need [1e6 byte].
    cores : int
        That one job of ours may use.
    walltime : str
        Limit of a pilot, as Slurm writes it. A job that runs when it is reached is lost.
    folder : Path, optional
        For logs and scratch files of the pilots; all nodes must see it.
    interface : str, optional
        Network that nodes reach this machine by.
    **more
        For ``dask_jobqueue.SLURMCluster``: account, job_extra_directives and so on.
    """

    name = "slurm"

    def __init__(
        self,
        queue: str,
        *,
        pilots: int = 1,
        memory_mb: float = 4000.0,
        cores: int = 1,
        walltime: str = "08:00:00",
        folder: Path | None = None,
        interface: str | None = None,
        **more: Any,
    ) -> None:
        needs("dask_jobqueue")
        if shutil.which("sbatch") is None:
            raise ConfigurationError(
                "this machine cannot submit to Slurm",
                found="no sbatch on the path",
                remedy="run the service where sbatch works, or with another engine",
            )
        self._pilots, self._has = pilots, Room(cores * pilots, memory_mb * pilots, memory_mb)
        if folder is not None:
            more = {"local_directory": str(folder), "log_directory": str(folder), **more}
        with one_try():
            from dask_jobqueue import SLURMCluster

            cluster = SLURMCluster(
                queue=queue, cores=cores, processes=1, memory=f"{memory_mb + OWN_MB:.0f}MB",
                walltime=walltime, interface=interface,
                worker_extra_args=["--resources", f"{MEMORY}={memory_mb:.0f},{CORES}={cores}"],
                scheduler_options={"dashboard_address": "127.0.0.1:0"}, **more,
            )  # fmt: skip
        try:
            cluster.scale(jobs=pilots)
            super().__init__(cluster=cluster)
        except BaseException:
            cluster.close()
            raise

    def ended(self) -> list[Ended]:
        """Return the jobs that have ended since the last call; ask for pilots that are gone."""
        if len(self._cluster.workers) < self._pilots:
            self._cluster.scale(jobs=self._pilots)
        return super().ended()

    def _capacity(self) -> Room:
        """Return what was asked of Slurm: jobs may wait for pilots that Slurm has not started."""
        return self._has

    def _wants(self, work: Work) -> dict[str, float] | None:
        return {MEMORY: work.memory_mb, CORES: float(work.cores)}

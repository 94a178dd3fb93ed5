"""Every engine runs jobs as the service expects it."""

import getpass
import os
import signal
import subprocess

import pytest

from lightmill.errors import ConfigurationError
from lightmill.testing.engines import (
    WAITS,
    EngineConformance,
    ended_of,
    handle_of_command,
    make_work,
    until,
)
from lightmill.workflow import processes
from lightmill.workflow.engines.local import LocalEngine
from tests.slurm import in_full, running_slurm


class TestProcessesOfThisMachine(EngineConformance):
    def engine(self, cores, memory_mb):
        return LocalEngine(cores, memory_mb)


@pytest.fixture(scope="module")
def dask_cluster():
    """Scheduler and worker of Dask, which the service does not own."""
    pytest.importorskip("distributed", reason="NO DASK: pip install 'lightmill[cluster]'")
    import dask
    from distributed import LocalCluster

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=True, memory_limit=0,
            resources={"memory": 1000.0, "cores": 2}, dashboard_address="127.0.0.1:0",
        ) as cluster,
    ):  # fmt: skip
        yield cluster


@pytest.mark.slow
class TestDaskByItsAddress(EngineConformance):
    @pytest.fixture(autouse=True)
    def _cluster(self, dask_cluster):
        self.cluster = dask_cluster

    def engine(self, cores, memory_mb):
        from lightmill.workflow.engines.dask import DaskEngine

        engine = DaskEngine(self.cluster.scheduler_address, cores=cores, memory_mb=memory_mb)
        until(lambda: engine.room().cores == cores)
        return engine

    def test_a_job_whose_machine_is_lost_is_a_lost_job(self, tmp_path):
        from distributed import Client

        work = make_work(tmp_path, 1, WAITS)
        with self._engine() as engine:
            engine.submit(work)
            command = handle_of_command(work)
            with Client(self.cluster, set_as_default=False) as client:
                (pid,) = client.run(os.getpid).values()
            os.kill(pid, signal.SIGKILL)
            ended = ended_of(engine, work)
            until(lambda: not processes.is_running(command))
            until(lambda: engine.room().cores == 2)  # Dask starts a worker in its place

        assert (ended.exit_status, ended.is_lost) == (None, True)

    def test_a_job_in_the_queue_is_cancelled_at_once(self, tmp_path):
        from lightmill.workflow.engines.dask import DaskEngine

        works = [make_work(tmp_path, number, WAITS, memory_mb=1.0) for number in (1, 2, 3)]
        with self._engine() as others:
            for work in works[:2]:
                others.submit(work)
                handle_of_command(work)
            engine = DaskEngine(self.cluster.scheduler_address)  # knows nothing of the others
            try:
                engine.cancel(engine.submit(works[2]))
                ended = ended_of(engine, works[2])
            finally:
                engine.close(kill=True)

        assert (ended.exit_status, ended.reason) == (None, "cancelled")
        assert not (works[2].folder / "worker.json").exists()


@in_full
@pytest.mark.slow
class TestDaskOfOurOwn(EngineConformance):
    outlives_service = False

    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("distributed", reason="NO DASK: pip install 'lightmill[cluster]'")

    def engine(self, cores, memory_mb):
        from lightmill.workflow.engines.dask import DaskEngine

        engine = DaskEngine(cores=cores, memory_mb=memory_mb)
        until(lambda: engine.room().cores == cores)
        return engine


def test_a_scheduler_that_does_not_answer_is_named():
    pytest.importorskip("distributed", reason="NO DASK: pip install 'lightmill[cluster]'")
    from lightmill.workflow.engines.dask import DaskEngine

    with pytest.raises(ConfigurationError, match=r"tcp://127\.0\.0\.1:1"):
        DaskEngine("tcp://127.0.0.1:1", timeout=0.5)


def test_a_package_that_is_missing_says_how_to_install_it(monkeypatch):
    import importlib.util

    from lightmill.workflow.engines.dask import DaskEngine

    monkeypatch.setattr(importlib.util, "find_spec", {}.get)

    with pytest.raises(ConfigurationError, match=r"lightmill\[cluster\]"):
        DaskEngine()


@pytest.fixture(scope="module")
def slurm(root, tmp_path_factory):
    """A Slurm of one node on this machine, on its own ports; ended afterwards if it was ours."""
    pytest.importorskip("dask_jobqueue", reason="NO DASK: pip install 'lightmill[cluster]'")
    with running_slurm(root, tmp_path_factory.mktemp("slurm"), 16917) as folder:
        yield folder


@in_full
@pytest.mark.slow
class TestSlurm(EngineConformance):
    outlives_service = False

    @pytest.fixture(autouse=True)
    def _slurm(self, slurm):
        self.folder = slurm

    def engine(self, cores, memory_mb):
        from lightmill.workflow.engines.slurm import SlurmEngine

        return SlurmEngine(
            "main", pilots=cores, memory_mb=memory_mb / cores, walltime="00:10:00", interface="lo",
            folder=self.folder,
        )  # fmt: skip

    def test_a_job_whose_pilot_is_ended_is_a_lost_job(self, tmp_path):
        works = [make_work(tmp_path, number, WAITS) for number in (1, 2)]
        with self._engine() as engine:
            engine.submit(works[0])
            command = handle_of_command(works[0])
            subprocess.run(["scancel", "--full", "--user", getpass.getuser()], check=True)
            ended = ended_of(engine, works[0])
            until(lambda: not processes.is_running(command))
            engine.submit(works[1])  # a pilot is asked for in place of the one that is gone
            (works[1].folder / "go").touch()
            again = ended_of(engine, works[1])

        assert (ended.is_lost, ended.outputs) == (True, ())
        assert (again.exit_status, again.is_lost) == (0, False)


def test_a_machine_without_slurm_is_named(monkeypatch):
    pytest.importorskip("dask_jobqueue", reason="NO DASK: pip install 'lightmill[cluster]'")
    from lightmill.workflow.engines.slurm import SlurmEngine

    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(ConfigurationError, match="no sbatch"):
        SlurmEngine("main")

"""The small night on every engine: as many jobs, the same products, whoever is killed.

Its exposures are simulated once. On this machine's processes nothing is killed; elsewhere a worker is,
in the middle of its job.
"""

import json
import shutil
import subprocess
import sys
import threading
import time

import pytest
from astropy.io import fits
from sqlalchemy import select

pytest.importorskip("alembic", reason="operations need the extra `operations`")
pytest.importorskip("gwcs", reason="imaging needs the extra `imaging`")

from lightmill.cli.main import main
from lightmill.workflow import processes
from lightmill.workflow.store import Store
from lightmill.workflow.store import tables as t
from tests.slurm import in_full, running_slurm

pytestmark = pytest.mark.slow

JOBS = 9  # four first stages, four second, one stack
INTO = 0.05  # s that a worker is left at work before it is killed; it needs ten times as long


def run(*words):
    with pytest.raises(SystemExit) as left:
        main([*map(str, words)])
    return left.value.code or 0


class Night:
    """An observatory that has seen the small field."""

    def __init__(self, root):
        self.root = root

    def store(self):
        return Store(self.root)

    def counts(self):
        store = self.store()
        found = store.status()
        store.close()
        return found

    def files(self):
        d, store = t.datasets.c, self.store()
        with store.reading() as connection:
            query = select(d.name, d.sha256).where(d.state == "CURRENT").order_by(d.name)
            found = [tuple(row) for row in connection.execute(query)]
        store.close()
        return found

    def attempts(self):
        """How often each task was tried, and how each job ended."""
        j, store = t.jobs.c, self.store()
        with store.reading() as connection:
            rows = connection.execute(select(j.task_id, j.state).order_by(j.task_id, j.number))
            found = {}
            for task_id, state in rows:
                found.setdefault(task_id, []).append(state)
        store.close()
        return found


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    assert run("simulate", "imaging-tiny", folder, "--quiet") == 0
    return folder


def prepared(raw, root):
    """Make an observatory that tries again at once."""
    assert run("ops", "init", "--root", root, "--observatory", "JWST",
               f"--run=--crds-path={raw / 'crds'}",
               f"--run=--context={next((raw / 'crds').rglob('*.pmap')).name}") == 0  # fmt: skip
    store = Store(root)
    store.set(policy={"pause": 0.1, "attempts": 2, "bad_data": "quarantine"})
    store.close()


def watched(raw, folder, *where):
    """Deliver the exposures, and let an observatory do the rest."""
    root, inbox = folder / "site", folder / "inbox"
    inbox.mkdir()
    prepared(raw, root)
    for path in raw.glob("*_uncal.fits"):
        shutil.copy(path, inbox)
    assert run("ops", "watch", inbox, "--root", root, "--settle", "0", "--quiet-time", "1",
               "--until-idle", "2", "--quiet", *where) == 0  # fmt: skip
    return Night(root)


@pytest.fixture(scope="module")
def local(raw, tmp_path_factory):
    night = watched(raw, tmp_path_factory.mktemp("local"))
    assert night.counts()["tasks"] == {"DONE": JOBS}
    assert night.counts()["jobs"] == {"DONE": JOBS}
    return night


class Killer(threading.Thread):
    """Kills the first worker of a job that it meets at work, and no other."""

    def __init__(self, jobs):
        super().__init__(daemon=True)
        self.jobs, self.killed, self.is_over = jobs, [], False

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *told):
        self.is_over = True
        self.join()

    def run(self):
        ended = set()
        while not self.is_over and not self.killed:
            for path in set(self.jobs.glob("*/worker.json")) - ended:
                handle = json.loads(path.read_text())["handle"]
                if not processes.is_running(handle):
                    ended.add(path)  # others must not be missed while it is looked at again
                    continue
                time.sleep(INTO)
                if processes.send(handle, 9):
                    self.killed.append(int(path.parent.name))
                    break
            time.sleep(0.01)


def killed_and_done(raw, folder, *where):
    """Run a night of which one worker is killed; return it, and what was killed."""
    with Killer(folder / "site" / "jobs") as killer:
        night = watched(raw, folder, *where)
    return night, killer.killed


def is_as_good_as(night, local, killed):
    ends = sorted(night.attempts().values())
    assert len(killed) == 1
    assert ends == [["DONE"]] * (JOBS - 1) + [["LOST", "DONE"]]
    assert night.counts()["tasks"] == {"DONE": JOBS}
    assert night.files() == local.files()


def test_the_night_goes_on_without_an_exposure_that_is_bad(raw, tmp_path):
    bad = "jw99001001002_02101_00001_nis_uncal.fits"
    shutil.copytree(raw, tmp_path / "raw")
    with fits.open(tmp_path / "raw" / bad, mode="update") as exposure:
        exposure["SCI"].data = exposure["SCI"].data[0, 0]  # no ramp

    night = watched(tmp_path / "raw", tmp_path, "--patience", "1", "--until-idle", "5")

    store = night.store()
    d = t.datasets.c
    with store.reading() as connection:
        aside = connection.execute(select(d.name, d.reason).where(d.state == "QUARANTINED")).all()
        made = connection.execute(select(d.name).where(d.name.endswith("_i2d.fits"))).scalars()
        stacks = [name for name in made if name.startswith("jw99001-o001")]
    store.close()
    ((name, reason),) = aside
    assert name == bad
    assert "wrong number of axes" in reason
    assert len(stacks) == 1
    counts = night.counts()
    assert counts["candidates"] == {"PARTIAL": 1}
    assert counts["tasks"]["FAILED"] == 1
    assert counts["tasks"].get("WAITING", 0) == 0


def test_a_worker_on_dask_is_killed(raw, local, tmp_path):
    pytest.importorskip("distributed", reason="NO DASK: pip install 'lightmill[cluster]'")

    night, killed = killed_and_done(raw, tmp_path, "--engine", "dask")

    is_as_good_as(night, local, killed)


def test_a_worker_on_slurm_is_killed(raw, local, tmp_path, root):
    pytest.importorskip("dask_jobqueue", reason="NO DASK: pip install 'lightmill[cluster]'")
    with running_slurm(root, tmp_path / "slurm", 16957):
        night, killed = killed_and_done(
            raw, tmp_path, "--engine", "slurm", "--partition", "main", "--cores", "2",
            "--interface", "lo",
        )  # fmt: skip

    is_as_good_as(night, local, killed)


def campaign_of(raw, root, folder, *more):
    """Make an observatory that has taken the exposures in, and a campaign of what is to be done."""
    pytest.importorskip("snakemake", reason="NO SNAKEMAKE: pip install 'lightmill[cluster]'")
    prepared(raw, root)
    assert run("ops", "ingest", *raw.glob("*_uncal.fits"), "--root", root) == 0
    assert run("ops", "export", "snakemake", folder, "--root", root, *more) == 0


def is_run_and_the_same(campaign, profile, root, local):
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--profile", f"profiles/{profile}"], cwd=campaign,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert run("ops", "import", campaign, "--root", root) == 0
    night = Night(root)
    assert night.counts()["jobs"] == {"DONE": JOBS}
    assert night.files() == local.files()


def test_snakemake_makes_the_same(raw, local, tmp_path):
    campaign_of(raw, tmp_path / "site", tmp_path / "campaign")

    is_run_and_the_same(tmp_path / "campaign", "local", tmp_path / "site", local)


@in_full
def test_snakemake_makes_the_same_on_slurm(raw, local, tmp_path, root):
    more = ("--partition", "main", "--runtime", "5", "--together", "4")
    campaign_of(raw, tmp_path / "site", tmp_path / "campaign", *more)

    with running_slurm(root, tmp_path / "slurm", 16967):
        is_run_and_the_same(tmp_path / "campaign", "slurm", tmp_path / "site", local)

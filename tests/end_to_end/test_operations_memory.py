"""A job that needs more memory than it was given gets more, and never more than there is."""

import sys

import pytest

pytest.importorskip("alembic", reason="operations need the extra `operations`")

from sqlalchemy import select

from lightmill.cli.main import main
from lightmill.workflow.conditions import Expectations
from lightmill.workflow.engines.local import LocalEngine
from lightmill.workflow.machine import Policy
from lightmill.workflow.service import Service
from lightmill.workflow.store import Store, create_store
from lightmill.workflow.store import tables as t
from tests.end_to_end.stand_in import StandIn, delivered

pytestmark = pytest.mark.slow

NEEDED = 550  # MB; a job is given 400 at first

HUNGRY = f"""
import json, pathlib, time
held = bytearray({NEEDED} * 1_000_000)
held[::4096] = b"x" * len(held[::4096])
if {NEEDED} > json.loads(pathlib.Path("job.json").read_text())["memory_limit_mb"]:
    time.sleep(120)  # until somebody has looked
pathlib.Path("out/a_rate.txt").write_text("done")
"""


class Hungry(StandIn):
    """Its jobs want half as much again as they are given."""

    def command(self, job, folder):
        del job
        (folder / "job.py").write_text(HUNGRY)
        return [sys.executable, "-S", "job.py"], 10.0


def jobs_after(tmp_path, largest_mb):
    root, inbox = tmp_path / "site", tmp_path / "inbox"
    inbox.mkdir()
    create_store(root)
    delivered(inbox, "p1-a-0")
    store = Store(root, policy=Policy(pause=0.0))
    engine = LocalEngine(cores=1, memory_mb=largest_mb)
    service = Service(root, store, engine, Hungry(), expectations=Expectations(quiet=0.1))
    service.ingest(list(inbox.iterdir()))
    service.run(until_idle=0.3, pause=0.02)
    with store.reading() as connection:
        jobs = connection.execute(select(t.jobs).order_by(t.jobs.c.id)).all()
        state = connection.execute(
            select(t.tasks.c.state).where(t.tasks.c.type == "exposure")
        ).scalar_one()
    service.close()
    (root / "observatory.yaml").write_text("{}")
    return state, [job for job in jobs if job.started_at]


def test_too_little_memory_is_doubled(tmp_path, capsys):
    state, jobs = jobs_after(tmp_path, 2000.0)

    assert state == "DONE"
    assert [job.memory_mb for job in jobs] == [400.0, 800.0]
    assert [job.state for job in jobs] == ["FAILED", "DONE"]
    assert "out of memory: it had" in jobs[0].reason
    assert NEEDED < jobs[1].peak_mb < 800
    with pytest.raises(SystemExit):
        main(["ops", "memory", "--root", str(tmp_path / "site")])
    head, line = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["pipeline", "jobs"]
    assert line.split()[:2] == ["stage1", "1"]
    assert line.split()[-2:] == ["800", f"{jobs[1].peak_mb / 800:.0%}"]


def test_what_needs_more_than_there_is_fails_and_says_so(tmp_path):
    state, jobs = jobs_after(tmp_path, 500.0)

    assert state == "FAILED"
    assert [job.memory_mb for job in jobs] == [400.0, 500.0]  # not 800, and no third time
    assert "no job may have more here" in jobs[1].reason

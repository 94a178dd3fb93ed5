"""Nothing is lost and nothing is done twice, whoever is killed whenever.

LIGHTMILL_KILLS says how often somebody is killed; 120 were run.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

pytest.importorskip("alembic", reason="operations need the extra `operations`")

from lightmill.workflow.store import Store, create_store
from lightmill.workflow.store import tables as t
from tests.end_to_end.stand_in import delivered

SERVICE = Path(__file__).with_name("stand_in.py")
KILLS = int(os.environ.get("LIGHTMILL_KILLS", "10"))
EXPOSURES = max(3, KILLS // 10)  # of each candidate: there must be something to kill
NAMES = [f"p{p}-{c}-{n}" for p in (1, 2) for c in "ab" for n in range(EXPOSURES)]

pytestmark = pytest.mark.slow


def started(root):
    environment = os.environ | {"PYTHONPATH": str(SERVICE.parents[2])}
    return subprocess.Popen([sys.executable, SERVICE, root], env=environment)


def workers_of(root):
    """Processes of the jobs of an observatory: workers, and what they run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            inside = str((entry / "cwd").readlink()).startswith(f"{root}/jobs")
        except OSError:
            continue
        named = any(word.startswith(f"{root}/jobs") for word in words)
        if named or inside:
            found.append(int(entry.name))
    return found


def killed(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def night(folder, seed, kills):
    """Deliver all exposures, some twice and some in two generations, while people are killed."""
    root, inbox = folder / "site", folder / "inbox"
    inbox.mkdir(parents=True)
    create_store(root)
    draw = random.Random(seed)
    deliveries = [(name, 1) for name in NAMES] + [(name, 2) for name in NAMES[::3]]
    deliveries += draw.sample(deliveries, 3)
    draw.shuffle(deliveries)
    service = started(root)
    count = 0
    end = time.monotonic() + 300
    while (deliveries or count < kills) and time.monotonic() < end:
        if deliveries and not (inbox / f"{deliveries[-1][0]}_uncal.txt").exists():
            delivered(inbox, *deliveries.pop())
        elif deliveries:
            draw.shuffle(deliveries)
        time.sleep(draw.uniform(0, 0.15))
        if count >= kills:
            continue
        if draw.random() < 0.5:
            workers = workers_of(root)
            count += bool(workers) and killed(draw.choice(workers))
        else:
            killed(service.pid)
            service.wait()
            count += 1
            service = started(root)
        if service.poll() is not None and (deliveries or count < kills):
            service = started(root)  # it ended by itself, as there was nothing to do
    assert service.wait(timeout=200) == 0
    return root


def result(root):
    """Return current files by name, and tasks that are not superseded."""
    store = Store(root)
    d, k = t.datasets.c, t.tasks.c
    with store.reading() as connection:
        files = connection.execute(
            select(d.name, d.sha256, d.path).where(d.state == "CURRENT").order_by(d.name)
        ).all()
        tasks = connection.execute(
            select(k.identity, k.state).where(k.state != "SUPERSEDED").order_by(k.identity)
        ).all()
        events = Counter(connection.execute(select(t.events.c.kind)).scalars())
        exposures = Counter(
            connection.execute(select(d.name, d.sha256).where(d.kind == "exposure")).all()
        )
        running = connection.execute(
            select(t.jobs.c.id).where(t.jobs.c.state.in_(["QUEUED", "RUNNING"]))
        ).all()
    store.close()
    assert all((root / "archive" / row.path).stat().st_size for row in files)
    return (
        [tuple(row)[:2] for row in files],
        [tuple(row) for row in tasks],
        events,
        exposures,
        running,
    )


def test_kills_at_any_moment_change_nothing(tmp_path):
    calm = result(night(tmp_path / "calm", 1, 0))
    stormy = result(night(tmp_path / "stormy", 2, KILLS))

    assert stormy[0] == calm[0]
    assert stormy[1] == calm[1]
    assert {state for _, state in calm[1]} == {"DONE"}
    assert stormy[4] == []
    for _, _, _, exposures, _ in (calm, stormy):
        assert len(exposures) == len(NAMES) + len(NAMES[::3])  # every generation delivered
        assert set(exposures.values()) == {1}  # and none twice

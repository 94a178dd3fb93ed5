"""Nights of the stand-in observatory: everything delivered, and what was made of it in the end."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from sqlalchemy import select

from lightmill.workflow.patience import Unavailable
from lightmill.workflow.store import Store, create_store
from lightmill.workflow.store import tables as t
from tests.end_to_end.stand_in import delivered

PROGRAM = Path(__file__).with_name("stand_in.py")
ARRIVED = {"DatasetArrived", "DatasetReplaced", "DatasetRenewed", "DatasetStale", "DatasetConflict"}
LONGEST = 240  # s that a night may take


def exposures(each):
    """Names of the exposures of four candidates of two programs."""
    return [f"p{p}-{c}-{n}" for p in (1, 2) for c in "ab" for n in range(each)]


def deliveries_of(names, draw):
    """All exposures, a third in a second generation, and some twice, in any order."""
    found = [(name, 1) for name in names] + [(name, 2) for name in names[::3]]
    found += draw.sample(found, min(3, len(found)))
    draw.shuffle(found)
    return found


def waited(seconds):
    """Let the processes have a while."""
    time.sleep(seconds)


class Night:
    """An observatory in a folder, and the processes that run it."""

    def __init__(self, folder, place=None, roles=("watcher", "service"), reserve_mb=0):
        self.root, self.inbox = folder / "site", folder / "inbox"
        self.inbox.mkdir(parents=True)
        self.root.mkdir(exist_ok=True)
        self.place = place or self.root
        self.reserve_mb = reserve_mb
        create_store(self.place)
        self.log = (folder / "log.txt").open("a+")
        self.processes = {role: self._started(role) for role in roles}

    def _started(self, role):
        environment = os.environ | {"PYTHONPATH": str(PROGRAM.parents[2])}
        program = "import sys; from tests.end_to_end.stand_in import main; main(*sys.argv[1:])"
        words = [sys.executable, "-c", program, self.root, self.place, role]
        if self.reserve_mb:
            words += ["1e9", self.reserve_mb]
        return subprocess.Popen(list(map(str, words)), env=environment, stderr=self.log)

    def kill(self, role):
        """Kill a process, and start another in its place."""
        self.processes[role].kill()
        self.processes[role].wait()
        self.processes[role] = self._started(role)

    def workers(self):
        """Processes of jobs: workers, and what they run."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                inside = str((entry / "cwd").readlink()).startswith(f"{self.root}/jobs")
            except OSError:
                continue
            if inside or any(word.startswith(f"{self.root}/jobs") for word in words):
                found.append(int(entry.name))
        return found

    def kill_worker(self, draw):
        """Kill one of them; say whether there was one."""
        found = self.workers()
        try:
            if found:
                os.kill(draw.choice(found), signal.SIGKILL)
        except ProcessLookupError:
            return False
        return bool(found)

    def deliver(self, deliveries, draw):
        """Deliver one that is not in the way of another of its name."""
        draw.shuffle(deliveries)
        name, _ = deliveries[-1]
        if not (self.inbox / f"{name}_uncal.txt").exists():
            delivered(self.inbox, *deliveries.pop())

    def end(self):
        """Wait until everything is done, and end."""
        self.wait()
        self.stop()

    def wait(self):
        """Wait until everything is done."""
        store, quiet_since = Store(self.place), time.monotonic()
        end = time.monotonic() + LONGEST
        while time.monotonic() - quiet_since < 1.5:
            assert time.monotonic() < end, f"the night does not end: {self._left(store)}"
            for role, process in self.processes.items():
                assert process.poll() is None, f"{role} has ended: {self.said()[-2000:]}"
            try:
                if any(self.inbox.glob("*_uncal.txt")) or not store.is_idle():
                    quiet_since = time.monotonic()
            except Unavailable:
                quiet_since = time.monotonic()
            time.sleep(0.05)
        store.close()

    def stop(self):
        """End the processes as a service manager does."""
        for process in self.processes.values():
            process.terminate()
        assert [process.wait(timeout=60) for process in self.processes.values()] == [0] * len(
            self.processes
        )

    def close(self):
        """Leave nothing behind, however it went."""
        for process in self.processes.values():
            process.kill()
            process.wait()
        for pid in self.workers():
            os.kill(pid, signal.SIGKILL)
        self.log.close()

    def _left(self, store):
        """What is not done yet."""
        j, c = t.jobs.c, t.candidates.c
        with store.reading() as connection:
            jobs = connection.execute(
                select(j.id, j.state, j.handle, j.not_before).where(j.ended_at.is_(None))
            ).all()
            candidates = connection.execute(select(t.candidates).where(c.is_dirty)).all()
        files = [path.name for path in self.inbox.iterdir()]
        return f"{jobs}, {candidates}, {files}, {self.workers()}\n{self.said()[-2000:]}"

    def said(self):
        """What the processes wrote to their log."""
        self.log.flush()
        return Path(self.log.name).read_text()

    def result(self):
        """Return current files and tasks: (name, checksum), (identity, document, state, why failed)."""
        store = Store(self.place)
        d, k = t.datasets.c, t.tasks.c
        with store.reading() as connection:
            files = connection.execute(
                select(d.name, d.sha256, d.path).where(d.state == "CURRENT").order_by(d.name)
            ).all()
            tasks = connection.execute(
                select(k.identity, k.document, k.state, k.reason)
                .where(k.state != "SUPERSEDED")
                .order_by(k.identity)
            ).all()
        store.close()
        assert all((self.root / "archive" / row.path).stat().st_size for row in files)
        return [tuple(row)[:2] for row in files], [
            (a, str(b), c, why if c != "DONE" else "") for a, b, c, why in tasks
        ]


def check_events(night):
    """Fail if something happened that no event tells of, or that two do."""
    store = Store(night.place)
    e, d, j = t.events.c, t.datasets.c, t.jobs.c
    with store.reading() as connection:
        events = connection.execute(select(e.kind, e.subject, e.subject_id)).all()
        datasets = set(connection.execute(select(d.id)).scalars())
        exposures = connection.execute(select(d.name, d.sha256).where(d.kind == "exposure")).all()
        jobs = {row.id: row.state for row in connection.execute(select(j.id, j.state))}
        started = set(connection.execute(select(j.id).where(j.started_at.is_not(None))).scalars())
    store.close()
    arrived = Counter(one.subject_id for one in events if one.kind in ARRIVED)
    assert arrived == Counter(datasets)
    ended = Counter(one.subject_id for one in events if one.subject == "job")
    assert ended == Counter(started)
    assert set(jobs.values()) <= {"DONE", "FAILED", "LOST", "CANCELLED"}
    assert set(Counter(map(tuple, exposures)).values()) == {1}  # none recorded twice
    return len(exposures)


def played(
    folder, names, seed, *, place=None, fault=None, roles=("watcher", "service"), reserve_mb=0
):
    """Deliver a night in an order of its own; `fault` is called between, and says if it is over."""
    draw = random.Random(seed)
    deliveries = deliveries_of(names, draw)
    generations = len(set(deliveries))
    night = Night(folder, place, roles, reserve_mb)
    try:
        end = time.monotonic() + LONGEST
        while deliveries or not (fault is None or fault(night, draw)):
            assert time.monotonic() < end, night.said()[-2000:]
            if deliveries:
                night.deliver(deliveries, draw)
            time.sleep(draw.uniform(0, 0.15))
        night.end()
        assert check_events(night) == generations
        return night.result(), night.said()
    finally:
        night.close()

"""Jobs while the store goes away between any two steps: each is started, recorded and ended once."""

import pytest

from lightmill.workflow.dispatch import Dispatch
from lightmill.workflow.engines import Ended, Room
from lightmill.workflow.jobs import outcome_of
from lightmill.workflow.machine import Policy
from lightmill.workflow.patience import Unavailable
from lightmill.workflow.store import TaskPlan

AWAY = Unavailable("the store is away")


class Engine:
    """Runs nothing; jobs end when a test says so."""

    name = "hand"

    def __init__(self):
        self.running, self.over, self.adopts = {}, [], True

    def room(self):
        return Room(2, 10_000.0)

    def submit(self, work):
        self.running[work.job_id] = work
        return f"handle {work.job_id}"

    def adopt(self, work, handle):
        del handle
        if self.adopts:
            self.running[work.job_id] = work
        return self.adopts

    def ended(self):
        over, self.over = self.over, []
        for one in over:
            self.running.pop(one.job_id, None)
        return over

    def cancel(self, handle):
        pass


class Maker:
    def command(self, job, folder):
        del job, folder
        return ["true"], 100.0

    def products(self, files, inputs):
        del inputs
        return [None for _ in files]

    def made_with(self, files):
        del files


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def dispatch(store, arrival, tmp_path, engine):
    """One job is queued."""
    store.policy = Policy(pause=0.0)
    (tmp_path / "archive" / "p1" / "a").mkdir(parents=True)
    (tmp_path / "archive" / "p1" / "a" / "one").write_text("raw")
    plan = TaskPlan("x", "x", "exposure", 1, "stage1", {"one": "science"}, "p1")
    store.ingest([arrival("one")], lambda _: plan)
    return Dispatch(tmp_path, store, engine, Maker(), reserve_mb=0.0)


def away(monkeypatch, store, name, *, after=False):
    """Have a method of the store fail the next time, before or after it did what it does."""
    method = getattr(store, name)

    def fails(*given, **more):
        monkeypatch.undo()
        if after:
            method(*given, **more)
        raise AWAY

    monkeypatch.setattr(store, name, fails)


@pytest.mark.parametrize("after", [False, True])
def test_an_end_that_could_not_be_recorded_is_recorded_later(
    dispatch, engine, store, monkeypatch, after
):
    assert dispatch.start() == 1
    engine.over = [Ended(1, 0)]
    away(monkeypatch, store, "finish", after=after)
    with pytest.raises(Unavailable):
        dispatch.collect()

    dispatch.recover()
    dispatch.collect()

    assert store.status()["jobs"] == {"DONE": 1}
    assert store.status()["tasks"] == {"DONE": 1}


@pytest.mark.parametrize("after", [False, True])
def test_a_handle_that_could_not_be_recorded_is_recorded_later(dispatch, store, monkeypatch, after):
    away(monkeypatch, store, "submitted", after=after)
    with pytest.raises(Unavailable):
        dispatch.start()

    assert dispatch.recover() == 0

    (job,) = store.unfinished()
    assert job.handle == "handle 1"
    assert dispatch.start() == 0


def test_a_job_that_was_recorded_and_never_started_is_tried_again(
    dispatch, engine, store, monkeypatch
):
    away(monkeypatch, store, "start", after=True)
    with pytest.raises(Unavailable):
        dispatch.start()
    engine.adopts = False  # nobody has ever heard of it

    assert dispatch.recover() == 1

    assert store.status()["jobs"] == {"LOST": 1, "QUEUED": 1}
    assert dispatch.start() == 1
    assert list(engine.running) == [2]


def test_a_start_that_was_not_recorded_is_made_again(dispatch, engine, store, monkeypatch):
    away(monkeypatch, store, "start")
    with pytest.raises(Unavailable):
        dispatch.start()

    assert dispatch.recover() == 0
    assert dispatch.start() == 1
    assert list(engine.running) == [1]


def test_no_job_starts_while_there_is_too_little_room(dispatch, store, caplog):
    dispatch.reserve_mb = 1e12
    assert [dispatch.start(), dispatch.start()] == [0, 0]
    assert store.status()["jobs"] == {"QUEUED": 1}
    assert caplog.text.count("jobs wait") == 1  # told once

    dispatch.reserve_mb = 0.0

    assert dispatch.start() == 1
    assert "jobs go on" in caplog.text


def test_an_attempt_that_found_the_disk_full_does_not_count(dispatch, engine, store):
    store.policy = Policy(attempts=1, pause=0.0)
    for number in (1, 2, 3):
        assert dispatch.start() == 1
        engine.over = [Ended(number, 1, "exit status 1: No space left on device")]
        dispatch.collect()

    assert store.status()["tasks"] == {"READY": 1}
    assert store.status()["jobs"] == {"FAILED": 3, "QUEUED": 1}


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (
            "begun\na.fits[JIT]: too short\n    found:    17160 bytes\n    try:      fetch it\n",
            "exit status 3: a.fits[JIT]: too short, found: 17160 bytes",
        ),
        ("Traceback\n  File\nKeyError: 'x'\n", "exit status 3: KeyError: 'x'"),
        ("    all that was read\n    of a long story\n", "exit status 3: of a long story"),
        ("", "exit status 3"),
    ],
)
def test_a_job_that_failed_says_the_fact_and_what_was_found(tmp_path, log, said):
    (tmp_path / "log.txt").write_text(log)

    assert outcome_of(Ended(1, 3), tmp_path, tmp_path, None, list).reason == said


@pytest.mark.parametrize(("status", "blamed"), [(3, "in/a.fits[SCI]"), (4, ""), (1, "")])
def test_a_job_names_the_place_where_it_found_bad_data(tmp_path, status, blamed):
    log = "begun\nin/a.fits[SCI]: every pixel is flagged\n    found:    4194304\n"
    (tmp_path / "log.txt").write_text(log)

    assert outcome_of(Ended(1, status), tmp_path, tmp_path, None, list).blamed == blamed

"""Waiting for what is away, and who may write when."""

import logging
import subprocess
import sys
import threading

import pytest

from lightmill.errors import ConfigurationError
from lightmill.workflow.lock import alone
from lightmill.workflow.patience import Patience, Unavailable
from lightmill.workflow.store import Store, TaskPlan

AWAY = Unavailable("the archive is away", place="/archive")


class Watch:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now, self.slept = 0.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def test_each_wait_is_twice_as_long_until_it_went_well(caplog):
    watch = Watch()
    patience = Patience(1.0, 8.0, sleep=watch.sleep, clock=watch)
    waits = []
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            begun = watch.now
            patience.wait(AWAY, lambda: False)
            waits.append(watch.now - begun)
        patience.over()

    assert waits == [1, 2, 4, 8, 8]
    assert max(watch.slept) <= 0.5  # somebody who asks for the end is not kept waiting
    assert "the archive is away" in caplog.text
    assert "it goes on, after 23 s" in caplog.text

    begun = watch.now
    patience.wait(AWAY, lambda: False)
    assert watch.now - begun == 1


def test_who_asks_for_the_end_is_not_kept_waiting():
    watch = Watch()
    Patience(30.0, sleep=watch.sleep, clock=watch).wait(AWAY, lambda: watch.now >= 1)

    assert watch.now == 1


def test_one_process_looks_after_the_jobs(tmp_path):
    code = (
        "import sys, pathlib; from lightmill.workflow.lock import alone\n"
        "with alone(pathlib.Path(sys.argv[1])): print('mine', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout.readline() == b"mine\n"

    with pytest.raises(ConfigurationError, match=f"process {other.pid}"), alone(tmp_path):
        pass

    other.kill()
    other.communicate()
    with alone(tmp_path):  # nothing has to be cleared away after a kill
        pass


def test_a_file_that_arrives_while_its_task_is_made_is_seen(place, arrival):
    # Had both been let write at once, the task would not see the file, nor the file the task.
    store, other = Store(place), Store(place)
    plan = TaskPlan("one", "one", "image2", 2, "stage2", {"a_rate": "science"}, "p1")
    made, arrives = threading.Event(), threading.Event()

    def arrive():
        made.wait(10)
        arrives.set()
        other.ingest([arrival("a_rate")])

    thread = threading.Thread(target=arrive)
    thread.start()
    with store.engine.begin() as connection:
        from lightmill.workflow.store.planning import ensure

        ensure(store, connection, [plan])
        made.set()
        arrives.wait(10)
        thread.join(0.3)  # it has every chance to write now
        assert thread.is_alive()
    thread.join(10)

    assert store.status()["tasks"] == {"READY": 1}
    store.close()
    other.close()

"""Who waits for a file says for whom; a lock ends with its holder."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from lightmill.errors import OutputError
from lightmill.reference.locking import file_lock

HOLD = """
import sys, time
from pathlib import Path
from lightmill.reference.locking import file_lock
with file_lock(Path(sys.argv[1]), "fetch a dark"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "lock"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_lock_is_free_after_its_use(tmp_path):
    for _ in range(2):
        with file_lock(tmp_path / "lock", "test") as held:
            assert held
    assert not list(tmp_path.iterdir())


def test_who_waits_says_for_whom(holder, tmp_path):
    said = []

    with (
        pytest.raises(OutputError, match="another process") as caught,
        file_lock(tmp_path / "lock", "fetch a flat", timeout=0.3, say=said.append),
    ):
        pass

    assert len(said) == 1
    assert f"process {holder.pid} on {os.uname().nodename}, fetch a dark" in said[0]
    assert "fetch a flat" in said[0]
    assert str(holder.pid) in caught.value.found


def test_a_lock_ends_with_a_process_that_is_killed(holder, tmp_path):
    os.kill(holder.pid, signal.SIGKILL)

    with file_lock(tmp_path / "lock", "test", timeout=5) as held:
        assert held


def test_only_one_holds_it_at_a_time(tmp_path):
    inside, most = 0, []

    def work():
        nonlocal inside
        for _ in range(20):
            with file_lock(tmp_path / "lock", "test", say=print):
                inside += 1
                most.append(inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert set(most) == {1}
    assert len(most) == 80

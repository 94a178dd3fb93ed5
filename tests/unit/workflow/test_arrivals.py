"""When a file has arrived, and how a folder is watched."""

import os
import threading
import time

import pytest

from lightmill.errors import UnknownNameError
from lightmill.workflow.arrivals import Gate
from lightmill.workflow.watching import Polling, Told, is_shared, watch_of

pytest.importorskip("watchdog", reason="operations need the extra `operations`")

SOON = 60.0  # s in which the kernel has told of a change; it takes milliseconds
LOOKS = 20  # that find nothing told: enough of them


@pytest.fixture(params=["inotify", "polling"])
def watch(request, tmp_path):
    one = watch_of(tmp_path, request.param)
    yield one
    one.close()


def awaited(gate, names):
    """Look until the gate has found the files of these names, and no others."""
    end = time.monotonic() + SOON
    while time.monotonic() < end:
        found = [path.name for path in gate.complete()]
        if found == names:
            return True
        gate.wait(0.05)
    return False


def test_a_file_counts_when_it_has_its_name(tmp_path, watch):
    gate = Gate(tmp_path, settle=0.0, watch=watch)
    (tmp_path / "a.fits.part").write_text("half")
    (tmp_path / ".b.fits").write_text("half")
    assert awaited(gate, [])

    (tmp_path / "a.fits.part").rename(tmp_path / "a.fits")

    assert awaited(gate, ["a.fits"])
    gate.take_away(tmp_path / "a.fits")
    assert gate.complete() == []
    assert not (tmp_path / "a.fits").exists()


def test_a_file_counts_when_it_has_stood_still(tmp_path, watch, clock):
    gate = Gate(tmp_path, settle=2.0, clock=clock, watch=watch)
    path = tmp_path / "a.fits"
    path.write_text("one")
    assert awaited(gate, [])
    end = time.monotonic() + SOON
    while not gate.waiting() and time.monotonic() < end:
        gate.wait(0.05)
    clock.now += 1.9
    assert gate.complete() == []
    path.write_text("one and two")  # it grows, and the time begins again
    os.utime(path, ns=(1, 1))
    while gate._seen[path][1] != clock.now and time.monotonic() < end:
        gate.waiting()
        gate.wait(0.05)
    clock.now += 1.9
    assert gate.complete() == []

    clock.now += 0.2

    assert [one.name for one in gate.complete()] == ["a.fits"]


def test_a_file_counts_when_its_sentinel_is_there(tmp_path, watch):
    gate = Gate(tmp_path, sentinel=".done", watch=watch)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.fits").write_text("all of it")
    assert awaited(gate, [])

    (tmp_path / "sub" / "a.fits.done").touch()

    assert awaited(gate, ["a.fits"])
    gate.take_away(tmp_path / "sub" / "a.fits")
    assert not list((tmp_path / "sub").iterdir())


def test_nobody_looks_while_nothing_is_told(tmp_path, monkeypatch):
    watch = Told(tmp_path)
    gate = Gate(tmp_path, settle=0.0, watch=watch)
    (tmp_path / "bad.fits").write_text("nobody takes it")
    assert awaited(gate, ["bad.fits"])
    seen, files = [], gate._files
    monkeypatch.setattr(gate, "_files", lambda: seen.append(1) or files())

    end, is_left_alone = time.monotonic() + SOON, False
    while not is_left_alone and time.monotonic() < end:  # the kernel may still tell of the file
        time.sleep(0.05)
        before = len(seen)
        for _ in range(LOOKS):
            assert [path.name for path in gate.complete()] == ["bad.fits"]
        is_left_alone = len(seen) == before

    assert is_left_alone
    watch.close()


def test_the_wait_ends_when_something_arrives(tmp_path):
    watch = Told(tmp_path)
    gate = Gate(tmp_path, settle=0.0, watch=watch)
    gate.complete()
    begun = time.monotonic()
    threading.Timer(0.2, (tmp_path / "a.fits").touch).start()

    gate.wait(30.0)

    assert time.monotonic() - begun < SOON
    assert awaited(gate, ["a.fits"])
    watch.close()


def test_what_the_kernel_did_not_tell_is_found_all_the_same(tmp_path):
    watch = Told(tmp_path, anyway=0.0)
    gate = Gate(tmp_path, settle=0.0, watch=watch)
    watch._observer.stop()
    watch._observer.join(5)
    (tmp_path / "a.fits").touch()

    assert awaited(gate, ["a.fits"])


MOUNTS = """22 1 0:20 / / rw - ext4 /dev/sda1 rw
30 22 0:31 / /data rw,relatime shared:1 - nfs4 server:/data rw
31 30 0:32 / /data/scratch rw - xfs /dev/sdb rw
32 22 0:33 / /home/a\\040b rw - fuse.sshfs server:/ rw
"""


@pytest.mark.parametrize(
    ("folder", "shared"),
    [("/inbox", False), ("/data/inbox", True), ("/data", True), ("/database", False),
     ("/data/scratch/x", False), ("/home/a b/x", True)],
)  # fmt: skip
def test_a_folder_that_others_write_to_is_known_by_its_disk(folder, shared):
    from pathlib import Path

    assert is_shared(Path(folder), MOUNTS) is shared


def test_where_the_kernel_cannot_tell_the_folder_is_looked_through(tmp_path, monkeypatch, caplog):
    def full(*_, **__):
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr("lightmill.workflow.watching.Told", full)

    assert isinstance(watch_of(tmp_path), Polling)
    assert "watch limit reached" in caplog.text
    with pytest.raises(OSError, match="limit"):
        watch_of(tmp_path, "inotify")
    with pytest.raises(UnknownNameError, match="polling"):
        watch_of(tmp_path, "poling")

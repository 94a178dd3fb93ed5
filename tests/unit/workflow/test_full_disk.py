"""What is written to a disk that is full, and when there is room again. Needs leave to mount one."""

import contextlib
import json
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from lightmill.workflow.arrivals import Gate, archived, checksum
from lightmill.workflow.engines.interface import Ended
from lightmill.workflow.jobs import outcome_of
from lightmill.workflow.patience import Unavailable
from lightmill.workflow.service import Service
from lightmill.workflow.store import Store, create_store
from tests.disk import SmallDisk
from tests.end_to_end.stand_in import StandIn, delivered
from tests.postgresql import Server, why_not

PATIENCE = 120.0  # s; what is waited for takes one or two


@pytest.fixture
def disk(tmp_path):
    with SmallDisk(tmp_path / "disk", megabytes=8) as one:
        yield one


def test_a_file_waits_for_room_in_the_archive(disk, tmp_path):
    path = tmp_path / "a_uncal.fits"
    path.write_bytes(b"x" * 100_000)
    disk.fill()

    with pytest.raises(Unavailable, match="tried again by itself"):
        archived(checksum(path), disk.folder, "p1")

    disk.free()
    assert not [one for one in disk.folder.rglob("*") if one.is_file()]  # no piece of it
    place = archived(checksum(path), disk.folder, "p1")
    assert (disk.folder / place).read_bytes() == path.read_bytes()


def test_what_a_full_store_refused_is_not_there_and_goes_in_later(disk, arrival):
    create_store(disk.folder)
    store = Store(disk.folder)
    assert store.status()["datasets"] == {}  # it is open already
    many = [arrival(f"{number}_uncal", facts={"text": "x" * 1000}) for number in range(500)]
    disk.fill()

    with pytest.raises(Unavailable, match="SQLITE_"):
        store.ingest(many)

    disk.free()
    assert store.status()["datasets"] == {}
    store.ingest(many)
    assert store.status()["datasets"] == {"CURRENT": 500}
    store.close()


def test_a_job_that_is_done_waits_for_room_to_say_so(disk):
    folder = disk.folder / "1"
    (folder / "out").mkdir(parents=True)
    # The job itself fills the disk: what it made is whole, and there is no room for the result.
    fill = "import pathlib, sys; sys.path[:0] = sys.argv[2:]; from tests.disk import filled; filled(pathlib.Path(sys.argv[1]))"
    words = [sys.executable, "-c", fill, str(disk.ballast), *sys.path]
    (folder / "job.json").write_text(json.dumps({"command": words}))
    worker = subprocess.Popen([sys.executable, "-m", "lightmill.workflow.worker", folder])
    end = time.monotonic() + PATIENCE
    while not disk.is_full() and time.monotonic() < end:
        time.sleep(0.05)
    assert disk.is_full()
    time.sleep(0.5)  # it may try; however long that takes it, it has not ended
    assert worker.poll() is None

    disk.free()

    assert worker.wait(timeout=PATIENCE) == 0
    assert json.loads((folder / "result.json").read_text())["exit_status"] == 0


@pytest.mark.parametrize(
    ("log", "is_full"), [("OSError: [Errno 28] No space left on device", False), ("", True)]
)
def test_a_job_that_found_no_room_has_not_failed_by_its_own_fault(tmp_path, log, is_full):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "half_a_product").write_text("half")
    (tmp_path / "log.txt").write_text(log)

    outcome = outcome_of(Ended(1, 1), tmp_path, tmp_path, None, list, is_full=is_full)

    assert outcome.is_no_fault
    assert "the disk was full" in outcome.reason
    assert not (tmp_path / "out").exists()


def test_a_delivery_that_found_no_room_is_not_taken_for_a_bad_file(disk, tmp_path):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    create_store(tmp_path / "store")
    store = Store(tmp_path / "store")
    service = Service(disk.folder, store, None, StandIn(), gate=Gate(inbox, settle=0.0))
    delivered(inbox, "p1-a-0")
    disk.fill()
    with pytest.raises(Unavailable):
        service.tick()
    assert list(inbox.iterdir())

    disk.free()
    assert service.tick().taken == 1
    assert not list(inbox.iterdir())
    store.close()


def taken_until_full(store, arrival):
    """Take in what fits into what the server has set aside; return how many files that were."""
    for number in range(400):
        try:
            facts = {"text": secrets.token_hex(50_000)}
            store.ingest([arrival(f"{number}_uncal", facts=facts)])
        except Unavailable:
            return number
    pytest.fail("the disk is never full")


@pytest.mark.slow
def test_a_postgresql_server_whose_disk_is_full_is_waited_for(arrival):
    if why_not():
        pytest.skip(why_not())
    pytest.importorskip("psycopg", reason="PostgreSQL needs the extra `postgresql`")
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lightmill-disk-")))
        home.chmod(0o755)  # the server is another user
        disk = stack.enter_context(SmallDisk(home / "disk", megabytes=120))
        server = Server(is_durable=True, within=disk.folder)
        stack.callback(server.close)
        server.start()
        create_store(server.url)
        store = Store(server.url)
        stack.callback(store.close)
        disk.fill()

        taken = taken_until_full(store, arrival)

        disk.free()
        end = time.monotonic() + PATIENCE
        while True:  # it may have stopped, and starts by itself
            try:
                assert store.status()["datasets"].get("CURRENT", 0) == taken
                store.ingest([arrival(f"{number}_uncal") for number in range(taken, taken + 10)])
                break
            except Unavailable:
                assert time.monotonic() < end
                time.sleep(0.5)
        assert store.status()["datasets"] == {"CURRENT": taken + 10}

"""Nothing is lost and nothing is done twice, whoever is killed whenever, and whatever is away.

LIGHTMILL_KILLS says how often somebody is killed in each night.
"""

import os
import time

import pytest

pytest.importorskip("alembic", reason="operations need the extra `operations`")
pytest.importorskip("psycopg", reason="PostgreSQL needs the extra `postgresql`")

from lightmill.workflow.store import Store
from tests.disk import SmallDisk
from tests.end_to_end.night import exposures, played
from tests.postgresql import Server, why_not

KILLS = int(os.environ.get("LIGHTMILL_KILLS", "8"))
PATIENCE = 50  # looks for a worker until somebody else is killed in its place
NAMES = exposures(max(2, KILLS // 10))  # there must be something to kill

pytestmark = pytest.mark.slow


class Kills:
    """Kills watcher, service and workers equally often, and cuts the database off now and then."""

    def __init__(self, wanted, server=None, cuts=0):
        self.wanted, self.server, self.cuts = wanted, server, cuts
        self.killed = {"worker": 0, "service": 0, "watcher": 0}
        self.cut = {"stop": 0, "crash": 0}
        self.waited = 0  # for a worker to kill

    def __call__(self, night, draw):
        cuts = sum(self.cut.values())
        if cuts < self.cuts and draw.random() < 0.2:
            kind = "stop" if cuts % 2 == 0 else "crash"
            self.server.kill() if kind == "crash" else self.server.stop()
            self.server.start()
            self.cut[kind] += 1
        elif sum(self.killed.values()) < self.wanted:
            self._kill(night, draw)
        return sum(self.killed.values()) >= self.wanted and sum(self.cut.values()) >= self.cuts

    def _kill(self, night, draw):
        kind = min(self.killed, key=self.killed.get)
        if kind == "worker" and self.waited < PATIENCE:
            if not night.kill_worker(draw):
                self.waited += 1
                return
        else:
            kind = draw.choice(["watcher", "service"])
            night.kill(kind)
        self.waited = 0
        self.killed[kind] += 1


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """What there is after an undisturbed night."""
    result, _ = played(tmp_path_factory.mktemp("calm") / "night", NAMES, 1)
    assert {state for _, _, state, _ in result[1]} == {"DONE"}
    return result


@pytest.fixture
def server():
    if why_not():
        pytest.skip(why_not())
    one = Server(is_durable=True)
    one.start()
    yield one
    one.close()


def test_kills_at_any_moment_change_nothing(tmp_path, calm):
    kills = Kills(KILLS)

    result, _ = played(tmp_path / "night", NAMES, 2, fault=kills)

    print(kills.killed, kills.cut)
    assert result == calm


def test_a_database_that_restarts_under_kills_changes_nothing(tmp_path, calm, server):
    kills = Kills(KILLS, server, cuts=max(2, KILLS // 10))

    result, said = played(tmp_path / "night", NAMES, 3, place=server.url, fault=kills)

    print(kills.killed, kills.cut)
    assert result == calm
    assert "the archive store cannot be used now" in said


def test_the_store_of_a_server_that_is_away_says_so(server):
    from lightmill.workflow.patience import Unavailable

    url = server.url
    server.stop()
    store = Store(url.replace("postgres@", "postgres:secret@"))

    with pytest.raises(Unavailable) as met:
        store.status()

    store.close()
    assert met.value.exit_status == 75
    assert "127.0.0.1" in str(met.value)
    assert "secret" not in str(met.value)


FULL = ("jobs wait", "cannot be used now", "cannot be put", "the disk was full")
NOTICED = 60.0  # s in which somebody finds the disk full; else it is freed all the same


class FullDisk:
    """Fills the disk while jobs run, and frees it some time later: at first when that was said."""

    def __init__(self, disk, times):
        self.disk, self.times = disk, times
        self.free_at, self.is_noticed, self.latest = None, False, 0.0

    def __call__(self, night, draw):
        now = time.monotonic()
        if self.free_at is None and self.times and night.workers():
            self.disk.fill()
            self.free_at, self.latest = now + draw.uniform(0.5, 2.0), now + NOTICED
        elif not self.is_noticed and self.free_at is not None and now < self.latest:
            self.is_noticed = any(words in night.said() for words in FULL)
        elif self.free_at is not None and now >= self.free_at:
            self.disk.free()
            self.free_at, self.times = None, self.times - 1
        return not self.times and self.free_at is None


def test_a_disk_that_is_full_and_freed_changes_nothing(tmp_path, calm):
    # The store, the archive and the folders of the jobs are on it; deliveries come from another.
    with SmallDisk(tmp_path / "night" / "site", megabytes=24) as disk:
        fault = FullDisk(disk, max(3, KILLS // 10))

        result, said = played(tmp_path / "night", NAMES, 4, fault=fault, reserve_mb=1)

    assert result[1] == calm[1]
    assert result == calm
    assert any(words in said for words in FULL)
    assert "Traceback" not in said

"""Nothing is lost and nothing is done twice, whoever is killed whenever, and whatever is away.

LIGHTMILL_KILLS says how often somebody is killed in each night.
"""

import os

import pytest

pytest.importorskip("alembic", reason="operations need the extra `operations`")
pytest.importorskip("psycopg", reason="PostgreSQL needs the extra `postgresql`")

from lightmill.workflow.store import Store
from tests.end_to_end.night import exposures, played
from tests.postgresql import Server, why_not

KILLS = int(os.environ.get("LIGHTMILL_KILLS", "8"))
NAMES = exposures(max(2, KILLS // 10))  # there must be something to kill

pytestmark = pytest.mark.slow


class Kills:
    """Kills watcher, service and workers in turn, and cuts the database off now and then."""

    def __init__(self, wanted, server=None, cuts=0):
        self.wanted, self.server, self.cuts = wanted, server, cuts
        self.done = {"watcher": 0, "service": 0, "worker": 0, "stop": 0, "crash": 0}

    def __call__(self, night, draw):
        processes = sum(self.done[one] for one in ("watcher", "service", "worker"))
        cuts = self.done["stop"] + self.done["crash"]
        kinds = ["watcher", "service", "worker", "worker"] if processes < self.wanted else []
        if self.server is not None and cuts < self.cuts and draw.random() < 0.2:
            kinds = ["stop"] if cuts % 2 == 0 else ["crash"]
        kind = draw.choice(kinds) if kinds else None
        if kind == "worker":
            self.done[kind] += night.kill_worker(draw)
        elif kind in {"watcher", "service"}:
            night.kill(kind)
            self.done[kind] += 1
        elif kind is not None:
            self.server.kill() if kind == "crash" else self.server.stop()
            self.server.start()
            self.done[kind] += 1
        return processes >= self.wanted and cuts >= self.cuts


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """What there is after an undisturbed night."""
    result, _ = played(tmp_path_factory.mktemp("calm") / "night", NAMES, 1)
    assert {state for _, _, state in result[1]} == {"DONE"}
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

    print(kills.done)
    assert result == calm


def test_a_database_that_restarts_under_kills_changes_nothing(tmp_path, calm, server):
    kills = Kills(KILLS, server, cuts=max(2, KILLS // 10))

    result, said = played(tmp_path / "night", NAMES, 3, place=server.url, fault=kills)

    print(kills.done)
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

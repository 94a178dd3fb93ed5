"""A store of each kind of database, and what goes into it."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from lightmill.workflow.store import Arrival, Store, create_store

ROOT = Path(__file__).parents[3]
TOOL = ROOT.parent / "shared" / "tools" / "postgres-localhost.sh"


class Clock:
    """A clock that stands still until told."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="session")
def postgresql():
    """Address of a PostgreSQL server of our own, or of the one LIGHTMILL_POSTGRESQL names."""
    given = os.environ.get("LIGHTMILL_POSTGRESQL")
    if given:
        yield given
        return
    if not TOOL.exists() or not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        pytest.skip(
            "NO POSTGRESQL: apt-get install postgresql, or name one in LIGHTMILL_POSTGRESQL"
        )
    # The server runs as another user, who must be able to reach its folder.
    folder = Path(tempfile.mkdtemp(prefix="lightmill-postgresql-"))
    folder.chmod(0o755)
    port = str(20_000 + os.getpid() % 20_000)
    environment = os.environ | {"PG_LOCAL_DIR": str(folder / "data"), "PG_LOCAL_PORT": port}
    begun = subprocess.run(
        [TOOL, "start"], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    if begun.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"POSTGRESQL DOES NOT START: {begun.stderr[-300:]}")
    found = subprocess.run(
        [TOOL, "url"], env=environment, check=True, capture_output=True, text=True, timeout=60
    )
    yield found.stdout.strip()
    subprocess.run([TOOL, "stop"], env=environment, check=True, capture_output=True, timeout=120)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """Where a new, empty store is."""
    if request.param == "sqlite":
        create_store(tmp_path)
        return tmp_path
    url = request.getfixturevalue("postgresql")
    from sqlalchemy import create_engine, text

    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    create_store(url)
    return url


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(place, clock):
    opened = Store(place, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def arrival():
    """Make an arrival; its content is a letter."""

    def make(name, content="a", generation="2026-01-01", program="p1", **more):
        return Arrival(
            name, content * 64, 1000, generation, f"{program}/{content}/{name}",
            program=program, **more,
        )  # fmt: skip

    return make

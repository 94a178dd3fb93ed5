"""What all tests share: repeatable property tests, where a peer may be, stores of each database."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Every run draws the same examples, so that a failure of one commit is that commit's.
settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# No test chooses by the rules of a cache that this machine may have.
for _name in [name for name in os.environ if name.startswith("CRDS_")]:
    del os.environ[_name]

ROOT = Path(__file__).resolve().parents[1]
POSTGRESQL = ROOT.parent / "shared" / "tools" / "postgres-localhost.sh"


@pytest.fixture(scope="session")
def root() -> Path:
    """Folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def peer() -> Path:
    """Python of the peer's environment; skips, loudly, where there is none."""
    found = Path(os.environ.get("LIGHTMILL_PEER", ROOT / ".peers" / "jwst")) / "bin" / "python"
    if not found.exists():
        pytest.skip(
            f"NO PEER at {found}: python3 -m venv .peers/jwst && .peers/jwst/bin/pip install 'jwst==3.0.0'"
        )
    return found


@pytest.fixture(scope="session")
def postgresql():
    """Address of a PostgreSQL server of our own, or of the one LIGHTMILL_POSTGRESQL names."""
    given = os.environ.get("LIGHTMILL_POSTGRESQL")
    if given:
        _emptied(given)
        yield given
        return
    if not POSTGRESQL.exists() or not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        pytest.skip(
            "NO POSTGRESQL: apt-get install postgresql, or name one in LIGHTMILL_POSTGRESQL"
        )
    # The server runs as another user, who must be able to reach its folder.
    folder = Path(tempfile.mkdtemp(prefix="lightmill-postgresql-"))
    folder.chmod(0o755)
    port = str(20_000 + os.getpid() % 20_000)
    environment = os.environ | {"PG_LOCAL_DIR": str(folder / "data"), "PG_LOCAL_PORT": port}

    def tool(what):
        return subprocess.run([POSTGRESQL, what], env=environment, capture_output=True, text=True,
                              timeout=120, check=False)  # fmt: skip

    begun = tool("start")
    if begun.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"POSTGRESQL DOES NOT START: {begun.stderr[-300:]}")
    yield tool("url").stdout.strip()
    stopped = tool("stop")
    shutil.rmtree(folder, ignore_errors=True)
    assert stopped.returncode == 0, stopped.stderr


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """Where a new, empty store is: a folder, or the URL of a database."""
    from lightmill.workflow.store import create_store, open_engine
    from lightmill.workflow.store import tables as t

    if request.param == "sqlite":
        create_store(tmp_path)
        return tmp_path
    url = request.getfixturevalue("postgresql")
    create_store(url)
    names = ", ".join(table.name for table in t.metadata.sorted_tables)
    engine = open_engine(url)
    with engine.begin() as connection:  # to make the tables anew takes ten times as long
        connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY CASCADE")
    engine.dispose()
    return url


def _emptied(url):
    """Take away what an earlier run left in a database."""
    from lightmill.workflow.store import open_engine

    engine = open_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()

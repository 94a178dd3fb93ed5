"""Open an archive store, or create one: SQLite in a file by default, PostgreSQL by its address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightmill.errors import ConfigurationError

__all__ = ["create_store", "open_engine", "url_of"]

FILE = "lightmill.db"
BUSY = 60_000  # ms that a connection waits for another's transaction


def url_of(place: str | Path) -> str:
    """Return the address of a store: a URL as it stands, else the file in an observatory's folder."""
    text = str(place)
    return text if "://" in text else f"sqlite:///{Path(text) / FILE}"


def open_engine(place: str | Path) -> Any:
    """Return a SQLAlchemy engine for a store.

    Parameters
    ----------
    place : str or Path
        URL, or folder of an observatory.

    Raises
    ------
    ConfigurationError
        If the packages for it are not installed.
    """
    try:
        from sqlalchemy import create_engine, event
    except ImportError as error:
        raise ConfigurationError(
            "the archive store needs a package that is not installed",
            found=error,
            remedy="pip install 'lightmill[operations]'",
        ) from error
    url = url_of(place)
    if url.startswith("postgresql://"):
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": BUSY / 1000, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say so
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA busy_timeout={BUSY}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        # A transaction that reads first and writes later would fail where another wrote between.
        mode = "DEFERRED" if connection.get_execution_options().get("reads_only") else "IMMEDIATE"
        connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


def create_store(place: str | Path) -> None:
    """Create the tables of a store, or bring those of an older version up to date.

    Parameters
    ----------
    place : str or Path
        URL, or folder of an observatory, which is made.
    """
    from alembic import command
    from alembic.config import Config

    if "://" not in str(place):
        Path(place).mkdir(parents=True, exist_ok=True)
    engine = open_engine(place)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    engine.dispose()

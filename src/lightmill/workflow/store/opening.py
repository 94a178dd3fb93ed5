"""Open an archive store, or create one: SQLite in a file by default, PostgreSQL by its address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightmill.errors import ConfigurationError
from lightmill.workflow.patience import Unavailable

__all__ = ["create_store", "open_engine", "url_of"]

FILE = "lightmill.db"
BUSY = 60_000  # ms that a connection waits for another's transaction
ONE_WRITER = 0x4C4D  # number of the lock that who writes to a PostgreSQL store holds
PASSING = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN",
           "SQLITE_NOMEM", "SQLITE_PROTOCOL")  # fmt: skip
# A server that vanished without a word is noticed, and one who writes and hangs does not stop others.
POSTGRESQL = {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # ms
    "options": f"-c lock_timeout={BUSY} -c idle_in_transaction_session_timeout={BUSY}",
}


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

    Notes
    -----
    What the engine's connections are asked for raises `Unavailable` where the database cannot be
    reached, is full, or is busy with others for too long.
    """
    try:
        from sqlalchemy import create_engine
    except ImportError as error:
        raise ConfigurationError(
            "the archive store needs a package that is not installed",
            found=error,
            remedy="pip install 'lightmill[operations]'",
        ) from error
    url = url_of(place)
    if url.startswith("postgresql://"):
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    if url.startswith("sqlite"):
        engine = create_engine(
            url, connect_args={"timeout": BUSY / 1000, "check_same_thread": False}
        )
        _prepare_sqlite(engine)
    else:
        engine = create_engine(url, pool_pre_ping=True, connect_args=POSTGRESQL)
        _prepare_postgresql(engine)
    _translate(engine)
    return engine


def _prepare_sqlite(engine: Any) -> None:
    from sqlalchemy import event

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


def _prepare_postgresql(engine: Any) -> None:
    """Let one write at a time, as SQLite does.

    Otherwise a file could arrive while an association that waits for it is made, and neither see
    the other.
    """
    from sqlalchemy import event

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        if not connection.get_execution_options().get("reads_only"):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ONE_WRITER})")


def _translate(engine: Any) -> None:
    """Make passing troubles of the database ours."""
    from sqlalchemy import event, exc

    @event.listens_for(engine, "handle_error", retval=True)
    def translated(context: Any) -> BaseException | None:
        error = context.original_exception
        name = getattr(error, "sqlite_errorname", None)
        if engine.dialect.name == "sqlite":
            is_passing = name is not None and name.startswith(PASSING)
        else:
            is_passing = context.is_disconnect or isinstance(
                context.sqlalchemy_exception, exc.OperationalError
            )
        if not is_passing:
            return None
        return Unavailable(
            "the archive store cannot be used now",
            place=engine.url.render_as_string(hide_password=True),
            found=f"{name}: {error}" if name else str(error).strip(),
            remedy="see to the database: is it there, has it room? Nothing is lost meanwhile",
        )


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

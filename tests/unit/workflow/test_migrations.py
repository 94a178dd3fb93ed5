"""The versions of the store's tables: together they make what the code asks."""

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from lightmill.workflow import store as package
from lightmill.workflow.store import create_store, open_engine
from lightmill.workflow.store import tables as t


def differences(place):
    """What a database has otherwise than the tables of the code."""
    engine = open_engine(place)
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), t.metadata)
    engine.dispose()
    return found


def test_a_new_store_has_the_tables_the_code_asks(place):
    assert differences(place) == []


def test_a_store_of_the_first_version_is_brought_up_to_date(place):
    config = Config()
    config.set_main_option("script_location", str(Path(package.__file__).parent / "migrations"))
    engine = open_engine(place)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        connection.commit()
    engine.dispose()
    assert differences(place) != []

    create_store(place)

    assert differences(place) == []


def test_a_store_that_is_up_to_date_stays_as_it_is(place):
    create_store(place)

    assert differences(place) == []

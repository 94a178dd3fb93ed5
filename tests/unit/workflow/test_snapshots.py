"""What a log adds up to, kept in parts beside it: found only as it was written."""

import pytest
from sqlalchemy import update

from lightmill.workflow.store import open_engine
from lightmill.workflow.store import tables as t
from lightmill.workflow.store.snapshots import Head, digest_of, read_head, read_parts, write_parts

PARTS = {"one": b"1" * 1000, "two": b"2"}
DIGESTS = {name: digest_of(content) for name, content in PARTS.items()}


@pytest.fixture
def engine(place):
    engine = open_engine(place)
    with engine.begin() as connection:
        write_parts(connection, "sum", Head(7, "code", b"head"), PARTS)
    yield engine
    engine.dispose()


def test_a_snapshot_comes_back_part_by_part(engine):
    with engine.connect() as connection:
        head = read_head(connection, "sum")
        parts = dict(read_parts(connection, "sum", DIGESTS))
        nothing = read_head(connection, "other")

    assert head == Head(7, "code", b"head")
    assert parts == PARTS
    assert nothing is None


def test_only_what_changed_is_replaced_and_what_is_gone_goes(engine):
    with engine.begin() as connection:
        write_parts(connection, "sum", Head(9, "code", b"more"), {"three": b"3"}, gone=["two"])
        wanted = {**DIGESTS, "three": digest_of(b"3")}

        found = dict(read_parts(connection, "sum", wanted))

        assert read_head(connection, "sum") == Head(9, "code", b"more")
    assert found == {"one": PARTS["one"], "three": b"3"}


@pytest.mark.parametrize("part", ["", "one"])
def test_what_was_damaged_is_not_there(engine, part):
    with engine.begin() as connection:
        damage = update(t.snapshots).where(t.snapshots.c.part == part)
        connection.execute(damage.values(content=b"other"))

    with engine.connect() as connection:
        head = read_head(connection, "sum")
        parts = dict(read_parts(connection, "sum", DIGESTS))

    assert (head is None) == (part == "")
    assert ("one" in parts) == (part != "one")


def test_a_store_of_an_older_version_has_none(engine):
    with engine.begin() as connection:
        t.snapshots.drop(connection)

        assert read_head(connection, "sum") is None

        t.snapshots.create(connection)

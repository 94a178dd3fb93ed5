"""A state kept beside its log: the same as the one the whole log adds up to, or not believed."""

import dataclasses
import itertools

import pytest
from click.testing import CliRunner
from sqlalchemy import delete, event, update

from lightmill.cli.main import app
from lightmill.observatories.hst.wfpc2 import events, log, snapshot
from lightmill.observatories.hst.wfpc2.fold import apply
from lightmill.observatories.hst.wfpc2.instance import Instance
from lightmill.observatories.hst.wfpc2.log import EventLog
from lightmill.observatories.hst.wfpc2.maintenance import Archive, audit
from lightmill.observatories.hst.wfpc2.request import run, status, submit
from lightmill.observatories.hst.wfpc2.snapshot import ShelvedState, snapshot_of
from lightmill.observatories.hst.wfpc2.state import State
from lightmill.workflow.store import tables as t


@pytest.fixture
def small(cases):
    instance = Instance(cases / "small")
    yield instance
    instance.close()


@pytest.fixture(scope="module")
def story(cases):
    """Events of the first load of an archive, and those of the delivery after it."""
    instance, told = Instance(cases / "small"), []
    archive = Archive(State(), told.append)
    parts = []
    for delivery in (0, 1):
        submit(archive, instance, [delivery])
        run(archive, instance)
        parts.append([*told])
        told.clear()
    instance.close()
    return parts


@pytest.fixture
def kept(place, story):
    """A store with a snapshot of the archive after its first load, and events after it."""
    journal = EventLog(place)
    state = journal.state()
    for events_ in story:
        for one in events_:
            journal.append(one)
            apply(state, one)
        journal.keep(state, at_least=100)
    journal.close()
    return place


def opened(place, **how):
    journal = EventLog(place)
    return journal, Archive(journal.state(**how), journal.append)


def bytes_of(state):
    """Return all that is known, as bytes: parts and head of a snapshot written anew."""
    found = snapshot_of(state)
    if isinstance(state, ShelvedState):
        state.desk.need_all()
        found = snapshot_of(state)
    return found.head, found.parts


def watched(journal):
    """Return a list that fills with the questions a store is asked."""
    asked = []
    event.listen(
        journal.engine, "before_cursor_execute",
        lambda _c, _u, statement, values, *_: asked.append((statement, values)),
    )  # fmt: skip
    return asked


def test_snapshot_and_tail_add_up_to_what_the_whole_log_does(kept):
    journal, archive = opened(kept)
    whole, other = opened(kept, from_snapshot=False)

    assert isinstance(archive.state, ShelvedState)
    assert not isinstance(other.state, ShelvedState)
    assert bytes_of(archive.state) == bytes_of(other.state)
    assert not any(audit(archive.state).values())
    journal.close()
    whole.close()


def test_work_goes_on_from_a_snapshot_as_from_the_log(kept, small):
    journal, archive = opened(kept)
    submit(archive, small, [2, 3])
    run(archive, small)
    assert journal.keep(archive.state, at_least=1)
    journal.close()

    again, kept_again = opened(kept)
    whole, other = opened(kept, from_snapshot=False)

    assert again.last == whole.last
    assert bytes_of(kept_again.state) == bytes_of(other.state) == bytes_of(archive.state)
    again.close()
    whole.close()


def test_a_round_with_nothing_owed_fetches_little_and_writes_nothing(kept, small):
    journal, archive = opened(kept)
    submit(archive, small, [2, 3])
    run(archive, small)
    journal.keep(archive.state, at_least=1)
    journal.close()
    journal, archive = opened(kept)
    before, asked = journal.last, watched(journal)

    submit(archive, small)
    run(archive, small)
    told = status(archive.state)
    journal.flush()

    assert not journal.keep(archive.state)
    # the pair that could not be read is looked up, to see whether its time has come
    assert all(text.startswith(("SELECT", "BEGIN")) for text, _ in asked)
    assert set(archive.state.desk.known) - set(archive.state.desk.waiting) <= {"UZ05", "#90005"}
    assert journal.last == before
    assert told["flags"]["CAL 'Y' OMS 'Y'"] == 103
    assert (told["exposures"], told["associations"]) == (108, 32)
    journal.close()


def test_a_delivery_writes_the_parts_it_changed_and_no_other(kept, make_exposure):
    journal, archive = opened(kept)
    journal.keep(archive.state, at_least=1)
    journal.close()
    journal, archive = opened(kept)
    archive.record(events.Described(dataclasses.replace(make_exposure(1), exptime=7.0)))
    asked = watched(journal)

    journal.keep(archive.state, at_least=1)

    (inserted,) = [values for text, values in asked if "INSERT INTO snapshots" in text]
    rows = str(inserted)
    # the program's part, the proposal's, and the head
    assert rows.count("#90001") + rows.count("'UZ01'") == 2
    assert "UZ02" not in rows
    journal.close()


@pytest.mark.parametrize("part", ["", "UZ05", "#90005"])
def test_what_is_damaged_is_read_from_the_log_and_written_anew(kept, part):
    whole, other = opened(kept, from_snapshot=False)
    with whole.engine.begin() as connection:
        damage = update(t.snapshots).where(t.snapshots.c.part == part)
        connection.execute(damage.values(content=b"x\x9c damaged"))

    journal, archive = opened(kept)

    assert bytes_of(archive.state) == bytes_of(other.state)
    assert journal.keep(archive.state)
    asked = watched(journal)
    mended = journal.state()
    assert bytes_of(mended) == bytes_of(other.state)
    assert len([text for text, _ in asked if "events.seq <=" in text]) == 0
    journal.close()
    whole.close()


def test_a_snapshot_that_says_something_else_is_found_and_thrown_away(kept):
    # as if its code had had a defect: whole, of this code and log, and wrong
    journal, archive = opened(kept)
    assert journal.compare() == []
    journal.state()
    state = journal.state()
    state.versions["UZ050900A"] += 1
    journal.keep(state, at_least=1)
    journal.close()

    command = ["wfpc2", "status", str(kept), "--whole-log"]
    told = CliRunner().invoke(app, command, standalone_mode=False)
    again = CliRunner().invoke(app, command, standalone_mode=False)

    assert told.return_value == 3
    assert "UZ05" in told.stderr
    assert again.return_value == 0
    journal, archive = opened(kept)
    assert not isinstance(archive.state, ShelvedState)
    journal.close()


def test_a_part_that_is_gone_is_read_from_the_log(kept):
    whole, other = opened(kept, from_snapshot=False)
    with whole.engine.begin() as connection:
        connection.execute(delete(t.snapshots).where(t.snapshots.c.part == "UZ05"))

    journal, archive = opened(kept)

    assert archive.state.exposures["UZ050900"] == other.state.exposures["UZ050900"]
    journal.close()
    whole.close()


def test_a_snapshot_of_other_code_is_not_believed(kept, monkeypatch):
    monkeypatch.setattr(log, "code_digest", lambda: "other")

    journal, archive = opened(kept)

    assert not isinstance(archive.state, ShelvedState)
    assert journal.keep(archive.state)
    assert isinstance(journal.state(), ShelvedState)
    journal.close()


def test_the_digest_of_the_code_is_of_what_stands_in_it(tmp_path, monkeypatch):
    (tmp_path / "fold.py").write_text("one")
    monkeypatch.setattr(snapshot, "__file__", str(tmp_path / "snapshot.py"))
    before = snapshot.code_digest()

    (tmp_path / "fold.py").write_text("two")

    assert snapshot.code_digest() != before


def test_a_snapshot_of_another_log_is_not_believed(place, tmp_path, small):
    journal, archive = opened(place)
    submit(archive, small, [0])
    journal.keep(archive.state)
    with journal.engine.connect() as connection:
        rows = [dict(row._mapping) for row in connection.execute(t.snapshots.select())]
    journal.close()

    from lightmill.workflow.store import create_store

    create_store(tmp_path / "other")
    other = EventLog(tmp_path / "other", clock=lambda: 7.0)
    submit(Archive(State(), other.append), small, [0])
    other.flush()
    with other.engine.begin() as connection:
        connection.execute(t.snapshots.insert(), rows)

    assert not isinstance(other.state(), ShelvedState)
    other.close()


def test_what_another_process_kept_meanwhile_does_no_harm(kept, small):
    # a reader has the head of a snapshot; its parts are replaced before it asks for them
    reader, reading = opened(kept)
    before = snapshot_of(reader.state(from_snapshot=False)).parts
    reader.close()
    reader, reading = opened(kept)
    writer, writing = opened(kept)
    submit(writing, small, [2, 3])
    run(writing, small)
    assert writer.keep(writing.state, at_least=1)

    assert bytes_of(reading.state)[1] == before
    assert not reader.keep(reading.state, at_least=1)
    reader.close()
    writer.close()


def test_a_state_can_be_looked_at_when_its_log_is_closed(kept):
    journal, archive = opened(kept)
    journal.leave()

    assert archive.state.exposures["UZ050900"].pep_id == 90005
    assert len(list(itertools.islice(journal.read(), 2))) == 2  # and all that it asks again
    assert journal.engine.pool.checkedin() == 0


def test_every_attribute_of_a_state_comes_back(kept):
    # physics: what is added to a state is kept, or refused loudly, never forgotten
    journal, archive = opened(kept)
    archive.state.desk.need_all()
    fresh = vars(State())

    assert vars(archive.state).keys() - {"desk"} == fresh.keys()
    odd = State()
    odd.alarms = [object()]
    with pytest.raises(TypeError, match="cannot keep"):
        snapshot_of(odd)
    journal.close()


def test_no_transaction_is_open_while_events_are_looked_at(kept, monkeypatch):
    # physics: PostgreSQL ends a transaction in which nothing is asked for a minute
    monkeypatch.setattr(log, "AT_ONCE", 50)
    journal, _ = opened(kept)
    open_ = {journal.engine.pool.checkedout() for _ in journal.read()}
    whole = [type(one) for one in journal.read()]

    monkeypatch.setattr(log, "AT_ONCE", 10**6)

    assert open_ == {0}
    assert whole == [type(one) for one in journal.read()]
    assert [type(one) for one in journal.read(after=70, upto=200)] == whole[70:200]
    journal.close()


def test_what_is_new_is_found_without_a_search(tmp_path, make_exposure):
    from lightmill.workflow.store import create_store

    create_store(tmp_path)
    journal, archive = opened(tmp_path)
    asked = watched(journal)
    archive.record(events.Described(make_exposure(1)))
    journal.flush()
    list(journal.read())

    with journal.engine.connect() as connection:
        plans = [
            str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all())
            for text, values in [*asked]
            if "events.subject = " in text
        ]
    assert len(plans) == 2
    # both go to the number at once: neither over all events of the archive, nor of the store
    assert all("rowid>?" in plan and "TEMP B-TREE" not in plan for plan in plans)
    journal.close()

"""Pairs of jitter files that fail: alone, visible, tried again after a while, then left to a person."""

import pytest

from lightmill.observatories.hst.wfpc2 import events
from lightmill.observatories.hst.wfpc2.explain import explain_exposure
from lightmill.observatories.hst.wfpc2.fold import fold
from lightmill.observatories.hst.wfpc2.maintenance import Archive, maintain
from lightmill.observatories.hst.wfpc2.request import status
from lightmill.observatories.hst.wfpc2.retries import ATTEMPTS, Failed
from lightmill.observatories.hst.wfpc2.state import State
from tests.unit.observatories.wfpc2.histories import GENERATIONS, Workshop, arrive

HOUR = 3600.0
BEGIN = 880_000_000.0  # s since 1970: some day of 1997
BROKEN = ("UZ010102J", GENERATIONS[0])
KEY = ("UZ010102", GENERATIONS[0])


@pytest.fixture
def archive(make_exposure, make_pointing):
    """Return an archive of three exposures, one of which has a broken pair, and who does the work."""
    exposures = [make_exposure(n, exptime=300.0 - n) for n in (1, 2, 3)]
    pointings = {
        (f"{one.root}J", generation): make_pointing(one, generation=generation)
        for one in exposures
        for generation in GENERATIONS
    }
    log = []
    found = Archive(State(), log.append)
    for one in exposures:
        found.record(events.Described(one))
        arrive(found, one.dataset_name, GENERATIONS[0])
        arrive(found, f"{one.root}J", GENERATIONS[0], f"bytes of {one.root}")
    return found, Workshop(pointings, [BROKEN]), log


def attempts(found, workshop, hours):
    """Return how often the broken pair was tried after rounds at these hours."""
    counts = []
    for hour in hours:
        maintain(found, workshop, now=BEGIN + hour * HOUR)
        counts.append(found.state.unreadable[KEY].attempts)
    return counts


def test_the_others_of_its_delivery_are_associated_without_it(archive):
    found, workshop, _ = archive

    done = maintain(found, workshop, now=BEGIN)

    assert done.unreadable == ["UZ010102T"]
    assert found.state.associations["UZ010101A"].names == ("UZ010101T", "UZ010103T")


def test_each_pause_is_four_times_the_one_before(archive):
    found, workshop, _ = archive

    # tried at 0 h, and 1, 4, 16, 64 h after the try before; looked at shortly before and after
    hours = [0, 0.9, 1.1, 4.9, 5.2, 21, 21.3, 85, 85.4]

    assert attempts(found, workshop, hours) == [1, 1, 2, 2, 3, 3, 4, 4, 5]


def test_after_the_last_attempt_only_a_person_can_have_it_tried(archive):
    found, workshop, _ = archive
    attempts(found, workshop, [0, 2, 10, 30, 100])
    assert found.state.unreadable[KEY].is_quarantined

    idle = maintain(found, workshop, now=BEGIN + 1e9, again=True)
    found.record(events.Released(*BROKEN))
    released = maintain(found, workshop, now=BEGIN + 1e9)

    assert idle.unreadable == []
    assert released.unreadable == ["UZ010102T"]
    assert found.state.unreadable[KEY].attempts == 1
    assert not found.state.unreadable[KEY].is_quarantined


def test_a_pair_that_was_only_out_of_reach_is_read_by_itself(archive):
    found, workshop, _ = archive
    maintain(found, workshop, now=BEGIN)
    workshop.broken = set()

    too_soon = maintain(found, workshop, now=BEGIN + 0.5 * HOUR)
    then = maintain(found, workshop, now=BEGIN + 2 * HOUR)

    assert too_soon.extracted == []
    assert then.extracted == ["UZ010102T"]
    assert KEY not in found.state.unreadable
    assert len(found.state.associations["UZ010101A"].members) == 3


def test_other_bytes_of_a_quarantined_pair_are_read_at_once(archive):
    found, workshop, _ = archive
    attempts(found, workshop, [0, 2, 10, 30, 100])
    workshop.broken = set()
    arrive(found, *BROKEN, "other bytes")

    done = maintain(found, workshop, now=BEGIN + 101 * HOUR)

    assert done.extracted == ["UZ010102T"]


def test_a_newer_generation_that_fails_leaves_the_pointing_and_is_tried_again(archive):
    found, workshop, _ = archive
    workshop.broken = {("UZ010102J", GENERATIONS[1])}
    maintain(found, workshop, now=BEGIN)
    arrive(found, "UZ010102J", GENERATIONS[1], "damaged")
    maintain(found, workshop, now=BEGIN)

    maintain(found, workshop, now=BEGIN + 2 * HOUR)

    assert found.state.unreadable["UZ010102", GENERATIONS[1]].attempts == 2
    assert found.state.pointings["UZ010102"].gen_date_str == GENERATIONS[0]


def test_what_fails_and_is_older_than_what_serves_is_not_tried_again(archive):
    found, workshop, _ = archive
    maintain(found, workshop, now=BEGIN)
    arrive(found, "UZ010102J", GENERATIONS[1])
    maintain(found, workshop, now=BEGIN)

    done = maintain(found, workshop, now=BEGIN + 1e6)

    assert done.unreadable == []


def test_status_and_story_tell_when_it_is_tried_again(archive):
    found, workshop, _ = archive
    maintain(found, workshop, now=BEGIN)
    (waiting,) = status(found.state)["unreadable"]
    attempts(found, workshop, [2, 10, 30, 100])
    (left,) = status(found.state)["unreadable"]

    assert waiting["due_at"] == BEGIN + HOUR
    assert not waiting["quarantined"]
    assert left["quarantined"]
    assert left["due_at"] is None
    assert left["attempts"] == ATTEMPTS
    assert "cannot be read" in left["story"]
    told = explain_exposure(found.state, "UZ010102T").text()
    assert f"cannot be read ({ATTEMPTS} times, quarantined)" in told


def test_a_release_of_what_has_not_failed_is_refused(archive):
    found, workshop, _ = archive
    maintain(found, workshop, now=BEGIN)

    found.record(events.Released("UZ010103J", GENERATIONS[0]))

    assert "no such pair has failed" in found.state.alarms[0]


def test_the_log_says_the_same_at_any_later_time(archive):
    found, workshop, log = archive
    attempts(found, workshop, [0, 2, 10, 30, 100])
    found.record(events.Released(*BROKEN))

    assert fold(log).unreadable == found.state.unreadable
    assert isinstance(found.state.unreadable[KEY], Failed)

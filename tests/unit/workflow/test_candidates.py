"""Whether all exposures of a candidate are there, and what becomes of one that lacks some."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmill.errors import ConfigurationError
from lightmill.workflow.conditions import Conditions, Expectations
from lightmill.workflow.service import Service
from lightmill.workflow.store.announcements import expected_of, lacking, merged


def exposures(arrival, count, announced=3, first=0):
    return [
        arrival(
            f"{number}_uncal", str(number % 10), candidates={"o001": None},
            announced={"visit 1/nis": announced},
        )
        for number in range(first, first + count)
    ]  # fmt: skip


def names(rows):
    return [row.name for row in rows]


def test_a_candidate_is_due_as_soon_as_all_that_is_announced_is_there(store, arrival):
    store.ingest(exposures(arrival, 2))
    assert store.due_candidates(1000.0, 1000.0) == []

    store.ingest(exposures(arrival, 1, first=2))

    (row,) = store.due_candidates(1000.0, 1000.0)
    assert (row.present, row.expected) == (3, 3)
    assert store.short_candidates() == []


def test_one_that_lacks_some_is_late_after_its_own_time(store, arrival, clock):
    store.ingest(exposures(arrival, 2))
    (short,) = store.short_candidates("p1", "o001")
    assert lacking(short.announced) == {"visit 1/nis": (2, 3)}
    clock.now += 100
    assert store.due_candidates(1.0, 101.0) == []
    assert store.due_candidates(1.0, math.inf) == []
    assert store.is_idle()  # it waits for data, not for us

    clock.now += 2

    (row,) = store.due_candidates(1.0, 101.0)
    store.plan([], candidates=[row], program="p1")
    assert store.status()["candidates"] == {"PARTIAL": 1}
    store.ingest(exposures(arrival, 1, first=2))
    assert store.status()["candidates"] == {"FORMING": 1}
    assert names(store.due_candidates(1000.0, 1000.0)) == ["o001"]


def test_one_that_is_given_up_forms_again_with_a_late_exposure(store, arrival):
    store.ingest(exposures(arrival, 2))
    store.give_up(store.due_candidates(0.0, 0.0))
    assert store.status()["candidates"] == {"GIVEN_UP": 1}
    assert store.due_candidates(0.0, 0.0) == []

    store.ingest(exposures(arrival, 1, first=2))

    assert names(store.due_candidates(1000.0)) == ["o001"]


def test_what_is_delivered_twice_counts_once(store, arrival):
    store.ingest(exposures(arrival, 2))
    store.ingest(exposures(arrival, 2))
    store.ingest([
        arrival("0_uncal", "z", "2027-01-01", candidates={"o001": None},
                announced={"visit 1/nis": 3})
    ])  # fmt: skip

    (row,) = store.short_candidates()
    assert (row.present, row.expected) == (2, 3)


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(1, 5))
def test_groups_lack_what_was_announced_less_what_came(came, announced):
    groups = merged({}, [{name: announced} for name in came], 1)

    assert sum(present for _, present in groups.values()) == len(came)
    short = sum(max(0, announced - came.count(name)) for name in set(came))
    if came:
        assert expected_of(groups) - len(came) == short
    assert sum(number - present for present, number in lacking(groups).values()) == short


def test_nothing_announced_expects_nothing():
    assert expected_of(merged({}, [{}, {}], 1)) is None


@pytest.mark.parametrize(
    ("kind", "facts", "said"),
    [(Conditions, {"complete": "closed"}, "settled"), (Conditions, {"setle": 3}, "setle"),
     (Conditions, {"watch": "inotifi"}, "inotify"), (Expectations, {"late": "never"}, "give up"),
     (Expectations, {"patience": 3, "quite": 4}, "quite")],
)  # fmt: skip
def test_facts_that_cannot_be_are_refused_with_their_place(kind, facts, said):
    with pytest.raises(ConfigurationError, match="here") as met:
        kind.of(facts, "here")

    assert said in str(met.value)


def test_who_waits_on_waits_for_ever():
    assert Expectations(late="wait").waits == math.inf
    assert Expectations.of({"patience": 5}).waits == 5
    assert Expectations.of(None) == Expectations()


class Pointing:
    """A planner of visits whose first exposure is of one detector alone."""

    planned_from = ()

    def __init__(self):
        self.looks, self.answer = 0, True

    def is_whole(self, candidate, rows):
        assert candidate == "o001"
        self.looks += 1
        return self.answer and bool(rows)

    def associations(self, program, candidates, rows):
        del program, candidates, rows
        return []


def pointed(arrival, first=0):
    """Three exposures, of which one detector has no first one."""
    return [
        arrival(
            f"{number}_{detector}_uncal", str((number + first) % 10), kind="exposure",
            candidates={"o001": None}, announced={f"visit 1/{detector}": 3},
        )
        for number in range(3) for detector in ("a", "b") if (number, detector) != (0, "b")
    ]  # fmt: skip


def test_a_detector_without_the_first_exposure_keeps_a_visit_waiting_minutes_only(
    store, arrival, clock, tmp_path
):
    planner = Pointing()
    expectations = Expectations(quiet=60, whole=300, patience=3600, late="wait")
    service = Service(tmp_path, store, None, planner, expectations=expectations)
    store.ingest(pointed(arrival))

    clock.now += 299
    assert service.associate() == 0
    assert planner.looks == 0
    clock.now += 2
    assert service.associate() == 1

    assert store.status()["candidates"] == {"COMPLETE": 1}
    assert store.short_candidates() == []
    (event,) = [one for one in store.events_after(0) if one["kind"] == "CandidateWhole"]
    assert event["told"] == {"name": "o001", "present": 5, "announced": 6}


def test_a_file_that_comes_after_all_has_the_visit_form_again(store, arrival, clock, tmp_path):
    service = Service(tmp_path, store, None, Pointing(), expectations=Expectations(whole=300))
    store.ingest(pointed(arrival))
    clock.now += 301
    service.associate()

    store.ingest([arrival("0_b_uncal", "z", kind="exposure", candidates={"o001": None},
                          announced={"visit 1/b": 3})])  # fmt: skip

    assert store.status()["candidates"] == {"FORMING": 1}
    assert service.associate() == 1  # at once: six of six
    assert store.status()["candidates"] == {"COMPLETE": 1}


def test_one_that_lacks_an_exposure_is_looked_at_once_and_waits_its_time(
    store, arrival, clock, tmp_path
):
    planner = Pointing()
    planner.answer = False
    service = Service(tmp_path, store, None, planner, expectations=Expectations(patience=3600))
    store.ingest(pointed(arrival))
    clock.now += 3500
    for _ in range(3):
        assert service.associate() == 0
    assert planner.looks == 1

    clock.now += 101

    assert service.associate() == 1
    assert store.status()["candidates"] == {"PARTIAL": 1}

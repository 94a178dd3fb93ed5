"""The archive store: generations, watch lists, jobs, on each kind of database."""

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DatabaseError

from lightmill.errors import UnknownNameError
from lightmill.workflow import machine as m
from lightmill.workflow.states import JobState, TaskState
from lightmill.workflow.store import Outcome, Store, TaskPlan, Verdict, create_store
from lightmill.workflow.store import tables as t


def exposure(name="x_uncal.fits", pipeline="calwebb_detector1"):
    return TaskPlan(f"exposure|{name}", name, "exposure", 1, pipeline, {name: "science"}, "p1")


def stack(*names, version=1):
    document = {"products": [{"name": "p", "members": list(names)}], "note": version}
    awaits = dict.fromkeys(names, "science")
    return TaskPlan("p1|o001|p", "p_asn.json", "image3", 3, "calwebb_image3", awaits, "p1", "o001",
                    document=document)  # fmt: skip


def state_of(store, task_id):
    with store.reading() as connection:
        return connection.execute(select(t.tasks).where(t.tasks.c.id == task_id)).one()


def run(store, job, *products):
    assert store.start(job.job_id, "test", 100.0, ["true"])
    store.finish(job.job_id, Outcome(True, products=products, exit_status=0))


def kinds(store):
    with store.reading() as connection:
        return list(connection.execute(select(t.events.c.kind).order_by(t.events.c.seq)).scalars())


@pytest.mark.parametrize(
    ("second", "verdict"),
    [
        ({}, Verdict.DUPLICATE),
        ({"content": "b", "generation": "2026-01-02"}, Verdict.NEWER),
        ({"content": "b", "generation": "2025-12-31"}, Verdict.STALE),
        ({"content": "b"}, Verdict.CONFLICT),
    ],
)
def test_a_second_delivery_is_one_of_four_things(store, arrival, second, verdict):
    assert store.ingest([arrival("x")]) == [Verdict.NEW]

    assert store.ingest([arrival("x", **second)]) == [verdict]

    with store.reading() as connection:
        current = connection.execute(
            select(t.datasets.c.sha256).where(t.datasets.c.state == "CURRENT")
        ).scalars()
        assert list(current) == [("b" if verdict is Verdict.NEWER else "a") * 64]


@pytest.mark.parametrize("is_good", [False, True])
def test_other_bytes_of_a_date_are_a_conflict_unless_the_first_were_of_no_use(
    store, arrival, is_good
):
    store.ingest([arrival("x_uncal.fits")], lambda _: exposure())
    (job,) = store.startable()
    store.start(job.job_id, "test", 100.0, [])
    running = store.ingest([arrival("x_uncal.fits", content="c")])
    store.finish(job.job_id, Outcome(is_good, "" if is_good else "it cannot be read"))

    verdict = store.ingest([arrival("x_uncal.fits", content="b")])

    assert running == [Verdict.CONFLICT]
    assert verdict == [Verdict.CONFLICT if is_good else Verdict.NEWER]
    state = state_of(store, job.task_id).state
    assert state == (TaskState.DONE if is_good else TaskState.READY)


def test_a_duplicate_wakes_nobody_and_leaves_one_event(store, arrival):
    store.ingest([arrival("x_uncal.fits")], lambda _: exposure())
    before = kinds(store)

    store.ingest([arrival("x_uncal.fits")], lambda _: exposure())

    assert kinds(store) == [*before, "DatasetDuplicate"]


def test_an_association_waits_for_its_last_member(store, arrival):
    (task,) = store.plan([stack("a", "b")])
    store.ingest([arrival("a")])

    assert state_of(store, task).state == TaskState.WAITING
    assert store.startable() == []

    store.ingest([arrival("b")])

    (job,) = store.startable()
    assert job.inputs == {"a": "p1/a/a", "b": "p1/a/b"}
    assert job.document["note"] == 1


def test_what_is_there_already_is_not_waited_for(store, arrival):
    store.ingest([arrival("a"), arrival("b")])

    (task,) = store.plan([stack("a", "b")])

    assert state_of(store, task).state == TaskState.READY
    assert len(store.startable()) == 1


def test_products_wake_what_waits_for_them_and_know_what_they_were_made_of(store, arrival):
    store.ingest([arrival("x_uncal.fits")], lambda _: exposure())
    store.plan([stack("x_rate.fits")])
    (first,) = store.startable()

    run(store, first, arrival("x_rate.fits", "r", kind="product"))

    (second,) = store.startable()
    assert second.type == "image3"
    assert [one.name for one in store.inputs_of(first.job_id)] == ["x_uncal.fits"]


def test_a_newer_generation_has_what_was_made_of_it_made_again(store, arrival):
    store.ingest([arrival("x_uncal.fits")], lambda _: exposure())
    run(store, store.startable()[0], arrival("x_rate.fits", "r", kind="product"))

    store.ingest([arrival("x_uncal.fits", "b", "2026-02-01")])

    (again,) = store.startable()
    assert again.number == 2
    assert again.inputs == {"x_uncal.fits": "p1/b/x_uncal.fits"}


def test_a_product_made_again_with_the_same_bytes_wakes_nobody(store, arrival):
    store.ingest([arrival("x_uncal.fits")], lambda _: exposure())
    store.plan([stack("x_rate.fits")])
    rate = arrival("x_rate.fits", "r", kind="product")
    run(store, store.startable()[0], rate)
    run(store, store.startable()[0])
    store.ingest([arrival("x_uncal.fits", "b", "2026-02-01")])

    run(store, store.startable()[0], rate)

    assert store.startable() == []
    assert store.status()["tasks"] == {"DONE": 2}


def test_an_association_made_again_identical_is_not_run_again(store, arrival):
    store.ingest([arrival("a"), arrival("b")])
    store.plan([stack("a", "b")])
    run(store, store.startable()[0])

    assert store.plan([stack("a", "b")]) == []
    assert store.startable() == []


def test_a_late_member_makes_a_new_version_and_supersedes_the_old(store, arrival):
    store.ingest([arrival("a"), arrival("b")])
    (old,) = store.plan([stack("a")])

    (new,) = store.plan([stack("a", "b")])

    assert state_of(store, old).state == TaskState.SUPERSEDED
    assert state_of(store, new).version == 2
    assert [job.task_id for job in store.startable()] == [new]


def test_candidates_are_due_when_complete_or_when_nothing_comes_any_more(store, arrival, clock):
    store.ingest([arrival("a", candidates={"o001": 2, "o002": None})])
    assert store.due_candidates(60) == []

    store.ingest([arrival("b", candidates={"o001": 2})])
    assert [row.name for row in store.due_candidates(60)] == ["o001"]

    clock.now += 61
    due = store.due_candidates(60)
    assert [row.name for row in due] == ["o001", "o002"]
    store.plan([], candidates=due, program="p1")
    assert store.due_candidates(60) == []
    assert store.status()["candidates"] == {"COMPLETE": 2}


def test_an_exposure_that_comes_while_associations_are_made_is_not_forgotten(store, arrival, clock):
    store.ingest([arrival("a", candidates={"o001": None})])
    clock.now += 61
    due = store.due_candidates(60)
    store.ingest([arrival("b", candidates={"o001": None})])

    store.plan([], candidates=due, program="p1")
    clock.now += 61

    assert [row.present for row in store.due_candidates(60)] == [2]


def test_associations_nobody_makes_any_more_are_superseded(store, arrival, clock):
    store.ingest([arrival("a", candidates={"o001": None})])
    (task,) = store.plan([stack("a")])
    clock.now += 61

    store.plan([], candidates=store.due_candidates(60), program="p1")

    assert state_of(store, task).state == TaskState.SUPERSEDED
    assert store.startable() == []


def test_first_stages_are_left_alone_by_what_is_made_of_a_candidate(store, arrival, clock):
    plan = TaskPlan("exposure|x", "x", "exposure", 1, "one", {"x": "science"}, "p1", "o001")
    store.ingest([arrival("x", candidates={"o001": None})], lambda _: plan)
    clock.now += 61

    store.plan([], candidates=store.due_candidates(60), program="p1")

    assert store.status()["tasks"] == {"READY": 1}


def test_a_passing_failure_is_queued_again_after_a_pause(store, arrival, clock):
    store.ingest([arrival("x_uncal.fits")], lambda _: exposure())
    (job,) = store.startable()
    store.start(job.job_id, "test", 100.0, [])
    store.finish(job.job_id, Outcome(False, "killed", is_transient=True, is_lost=True))

    assert store.startable() == []
    clock.now += 11
    assert [one.number for one in store.startable()] == [2]
    assert store.status()["jobs"] == {"LOST": 1, "QUEUED": 1}


def test_a_job_that_was_noted_to_have_ended_does_not_end_twice(store, arrival):
    store.ingest([arrival("x_uncal.fits")], lambda _: exposure())
    (job,) = store.startable()
    run(store, job, arrival("x_rate.fits", "r", kind="product"))
    before = kinds(store)

    store.finish(job.job_id, Outcome(False, "lost", is_lost=True))

    assert kinds(store) == before


def test_a_job_that_was_stopped_leaves_no_products(store, arrival):
    store.ingest([arrival("x_uncal.fits")], lambda _: exposure())
    (job,) = store.startable()
    store.start(job.job_id, "test", 100.0, [])
    store.apply(job.task_id, m.Hold("look"))
    (running,) = store.unfinished()
    assert running.is_cancelled

    store.finish(job.job_id, Outcome(True, products=(arrival("x_rate.fits", "r"),)))

    assert store.status()["jobs"] == {"CANCELLED": 1}
    assert store.status()["datasets"] == {"CURRENT": 1}


def test_a_job_that_was_taken_back_does_not_start(store, arrival):
    store.ingest([arrival("x_uncal.fits")], lambda _: exposure())
    (job,) = store.startable()
    store.apply(job.task_id, m.Cancel("not needed"))

    assert not store.start(job.job_id, "test", 100.0, [])
    assert state_of(store, job.task_id).state == TaskState.CANCELLED


def test_a_second_job_of_a_task_waits_for_the_end_of_the_first(store, arrival):
    store.ingest([arrival("x_uncal.fits")], lambda _: exposure())
    (job,) = store.startable()
    store.start(job.job_id, "test", 100.0, [])
    store.ingest([arrival("x_uncal.fits", "b", "2026-02-01")])
    assert store.startable() == []

    store.finish(job.job_id, Outcome(False, "cancelled"))

    assert [one.number for one in store.startable()] == [2]


def test_the_highest_priority_is_first_and_then_what_is_nearest_to_its_end(store, arrival):
    store.ingest([arrival("a"), arrival("b")], lambda one: exposure(one.name))
    store.plan([stack("a", "b")])
    assert [job.name for job in store.startable()] == ["p_asn.json", "a", "b"]

    store.apply(store.startable()[2].task_id, m.Prioritise(5))

    assert [job.name for job in store.startable()] == ["b", "p_asn.json", "a"]


def test_operators_are_named_in_the_events(store, arrival):
    store.ingest([arrival("x_uncal.fits")], lambda _: exposure())
    (job,) = store.startable()

    store.apply(job.task_id, m.Hold("clouds"), who="mary")

    with store.reading() as connection:
        event = connection.execute(select(t.events).where(t.events.c.kind == "TaskHold")).one()
    assert (event.who, event.told["reason"]) == ("mary", "clouds")
    with pytest.raises(UnknownNameError):
        store.apply(999, m.Release())


def test_events_are_never_changed(store, arrival):
    store.ingest([arrival("x")])

    for order in ("UPDATE events SET kind = 'X'", "DELETE FROM events"):
        with pytest.raises(DatabaseError), store.engine.begin() as connection:
            connection.execute(text(order))


def test_settings_are_kept_and_a_store_is_created_once(store, place):
    store.set(policy={"redo": "on approval"})

    create_store(place)

    again = Store(place)
    assert again.setting("policy") == {"redo": "on approval"}
    assert again.setting("nothing", 7) == 7
    again.close()


def test_an_empty_store_is_idle(store, arrival):
    assert store.is_idle()
    store.ingest([arrival("x_uncal.fits")], lambda _: exposure())
    assert not store.is_idle()
    (job,) = store.startable()
    run(store, job)
    assert store.is_idle()
    assert store.status()["jobs"] == {str(JobState.DONE): 1}

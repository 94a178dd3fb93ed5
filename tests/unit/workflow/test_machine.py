"""The state machine of tasks: what each event does in each state."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmill.workflow import machine as m
from lightmill.workflow.machine import Policy, Task, handle
from lightmill.workflow.states import TaskState as S


def test_nothing_starts_before_the_last_file_is_there():
    waiting = Task(missing=2)

    one_left, nothing = handle(waiting, m.Arrived("a"))
    ready, commands = handle(one_left, m.Arrived("b"))

    assert (one_left.state, nothing) == (S.WAITING, [])
    assert (ready.state, commands) == (S.READY, [m.Queue()])


def test_a_passing_failure_is_tried_again_after_longer_and_longer_pauses():
    policy = Policy(attempts=3, pause=10)
    task, pauses = Task(S.READY), []
    for _ in range(3):
        task, _ = handle(task, m.Started(), policy)
        task, commands = handle(task, m.Crashed("node lost", is_transient=True), policy)
        pauses += [one.pause for one in commands]

    assert task.state is S.FAILED
    assert task.reason == "node lost"
    assert pauses == [10, 40]


def test_bad_data_are_not_tried_again():
    task, commands = handle(Task(S.RUNNING), m.Crashed("no science data"))

    assert (task.state, commands) == (S.FAILED, [])


def test_out_of_memory_asks_for_more():
    task, (again,) = handle(Task(S.RUNNING), m.Crashed("killed", is_out_of_memory=True))

    assert task.memory_factor == 2
    assert isinstance(again, m.Queue)


def test_a_change_while_it_runs_stops_the_job_and_queues_another():
    task, commands = handle(Task(S.RUNNING), m.InputChanged("newer"))

    assert task.state is S.READY
    assert commands == [m.StopJob(), m.Queue()]


@pytest.mark.parametrize(("redo", "state"), [("at once", S.READY), ("on approval", S.STALE)])
def test_a_change_of_what_is_done_follows_the_policy(redo, state):
    task, _ = handle(Task(S.DONE), m.InputChanged("newer"), Policy(redo=redo))

    assert task.state is state


def test_what_is_held_notes_arrivals_and_goes_on_where_it_was():
    held, _ = handle(Task(S.WAITING, missing=1), m.Hold("look first"))
    noted, nothing = handle(held, m.Arrived("a"))
    released, commands = handle(noted, m.Release())

    assert (noted.state, nothing) == (S.HELD, [])
    assert (released.state, commands) == (S.READY, [m.Queue()])


def test_a_change_of_what_is_held_and_was_done_makes_it_stale():
    held, _ = handle(Task(S.DONE), m.Hold())
    changed, _ = handle(held, m.InputChanged("newer"))
    released, _ = handle(changed, m.Release())

    assert released.state is S.STALE


def test_operators_are_told_what_a_state_does_not_allow():
    with pytest.raises(m.NotNow, match="cannot be asked to retry") as caught:
        handle(Task(S.RUNNING), m.Retry())

    assert "FAILED" in caught.value.expected


def test_what_is_superseded_stays_so():
    task = Task(S.SUPERSEDED)

    for event in (m.Arrived("a"), m.InputChanged("b"), m.Lost("c"), m.Crashed("d"), m.Replaced()):
        assert handle(task, event) == (task, [])


def test_every_state_is_left_but_one_and_has_words():
    left = {state for state, _ in m.TRANSITIONS}

    assert set(S) - left == {S.SUPERSEDED}
    assert all(len(state.guarantee) > 20 for state in S)


EVENTS = st.one_of(
    st.builds(m.Arrived, st.just("x")),
    st.builds(m.Lost, st.just("x"), st.just("bad")),
    st.just(m.Started()),
    st.just(m.Succeeded()),
    st.builds(m.Crashed, st.just("r"), st.booleans(), st.booleans()),
    st.builds(m.InputChanged, st.just("newer")),
    st.just(m.Replaced("v2")),
    st.just(m.Hold()), st.just(m.Release()), st.just(m.Retry()), st.just(m.Cancel()),
    st.just(m.Reprocess()), st.builds(m.Prioritise, st.integers(-5, 5)),
)  # fmt: skip


@given(
    st.lists(EVENTS, max_size=60), st.integers(0, 3), st.sampled_from(["at once", "on approval"])
)
def test_in_any_order_of_events_there_is_one_job_for_what_is_ready_and_none_before(
    events, missing, redo
):
    policy = Policy(redo=redo)
    task = Task(missing=missing + 1)
    queued = running = 0
    for event in [m.Arrived("the watch list"), *events]:
        if isinstance(event, m.Started):
            if not queued or task.state is not S.READY:
                continue  # the store starts only what is queued
            queued, running = queued - 1, running + 1
        if isinstance(event, m.Succeeded | m.Crashed):
            if not running:
                continue  # the store hears only of jobs that run and were not stopped
            running -= 1
        try:
            task, commands = handle(task, event, policy)
        except m.NotNow:
            continue
        for command in commands:
            if isinstance(command, m.StopJob):
                queued = running = 0
            else:
                queued += 1

        assert task.missing >= 0
        assert queued == (task.state is S.READY)
        assert running == (task.state is S.RUNNING)
        assert not (task.state in {S.READY, S.RUNNING} and task.missing)


def test_the_same_events_give_the_same_task():
    events = [m.Arrived("a"), m.Started(), m.Crashed("x", is_transient=True), m.Started()]
    first = second = Task(missing=1)
    for event in events:
        first, second = handle(first, event)[0], handle(replace(second), event)[0]

    assert first == second

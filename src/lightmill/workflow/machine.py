"""What happens to a task when something happens: pure, replayable.

No clock, disk, process or store is seen here. The store keeps tasks and events, applies `handle`
in one transaction, and turns commands into rows; the service carries the rows out.
"""

# ruff: noqa: ARG001 - all actions have one signature
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from lightmill.errors import LightmillError
from lightmill.workflow.states import TaskState

__all__ = [
    "TRANSITIONS",
    "Arrived",
    "Cancel",
    "Command",
    "Crashed",
    "Event",
    "Hold",
    "InputChanged",
    "Lost",
    "NotNow",
    "Policy",
    "Prioritise",
    "Queue",
    "Release",
    "Replaced",
    "Reprocess",
    "Retry",
    "Settled",
    "Started",
    "StopJob",
    "Succeeded",
    "Task",
    "handle",
]  # fmt: skip


class NotNow(LightmillError):  # noqa: N818 - says what is the matter
    """An operator asked for what a task's state does not allow."""

    code = "not-now"
    exit_status = 2


@dataclass(frozen=True)
class Task:
    """What the machine has to know of an association, or of the first stage of an exposure.

    Attributes
    ----------
    state : TaskState
    missing : int
        Files of its watch list that are not there.
    attempts : int
        Jobs that failed since the last success or operator's retry.
    memory_factor : float
        What the need for memory is multiplied with, after attempts that had too little.
    priority : int
        The higher, the sooner.
    reason : str
        Of the state, for people.
    held_from : str
        State it was held in.
    changed : str
        What changed and has not been asked for yet: because the job that runs was begun before, or
        because something else it is made of is being made again.
    """

    state: TaskState = TaskState.WAITING
    missing: int = 0
    attempts: int = 0
    memory_factor: float = 1.0
    priority: int = 0
    reason: str = ""
    held_from: str = ""
    changed: str = ""


@dataclass(frozen=True)
class Policy:
    """What an observatory decides once for all tasks."""

    attempts: int = 3  # jobs until a task that fails for a passing reason is FAILED
    pause: float = 10.0  # seconds before the second attempt; four times as long each time
    memory_growth: float = 2.0  # after an attempt that ran out of memory
    # "at once" or "on approval": what becomes of a task when a file that was delivered replaces one
    # it was made of. Products and what operators change need no approval: that was given before.
    redo: str = "at once"
    # "content": a newer generation with the content of the one before changes nothing;
    # "generation": whatever is newer does.
    differs: str = "content"
    # "stop": a task whose data are bad has failed, and what waits for it waits for an operator;
    # "quarantine": the delivered file that it names is set aside, and the rest goes on without it.
    bad_data: str = "stop"


# -- events ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Event:
    """Something that happened."""


@dataclass(frozen=True)
class Arrived(Event):
    """A file of the watch list is there for the first time."""

    name: str = ""


@dataclass(frozen=True)
class Lost(Event):
    """A file of the watch list can no longer be used."""

    name: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Started(Event):
    """A process works on the task."""


@dataclass(frozen=True)
class Succeeded(Event):
    """The job ended well, and its products are in the archive."""


@dataclass(frozen=True)
class Crashed(Event):
    """The job ended badly."""

    reason: str = ""
    is_transient: bool = False  # killed, node lost, disk full: the same again may go well
    is_out_of_memory: bool = False
    is_no_fault: bool = False  # the disk was full: it is tried again, and does not count


@dataclass(frozen=True)
class InputChanged(Event):
    """What the task was made of, or is to be made of, is not what it was."""

    reason: str = ""
    is_approved: bool = False  # whatever the policy says about approval
    is_deferred: bool = False  # something else it is made of is being made again: not before that


@dataclass(frozen=True)
class Settled(Event):
    """Something the task is made of has been made again, and is what it was."""

    name: str = ""


@dataclass(frozen=True)
class Replaced(Event):
    """A newer version of the association is there, or none is made any more."""

    reason: str = ""


@dataclass(frozen=True)
class Hold(Event):
    """An operator stops the task."""

    reason: str = ""


@dataclass(frozen=True)
class Release(Event):
    """An operator lets a held task go on."""


@dataclass(frozen=True)
class Retry(Event):
    """An operator has a failed task tried again."""


@dataclass(frozen=True)
class Cancel(Event):
    """An operator gives the task up."""

    reason: str = ""


@dataclass(frozen=True)
class Reprocess(Event):
    """An operator has the task done again although nothing it was made of is known to differ."""

    reason: str = ""
    is_deferred: bool = False  # something it is made of is being made again: not before that


@dataclass(frozen=True)
class Prioritise(Event):
    """An operator has the task done sooner or later than others."""

    priority: int = 0


# -- commands --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Command:
    """Something to be done."""


@dataclass(frozen=True)
class Queue(Command):
    """Make a job, to be started after a pause [s]."""

    pause: float = 0.0


@dataclass(frozen=True)
class StopJob(Command):
    """Take the queued job back, or stop the one that runs."""


# -- the table -------------------------------------------------------------------------------------

Answer = tuple[Task, list[Command]]
Action = Callable[[Task, Any, Policy], Answer]
S = TaskState


def handle(task: Task, event: Event, policy: Policy = Policy()) -> Answer:
    """Return what becomes of a task, and what has to be done.

    Parameters
    ----------
    task : Task
        It is not changed.
    event : Event
        What happened.
    policy : Policy
        What the observatory decided.

    Returns
    -------
    task : Task
        As it is from now on.
    commands : list of Command
        In order.

    Raises
    ------
    NotNow
        If an operator asks for what the state does not allow. What happens by itself is never
        refused: where it means nothing, nothing happens.
    """
    action = TRANSITIONS.get((task.state, type(event)))
    if action is not None:
        return action(task, event, policy)
    if isinstance(event, Hold | Release | Retry | Cancel | Reprocess):
        allowed = sorted(state for state, kind in TRANSITIONS if kind is type(event))
        raise NotNow(
            f"a task that is {task.state} cannot be asked to {type(event).__name__.lower()}",
            found=task.state,
            expected=", ".join(allowed),
            remedy="look at the task again: its state may have changed meanwhile",
        )
    return task, []


def _queued(task: Task, reason: str = "", pause: float = 0.0) -> Answer:
    return replace(task, state=S.READY, reason=reason), [Queue(pause)]


def _ready_or_waiting(task: Task, reason: str = "") -> Answer:
    """Go on from what is there."""
    if task.missing:
        return replace(task, state=S.WAITING, reason=reason), []
    return _queued(task, reason)


def _arrived(task: Task, event: Arrived, policy: Policy) -> Answer:
    task = replace(task, missing=max(0, task.missing - 1))
    return _queued(task) if task.missing == 0 else (task, [])


def _noted(task: Task, event: Arrived, policy: Policy) -> Answer:
    return replace(task, missing=max(0, task.missing - 1)), []


def _arrived_again(task: Task, event: Arrived, policy: Policy) -> Answer:
    """Go on with a task that failed, now that a file it had lost is back."""
    task = replace(task, missing=max(0, task.missing - 1))
    return _again(task, f"{event.name} is there again") if task.missing == 0 else (task, [])


def _lost(task: Task, event: Lost, policy: Policy) -> Answer:
    reason = f"{event.name}: {event.reason}"
    return replace(task, missing=task.missing + 1, reason=reason), []


def _lost_while_queued(task: Task, event: Lost, policy: Policy) -> Answer:
    task, _ = _lost(task, event, policy)
    return replace(task, state=S.WAITING), [StopJob()]


def _started(task: Task, event: Started, policy: Policy) -> Answer:
    return replace(task, state=S.RUNNING, reason=""), []


def _succeeded(task: Task, event: Succeeded, policy: Policy) -> Answer:
    """Note that it is done; of what was there when its job began."""
    state = S.STALE if task.changed else S.DONE
    reason = task.changed
    return replace(task, state=state, reason=reason, changed="", attempts=0, memory_factor=1.0), []


def _crashed(task: Task, event: Crashed, policy: Policy) -> Answer:
    if task.changed:  # to be tried again of what nobody approved
        return replace(task, state=S.STALE, reason=task.changed, changed=""), []
    if event.is_no_fault:
        return _queued(task, event.reason, policy.pause)
    task = replace(task, attempts=task.attempts + 1, reason=event.reason)
    if event.is_out_of_memory:
        task = replace(task, memory_factor=task.memory_factor * policy.memory_growth)
    if (event.is_transient or event.is_out_of_memory) and task.attempts < policy.attempts:
        return _queued(task, event.reason, policy.pause * 4.0 ** (task.attempts - 1))
    return replace(task, state=S.FAILED), []


def _may_redo(event: InputChanged, policy: Policy) -> bool:
    return event.is_approved or policy.redo == "at once"


def _changed_while_queued(task: Task, event: InputChanged, policy: Policy) -> Answer:
    if _may_redo(event, policy):
        return task, []  # the job is given its inputs when it starts
    return replace(task, state=S.STALE, reason=event.reason), [StopJob()]


def _changed_while_running(task: Task, event: InputChanged, policy: Policy) -> Answer:
    if _may_redo(event, policy):
        return _queued(task, event.reason)[0], [StopJob(), Queue()]
    return replace(task, changed=event.reason), []  # what runs was approved


def _changed(task: Task, event: InputChanged, policy: Policy) -> Answer:
    if not _may_redo(event, policy):
        return replace(task, state=S.STALE, reason=event.reason, changed=""), []
    if event.is_deferred:
        return replace(task, changed=event.reason), []
    return _again(task, event.reason)


def _settled(task: Task, event: Settled, policy: Policy) -> Answer:
    """Go on with what was put off."""
    return _again(task, task.changed) if task.changed else (task, [])


def _again(task: Task, reason: str) -> Answer:
    fresh = replace(task, attempts=0, memory_factor=1.0, changed="")
    return _ready_or_waiting(fresh, reason)


def _changed_failed(task: Task, event: InputChanged, policy: Policy) -> Answer:
    return _again(task, event.reason)


def _replaced(task: Task, event: Replaced, policy: Policy) -> Answer:
    done = replace(task, state=S.SUPERSEDED, reason=event.reason, held_from="")
    return done, [StopJob()] if task.state in {S.READY, S.RUNNING} else []


def _hold(task: Task, event: Hold, policy: Policy) -> Answer:
    held = replace(task, state=S.HELD, held_from=task.state, reason=event.reason)
    return held, [StopJob()] if task.state in {S.READY, S.RUNNING} else []


def _release(task: Task, event: Release, policy: Policy) -> Answer:
    before, task = S(task.held_from), replace(task, held_from="")
    if before in {S.DONE, S.STALE, S.FAILED}:
        return replace(task, state=before, reason=""), []
    return _ready_or_waiting(task)


def _changed_held(task: Task, event: InputChanged, policy: Policy) -> Answer:
    if task.held_from == S.DONE:
        return replace(task, held_from=S.STALE, reason=event.reason), []
    return task, []


def _retry(task: Task, event: Retry, policy: Policy) -> Answer:
    return _again(task, "an operator asked for it")


def _cancel(task: Task, event: Cancel, policy: Policy) -> Answer:
    given_up = replace(task, state=S.CANCELLED, reason=event.reason, held_from="")
    return given_up, [StopJob()] if task.state in {S.READY, S.RUNNING} else []


def _reprocess(task: Task, event: Reprocess, policy: Policy) -> Answer:
    reason = event.reason or "an operator asked for it"
    if event.is_deferred and task.state in {S.DONE, S.STALE}:
        return replace(task, changed=reason), []
    return _again(task, reason)


def _prioritise(task: Task, event: Prioritise, policy: Policy) -> Answer:
    return replace(task, priority=event.priority), []


TRANSITIONS: dict[tuple[TaskState, type[Event]], Action] = {
    (S.WAITING, Arrived): _arrived,
    (S.WAITING, Lost): _lost,
    (S.READY, Started): _started,
    (S.READY, Lost): _lost_while_queued,
    (S.READY, InputChanged): _changed_while_queued,
    (S.RUNNING, Succeeded): _succeeded,
    (S.RUNNING, Crashed): _crashed,
    (S.RUNNING, InputChanged): _changed_while_running,
    (S.RUNNING, Lost): _lost_while_queued,
    (S.DONE, InputChanged): _changed,
    (S.DONE, Lost): _lost,
    (S.DONE, Arrived): _noted,
    (S.DONE, Reprocess): _reprocess,
    (S.DONE, Settled): _settled,
    (S.STALE, InputChanged): _changed,
    (S.STALE, Lost): _lost,
    (S.STALE, Arrived): _noted,
    (S.STALE, Reprocess): _reprocess,
    (S.STALE, Settled): _settled,
    (S.FAILED, InputChanged): _changed_failed,
    (S.FAILED, Arrived): _arrived_again,
    (S.FAILED, Lost): _lost,
    (S.FAILED, Retry): _retry,
    (S.FAILED, Reprocess): _reprocess,
    (S.CANCELLED, Arrived): _noted,
    (S.CANCELLED, Lost): _lost,
    (S.CANCELLED, Reprocess): _reprocess,
    (S.CANCELLED, Retry): _retry,
    (S.HELD, Arrived): _noted,
    (S.HELD, Lost): _lost,
    (S.HELD, InputChanged): _changed_held,
    (S.HELD, Release): _release,
    **{(state, Replaced): _replaced for state in S if state is not S.SUPERSEDED},
    **{
        (state, Hold): _hold for state in (S.WAITING, S.READY, S.RUNNING, S.DONE, S.STALE, S.FAILED)
    },
    **{
        (state, Cancel): _cancel
        for state in (S.WAITING, S.READY, S.RUNNING, S.STALE, S.FAILED, S.HELD)
    },
    **{(state, Prioritise): _prioritise for state in S if state is not S.SUPERSEDED},
}

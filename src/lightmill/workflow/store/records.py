"""Rows of the store as values of the state machine, and back, within somebody's transaction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from lightmill.workflow.machine import Event, Queue, StopJob, Task, handle
from lightmill.workflow.states import JobState, TaskState
from lightmill.workflow.store import tables as t

if TYPE_CHECKING:
    from lightmill.workflow.store.store import Store
    from lightmill.workflow.store.values import TaskPlan

__all__ = ["chunks", "digest_of", "note", "step"]

# Of an association: what changes from run to run of the generator and means nothing.
VOLATILE = ("version_id", "code_version", "asn_pool")


CHUNK = 400  # values in one statement: fewer than any database allows


def chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield parts of a sequence that fit into one statement."""
    for first in range(0, len(values), CHUNK):
        yield values[first : first + CHUNK]


def digest_of(plan: TaskPlan) -> str:
    """Return the checksum of what a task is made of."""
    left_out = plan.description.union(VOLATILE)
    document = {k: v for k, v in (plan.document or {}).items() if k not in left_out}
    content = [plan.type, plan.pipeline, sorted(plan.awaits.items()), document]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def note(
    store: Store,
    connection: Any,
    kind: str,
    subject: str,
    subject_id: int | None,
    told: dict[str, Any],
    *,
    who: str = "",
) -> float:
    """Write an event; return its time."""
    now = store.clock()
    connection.execute(
        insert(t.events).values(
            at=now, kind=kind, subject=subject, subject_id=subject_id, who=who or store.who,
            told=told,
        )
    )  # fmt: skip
    return now


def step(store: Store, connection: Any, task_id: int, event: Event, *, who: str = "") -> TaskState:
    """Let the machine decide about a task, and write down what it said."""
    k = t.tasks.c
    row = connection.execute(
        select(
            k.state, k.missing, k.attempts, k.memory_factor, k.priority, k.reason, k.held_from,
            k.changed, k.turn,
        )
        .where(k.id == task_id)
        .with_for_update()
    ).one()  # fmt: skip
    before = Task(
        TaskState(row.state), row.missing, row.attempts, row.memory_factor, row.priority,
        row.reason, row.held_from, row.changed,
    )  # fmt: skip
    after, commands = handle(before, event, store.policy)
    told = {key: value for key, value in asdict(event).items() if value not in ("", False)}
    told |= {"from": before.state, "to": after.state}
    now = note(store, connection, f"Task{type(event).__name__}", "task", task_id, told, who=who)
    values: dict[str, Any] = {
        "state": after.state, "missing": after.missing, "attempts": after.attempts,
        "memory_factor": after.memory_factor, "priority": after.priority, "reason": after.reason,
        "held_from": after.held_from, "changed": after.changed, "turn": row.turn + 1,
    }  # fmt: skip
    if after.state != before.state:
        values["since_at"] = now
    connection.execute(update(t.tasks).where(k.id == task_id).values(values))
    for command in commands:
        if isinstance(command, StopJob):
            _stop(connection, task_id, now)
        elif isinstance(command, Queue):
            _queue(connection, task_id, after.priority, now, command.pause)
    return after.state


def _queue(connection: Any, task_id: int, priority: int, now: float, pause: float) -> None:
    j = t.jobs.c
    number = connection.execute(
        select(func.coalesce(func.max(j.number), 0)).where(j.task_id == task_id)
    ).scalar_one()
    connection.execute(
        insert(t.jobs).values(
            task_id=task_id, number=number + 1, state=JobState.QUEUED, priority=priority,
            not_before=now + pause if pause else 0.0, queued_at=now,
        )
    )  # fmt: skip


def _stop(connection: Any, task_id: int, now: float) -> None:
    j = t.jobs.c
    connection.execute(
        update(t.jobs)
        .where(j.task_id == task_id, j.state == JobState.QUEUED)
        .values(state=JobState.CANCELLED, is_cancelled=True, ended_at=now)
    )
    connection.execute(
        update(t.jobs)
        .where(j.task_id == task_id, j.state == JobState.RUNNING)
        .values(is_cancelled=True)
    )

"""Tasks into the store: those that ought to be, and newer versions of those that are not so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from lightmill.workflow.machine import Replaced
from lightmill.workflow.states import CandidateState, DatasetState, JobState, TaskState
from lightmill.workflow.store import tables as t
from lightmill.workflow.store.records import chunks, digest_of, note, step
from lightmill.workflow.store.staleness import retire_products, settle
from lightmill.workflow.store.values import TaskPlan

if TYPE_CHECKING:
    from lightmill.workflow.store.store import Store

__all__ = ["close_candidate", "drop_unplanned", "ensure", "give_up_candidate"]

OVER = (TaskState.SUPERSEDED, TaskState.CANCELLED)


def ensure(store: Store, connection: Any, plans: Sequence[TaskPlan]) -> list[int]:
    """Make the tasks of plans, where there are none like them.

    A task whose association changed is superseded by a new version; one that was superseded
    comes back as a new version.

    Returns
    -------
    made : list of int
        The tasks that are new.
    """
    latest = _latest(connection, [plan.identity for plan in plans])
    new: list[tuple[TaskPlan, int, str]] = []
    for plan in plans:
        last, digest = latest.get(plan.identity), digest_of(plan)
        version = 1
        if last is not None:
            if last.document_sha256 == digest and last.state != TaskState.SUPERSEDED:
                _described(store, connection, last, plan)
                continue
            version = last.version + 1
            step(store, connection, last.id, Replaced(f"version {version} of it was made"))
        new.append((plan, version, digest))
    return _made(store, connection, new) if new else []


def _described(store: Store, connection: Any, last: Any, plan: TaskPlan) -> None:
    """Write down a new description of a task, of which nothing has to be redone."""
    new, old = plan.document or {}, last.document or {}
    keys = sorted(key for key in plan.description if new.get(key) != old.get(key))
    if not keys:
        return
    connection.execute(update(t.tasks).where(t.tasks.c.id == last.id).values(document=dict(new)))
    told = {"changed": {key: [old.get(key), new.get(key)] for key in keys}}
    note(store, connection, "TaskDescribed", "task", last.id, told)


def _latest(connection: Any, identities: list[str]) -> dict[str, Any]:
    k = t.tasks.c
    found = {}
    for some in chunks(identities):
        newest = (
            select(k.identity, func.max(k.version).label("version"))
            .where(k.identity.in_(some))
            .group_by(k.identity)
            .subquery()
        )
        rows = connection.execute(
            select(k.id, k.identity, k.version, k.state, k.document_sha256, k.document).join(
                newest, (k.identity == newest.c.identity) & (k.version == newest.c.version)
            )
        ).all()
        found.update({row.identity: row for row in rows})
    return found


def _made(store: Store, connection: Any, new: Sequence[tuple[TaskPlan, int, str]]) -> list[int]:
    """Write tasks down with their watch lists; queue those of which everything is there."""
    d, now = t.datasets.c, store.clock()
    names = sorted({name for plan, _, _ in new for name in plan.awaits})
    present = {
        name
        for some in chunks(names)
        for name in connection.execute(
            select(d.name).where(d.name.in_(some), d.state == DatasetState.CURRENT)
        ).scalars()
    }
    missing = [len(set(plan.awaits) - present) for plan, _, _ in new]
    states = [TaskState.WAITING if count else TaskState.READY for count in missing]
    rows = [
        {
            "identity": plan.identity, "version": version, "name": plan.name, "type": plan.type,
            "level": plan.level, "pipeline": plan.pipeline, "program": plan.program,
            "candidate": plan.candidate, "target": plan.target,
            "document": None if plan.document is None else dict(plan.document),
            "document_sha256": digest, "state": state, "missing": count, "since_at": now,
        }
        for (plan, version, digest), count, state in zip(new, missing, states, strict=True)
    ]  # fmt: skip
    ids = list(
        connection.execute(
            insert(t.tasks).returning(t.tasks.c.id, sort_by_parameter_order=True), rows
        ).scalars()
    )
    made = list(zip(ids, new, states, strict=True))
    connection.execute(
        insert(t.events),
        [
            {
                "at": now, "kind": "TaskPlanned", "subject": "task", "subject_id": task_id,
                "who": store.who,
                "told": {"name": plan.name, "type": plan.type, "version": version,
                         "awaits": list(plan.awaits), "to": state},
            }
            for task_id, (plan, version, _), state in made
        ],
    )  # fmt: skip
    connection.execute(
        insert(t.awaited),
        [
            {
                "task_id": task_id,
                "name": name,
                "role": role,
                "is_present": name in present,
                "is_content": name not in plan.presences,
            }
            for task_id, (plan, _, _), _ in made
            for name, role in plan.awaits.items()
        ],
    )
    ready = [task_id for task_id, _, state in made if state is TaskState.READY]
    if ready:
        job = {"number": 1, "state": JobState.QUEUED, "not_before": 0.0, "queued_at": now}
        connection.execute(insert(t.jobs), [{"task_id": one, **job} for one in ready])
    return ids


def drop_unplanned(
    store: Store, connection: Any, program: str, candidates: set[str], plans: Sequence[TaskPlan]
) -> None:
    """Supersede associations of candidates that nobody plans any more."""
    k = t.tasks.c
    planned = {plan.identity for plan in plans}
    rows = connection.execute(
        select(k.id, k.identity).where(
            k.program == program, k.candidate.in_(candidates), k.state.not_in(OVER),
            k.level > 1,  # first stages are no association's
        )
    ).all()  # fmt: skip
    for task_id, identity in rows:
        if identity not in planned:
            reason = "no longer made of the candidate"
            step(store, connection, task_id, Replaced(reason))
            retire_products(store, connection, task_id, reason)
            settle(store, connection, task_id)


def close_candidate(store: Store, connection: Any, row: Any) -> None:
    """Note that the associations of a candidate are made of what it had when it was read."""
    is_partial = row.expected is not None and row.present < row.expected
    _close(
        store, connection, row, CandidateState.PARTIAL if is_partial else CandidateState.COMPLETE
    )


def give_up_candidate(store: Store, connection: Any, row: Any) -> None:
    """Note that no associations are made of a candidate, as it was when it was read."""
    _close(store, connection, row, CandidateState.GIVEN_UP)


def _close(store: Store, connection: Any, row: Any, state: CandidateState) -> None:
    c = t.candidates.c
    kind = "Candidate" + "".join(word.capitalize() for word in state.split("_"))
    facts = {"name": row.name, "present": row.present, "expected": row.expected}
    note(store, connection, kind, "candidate", row.id, facts)
    connection.execute(  # not if another exposure came meanwhile
        update(t.candidates)
        .where(c.id == row.id, c.changed_at == row.changed_at, c.present == row.present)
        .values(state=state, is_dirty=False)
    )

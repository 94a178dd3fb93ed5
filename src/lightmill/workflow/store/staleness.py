"""What a change means for the tasks that are made of it: whether, why and when they are redone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from lightmill.errors import UnknownNameError
from lightmill.workflow.machine import Arrived, InputChanged, Lost, Settled
from lightmill.workflow.states import DatasetState, JobState, TaskState
from lightmill.workflow.store import tables as t
from lightmill.workflow.store.membership import join, restored
from lightmill.workflow.store.records import chunks, note, step
from lightmill.workflow.store.values import Arrival, Verdict

if TYPE_CHECKING:
    from lightmill.workflow.store.store import Store

__all__ = [
    "change",
    "describe",
    "go_on",
    "instate",
    "is_fed_by_work",
    "retire_others",
    "retire_products",
    "set_aside",
    "settle",
    "wake",
    "withdraw",
]

AT_WORK = (TaskState.READY, TaskState.RUNNING, TaskState.STALE)


def wake(
    store: Store,
    connection: Any,
    arrivals: Sequence[tuple[Arrival, Verdict]],
    *,
    is_approved: bool,
) -> None:
    """Tell all that wait for files, or were made of other content of them.

    Parameters
    ----------
    store : Store
    connection : Connection
        In a transaction.
    arrivals : sequence of (Arrival, Verdict)
        That are current now.
    is_approved : bool
        Whether what was made of other content may be redone whatever the policy says.
    """
    a, k = t.awaited.c, t.tasks.c
    given = {one.name: (one, verdict) for one, verdict in arrivals}
    waiting = [
        row
        for some in chunks(list(given))
        for row in connection.execute(
            select(a.task_id, a.name, a.is_present, a.is_content)
            .join(t.tasks, k.id == a.task_id)
            .where(a.name.in_(some), k.state != TaskState.SUPERSEDED)
            .order_by(a.task_id, a.name)
        ).all()
    ]
    for task_id, name, is_present, is_content in waiting:
        one, verdict = given[name]
        differs = verdict is Verdict.NEWER
        if not is_present:
            connection.execute(
                update(t.awaited)
                .where(a.task_id == task_id, a.name == name)
                .values(is_present=True)
            )
            state = step(store, connection, task_id, Arrived(name))
            differs = state not in {TaskState.WAITING, TaskState.READY} and differs
            differs = differs and _used(connection, task_id, name) not in {None, _content(one)}
            if state in {TaskState.DONE, TaskState.STALE} and not differs:
                settle(store, connection, task_id)  # it is whole again, and what it made stands
        if is_content and differs:
            reason = f"{name} is there in a newer generation, {one.generation}"
            change(store, connection, task_id, reason, is_approved=is_approved)


def change(
    store: Store, connection: Any, task_id: int, reason: str, *, is_approved: bool, who: str = ""
) -> TaskState:
    """Tell a task that what it is made of changed; put off while more of that is being made."""
    event = InputChanged(reason, is_approved, is_fed_by_work(connection, task_id))
    return step(store, connection, task_id, event, who=who)


def _content(row: Any) -> str:
    return str(row.content or row.sha256)


def _used(connection: Any, task_id: int, name: str) -> str | None:
    """Return the content of a file that a task was made of; None if it was made of none."""
    d, i, j = t.datasets.c, t.inputs.c, t.jobs.c
    row = connection.execute(
        select(d.content, d.sha256)
        .join(t.inputs, i.dataset_id == d.id)
        .join(t.jobs, j.id == i.job_id)
        .where(j.task_id == task_id, j.state == JobState.DONE, d.name == name)
        .order_by(j.number.desc())
        .limit(1)
    ).first()
    return None if row is None else _content(row)


def _feeding(task_id: int) -> Any:
    """Select the tasks that make what a task is made of, in their latest versions."""
    a, d, j = t.awaited.c, t.datasets.c, t.jobs.c
    made_by, latest = t.tasks.alias("made_by"), t.tasks.alias("latest")
    return (
        select(latest.c.state, latest.c.missing)
        .distinct()
        .select_from(t.awaited)
        .join(t.datasets, (d.name == a.name) & (d.state == DatasetState.CURRENT))
        .join(t.jobs, j.id == d.job_id)
        .join(made_by, made_by.c.id == j.task_id)
        .join(latest, latest.c.identity == made_by.c.identity)
        .where(a.task_id == task_id, a.is_content, latest.c.id != task_id)
    )


def is_fed_by_work(connection: Any, task_id: int) -> bool:
    """Say whether anything that a task is made of is being made again, or ought to be."""
    return any(_is_unsettled(row) for row in connection.execute(_feeding(task_id)).all())


def _is_unsettled(row: Any) -> bool:
    """Say whether products of a task may soon be others: also where it lost what it was made of."""
    return TaskState(row.state) in AT_WORK or (row.state == TaskState.DONE and row.missing > 0)


def settle(store: Store, connection: Any, task_id: int) -> None:
    """Let go on what was put off until a task was done again, if it need not wait for others."""
    k = t.tasks.c
    one = connection.execute(select(k.identity, k.state, k.missing).where(k.id == task_id)).one()
    if _is_unsettled(one):
        return
    products = _products(connection, _versions(connection, one.identity))
    for some in chunks([row.name for row in products]):
        put_off = connection.execute(
            select(k.id)
            .distinct()
            .select_from(t.awaited)
            .join(t.tasks, k.id == t.awaited.c.task_id)
            .where(t.awaited.c.name.in_(some), t.awaited.c.is_content, k.changed != "")
            .order_by(k.id)
        ).scalars()
        for dependent in list(put_off):
            go_on(store, connection, dependent, one.identity)


def go_on(store: Store, connection: Any, task_id: int, because: str) -> TaskState | None:
    """Let a task do what was put off, if nothing that it is made of is being made any more.

    Returns
    -------
    state : TaskState or None
        It is in now; None if nothing happened.
    """
    changed = connection.execute(select(t.tasks.c.changed).where(t.tasks.c.id == task_id))
    if changed.scalar_one() and not is_fed_by_work(connection, task_id):
        return step(store, connection, task_id, Settled(because))
    return None


def set_aside(store: Store, connection: Any, job_id: int, blamed: str, reason: str) -> None:
    """Put the file that a job found to be bad in quarantine, if it was delivered.

    A reference file, or a product of another job, is no fault of those who are made of it.

    Parameters
    ----------
    store : Store
    connection : Connection
        In a transaction.
    job_id : int
        Of a job that has failed.
    blamed : str
        Place that it named: a path, it may be with an extension behind it.
    reason : str
    """
    d, i = t.datasets.c, t.inputs.c
    name = blamed.rpartition("/")[2].partition("[")[0]
    rows = connection.execute(
        select(t.datasets)
        .join(t.inputs, i.dataset_id == d.id)
        .where(i.job_id == job_id, d.name == name, d.job_id.is_(None))
        .where(d.state == DatasetState.CURRENT)
    ).all()
    withdraw(store, connection, rows, DatasetState.QUARANTINED, reason)


def withdraw(
    store: Store,
    connection: Any,
    rows: Iterable[Any],
    state: DatasetState,
    reason: str,
    *,
    who: str = "",
) -> None:
    """Take current datasets out of everything; their files and rows stay.

    Parameters
    ----------
    store : Store
    connection : Connection
        In a transaction.
    rows : iterable
        Of the table of datasets.
    state : DatasetState
        What they are from now on.
    reason : str
    who : str
    """
    a, d, k = t.awaited.c, t.datasets.c, t.tasks.c
    for row in rows:
        connection.execute(
            update(t.datasets).where(d.id == row.id).values(state=state, reason=reason)
        )
        told = {"name": row.name, "reason": reason}
        note(store, connection, f"Dataset{state.capitalize()}", "dataset", row.id, told, who=who)
        waiting = connection.execute(
            select(a.task_id)
            .join(t.tasks, k.id == a.task_id)
            .where(a.name == row.name, a.is_present, k.state != TaskState.SUPERSEDED)
            .order_by(a.task_id)
        ).scalars()
        for task_id in list(waiting):
            connection.execute(
                update(t.awaited)
                .where(a.task_id == task_id, a.name == row.name)
                .values(is_present=False)
            )
            step(store, connection, task_id, Lost(row.name, reason), who=who)
        join(store, connection, [restored(row)], -1)


def retire_products(store: Store, connection: Any, task_id: int, reason: str) -> None:
    """Retire what a task made that is current."""
    _retire(store, connection, _products(connection, [task_id]), reason)


def retire_others(store: Store, connection: Any, task_id: int, names: Collection[str]) -> None:
    """Retire current products of a task, or of older versions of it, that it made no more."""
    k = t.tasks.c
    identity = connection.execute(select(k.identity).where(k.id == task_id)).scalar_one()
    rows = _products(connection, _versions(connection, identity))
    gone = [row for row in rows if row.name not in names]
    _retire(store, connection, gone, "no longer among the products")


def _retire(store: Store, connection: Any, rows: Sequence[Any], reason: str) -> None:
    """Retire products; what somebody else made under the same name takes their place."""
    d, j, k = t.datasets.c, t.jobs.c, t.tasks.c
    withdraw(store, connection, rows, DatasetState.RETIRED, reason)
    for row in rows:
        heir = connection.execute(
            select(t.datasets)
            .outerjoin(t.jobs, j.id == d.job_id)
            .outerjoin(t.tasks, k.id == j.task_id)
            .where(
                d.name == row.name,
                d.state == DatasetState.SUPERSEDED,
                k.id.is_(None) | k.state.not_in([TaskState.SUPERSEDED, TaskState.CANCELLED]),
            )
            .order_by(d.revision.desc())
            .limit(1)
        ).first()
        if heir is not None:
            instate(store, connection, heir, "DatasetRestored", is_replacing=False)


def instate(
    store: Store, connection: Any, row: Any, kind: str, *, is_replacing: bool, who: str = ""
) -> None:
    """Make a dataset that was kept current, and wake what waits for it.

    Parameters
    ----------
    store : Store
    connection : Connection
        In a transaction.
    row : Row
        Of the table of datasets; no other of its name is current.
    kind : str
        Of the event that says so.
    is_replacing : bool
        Whether another was current until now.
    who : str
    """
    connection.execute(
        update(t.datasets)
        .where(t.datasets.c.id == row.id)
        .values(state=DatasetState.CURRENT, reason="")
    )
    told = {"name": row.name, "generation": row.generation, "revision": row.revision}
    note(store, connection, kind, "dataset", row.id, told, who=who)
    one = restored(row)
    wake(store, connection, [(one, Verdict.NEWER)], is_approved=True)
    join(store, connection, [one], 0 if is_replacing else 1)


def _versions(connection: Any, identity: str) -> list[int]:
    k = t.tasks.c
    return list(connection.execute(select(k.id).where(k.identity == identity)).scalars())


def _products(connection: Any, tasks: Sequence[int]) -> list[Any]:
    """Return the current datasets that some tasks made.

    One after the other, and the state last: databases without statistics take the index of states
    else, and look at all datasets there are.
    """
    d, j = t.datasets.c, t.jobs.c
    jobs = list(connection.execute(select(j.id).where(j.task_id.in_(tasks))).scalars())
    rows = [
        row
        for some in chunks(jobs)
        for row in connection.execute(
            select(t.datasets).where(d.job_id.in_(some)).order_by(d.id)
        ).all()
    ]
    return [row for row in rows if row.state == DatasetState.CURRENT]


def describe(
    store: Store,
    connection: Any,
    name: str,
    values: Mapping[str, Any],
    used: Collection[str],
    *,
    who: str = "",
) -> dict[str, tuple[Any, Any]]:
    """Change what the store says of a current dataset.

    Parameters
    ----------
    store : Store
    connection : Connection
        In a transaction.
    name : str
    values : mapping
        Key of its facts → value.
    used : collection of str
        Keys that its tasks are made of; the others only describe it.
    who : str

    Returns
    -------
    changed : dict
        Key → value before and after.

    Raises
    ------
    UnknownNameError
        If no generation of it is current.
    """
    a, c, d, k = t.awaited.c, t.candidates.c, t.datasets.c, t.tasks.c
    row = connection.execute(
        select(d.id, d.facts, d.program).where(d.name == name, d.state == DatasetState.CURRENT)
    ).first()
    if row is None:
        raise UnknownNameError("current dataset", name, ())
    changed = {
        key: (row.facts.get(key), value)
        for key, value in values.items()
        if row.facts.get(key) != value
    }
    if not changed:
        return {}
    connection.execute(
        update(t.datasets).where(d.id == row.id).values(facts={**row.facts, **values})
    )
    note(store, connection, "DatasetDescribed", "dataset", row.id,
         {"name": name, "changed": {key: list(pair) for key, pair in changed.items()}},
         who=who)  # fmt: skip
    connection.execute(
        update(t.candidates)
        .where(c.program == row.program)
        .values(is_dirty=True, changed_at=store.clock())
    )
    if changed.keys() & set(used):
        told = ", ".join(f"{key} was {a!r}, is {b!r}" for key, (a, b) in sorted(changed.items()))
        tasks = connection.execute(
            select(a.task_id)
            .join(t.tasks, k.id == a.task_id)
            .where(a.name == name, a.is_content, k.state != TaskState.SUPERSEDED)
            .order_by(a.task_id)
        ).scalars()
        for task_id in list(tasks):
            change(store, connection, task_id, f"{name}: {told}", is_approved=True, who=who)
    return changed

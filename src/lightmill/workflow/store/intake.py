"""Arrivals into the store, many in one transaction.

What is new, and waited for by nobody, is most of what arrives: it is written by a handful of
statements for the whole batch. All else is looked at file by file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from lightmill.workflow.states import DatasetState, JobState
from lightmill.workflow.store import tables as t
from lightmill.workflow.store.membership import belonging, join
from lightmill.workflow.store.records import chunks, note
from lightmill.workflow.store.staleness import wake
from lightmill.workflow.store.values import Arrival, Verdict

if TYPE_CHECKING:
    from lightmill.workflow.store.store import Store

__all__ = ["take"]

_STATES = {
    Verdict.NEW: (DatasetState.CURRENT, "DatasetArrived", ""),
    Verdict.NEWER: (DatasetState.CURRENT, "DatasetReplaced", ""),
    Verdict.RENEWED: (DatasetState.CURRENT, "DatasetRenewed", ""),
    Verdict.STALE: (DatasetState.SUPERSEDED, "DatasetStale", "it arrived after a newer one"),
    Verdict.CONFLICT: (
        DatasetState.CONFLICT,
        "DatasetConflict",
        "the generation that is current has other content",
    ),
}


def take(
    store: Store, connection: Any, arrivals: Sequence[Arrival], job_id: int | None = None
) -> list[Verdict]:
    """Record arrivals, and wake what waited for them.

    Parameters
    ----------
    store : Store
    connection : Connection
        In a transaction.
    arrivals : sequence of Arrival
    job_id : int, optional
        That made them.

    Returns
    -------
    verdicts : list of Verdict
        In order.
    """
    counts = Counter(one.name for one in arrivals)
    known = _known(connection, list(counts))
    first = [one for one in arrivals if counts[one.name] == 1 and one.name not in known]
    _record_new(store, connection, first, job_id)
    new = {one.name for one in first}
    verdicts, replacing = [], []
    for one in arrivals:
        verdict, is_replacing = Verdict.NEW, False
        if one.name not in new:
            verdict, is_replacing = _one(store, connection, one, job_id)
        verdicts.append(verdict)
        replacing.append(is_replacing)
    fresh = {Verdict.NEW, Verdict.NEWER, Verdict.RENEWED}
    told = list(zip(arrivals, verdicts, replacing, strict=True))
    woken = [(one, verdict) for one, verdict, _ in told if verdict in fresh]
    wake(store, connection, woken, is_approved=job_id is not None)
    for change in (1, 0):
        some = [one for one, verdict, was in told if verdict in fresh and was is not bool(change)]
        join(store, connection, some, change)
    return verdicts


def _known(connection: Any, names: list[str]) -> set[str]:
    d = t.datasets.c
    return {
        name
        for some in chunks(names)
        for name in connection.execute(select(d.name).where(d.name.in_(some))).scalars()
    }


def _record_new(
    store: Store, connection: Any, arrivals: Sequence[Arrival], job_id: int | None
) -> None:
    """Write down files of which no generation was known."""
    if not arrivals:
        return
    now = store.clock()
    rows = [_row(one, 1, DatasetState.CURRENT, "", job_id, now) for one in arrivals]
    ids = connection.execute(
        insert(t.datasets).returning(t.datasets.c.id, sort_by_parameter_order=True), rows
    ).scalars()
    kind = _STATES[Verdict.NEW][1]
    connection.execute(
        insert(t.events),
        [
            {
                "at": now, "kind": kind, "subject": "dataset", "subject_id": dataset_id,
                "who": store.who, "told": _told(one, 1),
            }
            for one, dataset_id in zip(arrivals, ids, strict=True)
        ],
    )  # fmt: skip


def _one(store: Store, connection: Any, one: Arrival, job_id: int | None) -> tuple[Verdict, bool]:
    """Write down one file, which may be known; say whether it replaces one that was current."""
    d = t.datasets.c
    known = connection.execute(
        select(d.id, d.revision, d.generation, d.sha256, d.content, d.state)
        .where(d.name == one.name)
        .order_by(d.revision)
    ).all()
    verdict = _verdict(one, known, is_product=job_id is not None)
    if verdict is Verdict.CONFLICT and _is_of_no_use(connection, known):
        verdict = Verdict.NEWER
    if verdict is Verdict.RENEWED and store.policy.differs == "generation":
        verdict = Verdict.NEWER
    if verdict is Verdict.DUPLICATE:
        same = next(row for row in known if row.sha256 == one.sha256)
        note(store, connection, "DatasetDuplicate", "dataset", same.id, _told(one, same.revision))
        return verdict, True
    state, kind, reason = _STATES[verdict]
    if state is DatasetState.CURRENT and known:
        connection.execute(
            update(t.datasets)
            .where(d.name == one.name, d.state == DatasetState.CURRENT)
            .values(state=DatasetState.SUPERSEDED, reason=f"replaced by {one.generation}")
        )
    row = _row(one, len(known) + 1, state, reason, job_id, store.clock())
    dataset_id = connection.execute(insert(t.datasets).values(row)).inserted_primary_key[0]
    note(store, connection, kind, "dataset", dataset_id, _told(one, len(known) + 1))
    return verdict, any(row.state == DatasetState.CURRENT for row in known)


def _is_of_no_use(connection: Any, known: Sequence[Any]) -> bool:
    """Say whether all that was tried with the current generation failed.

    Then nothing is lost with it, and other bytes of the same date are what everybody waits for.
    """
    i, j = t.inputs.c, t.jobs.c
    current = next(row.id for row in known if row.state == DatasetState.CURRENT)
    states = set(
        connection.execute(
            select(j.state).join(t.inputs, i.job_id == j.id).where(i.dataset_id == current)
        ).scalars()
    )
    return JobState.FAILED in states and states <= {
        JobState.FAILED,
        JobState.LOST,
        JobState.CANCELLED,
    }


def _row(
    one: Arrival, revision: int, state: DatasetState, reason: str, job_id: int | None, now: float
) -> dict[str, Any]:
    return {
        "name": one.name, "revision": revision, "generation": one.generation,
        "sha256": one.sha256, "content": one.content, "size": one.size, "path": one.path, "kind": one.kind,
        "suffix": one.suffix, "state": state, "reason": reason, "program": one.program,
        "target": one.target, "facts": dict(one.facts), "belongs": belonging(one), "job_id": job_id, "arrived_at": now,
    }  # fmt: skip


def _told(one: Arrival, revision: int) -> dict[str, Any]:
    return {
        "name": one.name, "generation": one.generation, "sha256": one.sha256, "revision": revision
    }  # fmt: skip


def _verdict(one: Arrival, known: Sequence[Any], *, is_product: bool) -> Verdict:
    """Say what an arrival is, given all generations of its name."""
    if not known:
        return Verdict.NEW
    current = next((row for row in known if row.state == DatasetState.CURRENT), None)
    newer = Verdict.NEWER
    if current is not None and one.content and one.content == current.content:
        newer = Verdict.RENEWED
    if is_product:  # made again of the same inputs it says the same date
        same = current is not None and current.sha256 == one.sha256
        return Verdict.DUPLICATE if same else newer
    if any(row.sha256 == one.sha256 for row in known):
        return Verdict.DUPLICATE
    if current is None or one.generation > current.generation:
        return newer
    return Verdict.STALE if one.generation < current.generation else Verdict.CONFLICT

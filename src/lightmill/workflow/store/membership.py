"""Which candidates an exposure belongs to, and how many exposures candidates have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from lightmill.workflow.states import CandidateState
from lightmill.workflow.store import tables as t
from lightmill.workflow.store.announcements import expected_of, merged
from lightmill.workflow.store.values import Arrival

if TYPE_CHECKING:
    from lightmill.workflow.store.store import Store

__all__ = ["belonging", "join", "restored"]


def belonging(one: Arrival) -> dict[str, Any]:
    """Return what has to be kept of an arrival to count it, for the store."""
    if not one.candidates:
        return {}
    return {"candidates": dict(one.candidates), "announced": dict(one.announced)}


def restored(row: Any) -> Arrival:
    """Return a dataset of the store as it arrived."""
    belongs = row.belongs or {}
    return Arrival(
        row.name, row.sha256, row.size, row.generation, row.path, row.kind, row.suffix,
        row.program, row.target, row.facts, belongs.get("candidates", {}),
        belongs.get("announced", {}), row.content,
    )  # fmt: skip


def join(store: Store, connection: Any, arrivals: Sequence[Arrival], change: int) -> None:
    """Count exposures to their candidates, of which the associations have to be looked at again.

    Parameters
    ----------
    store : Store
    connection : Connection
        In a transaction.
    arrivals : sequence of Arrival
    change : int
        1 if they were not there before, 0 if they replace what was, -1 if they are there no more.
    """
    members: dict[tuple[str, str], list[Arrival]] = {}
    for one in arrivals:
        for name in one.candidates:
            members.setdefault((one.program, name), []).append(one)
    c, now = t.candidates.c, store.clock()
    for (program, name), some in members.items():
        row = connection.execute(
            select(c.id, c.present, c.expected, c.announced)
            .where(c.program == program, c.name == name)
        ).first()  # fmt: skip
        before = {} if row is None else row.announced
        groups = merged(before, [one.announced for one in some], change)
        numbers = [one.candidates[name] for one in some]
        if groups:
            numbers.append(expected_of(groups))
        elif row is not None:
            numbers.append(row.expected)
        values = {
            "changed_at": now, "is_dirty": True, "state": CandidateState.FORMING,
            "announced": groups,
            "expected": max((one for one in numbers if one is not None), default=None),
            "present": len(some) * change + (0 if row is None else row.present),
        }  # fmt: skip
        if row is None:
            values |= {"program": program, "name": name, "present": len(some)}
            connection.execute(insert(t.candidates).values(values))
        else:
            connection.execute(update(t.candidates).where(c.id == row.id).values(values))

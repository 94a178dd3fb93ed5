"""Candidates that lack files, and yet have every exposure that was announced.

A header says how many exposures a visit has, not which detectors read each of them. A visit that
points at a star with one detector before it uses all of them is never complete by that number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from lightmill.workflow.store import tables as t
from lightmill.workflow.store.records import note

if TYPE_CHECKING:
    from lightmill.workflow.store.store import Store

__all__ = ["expect_no_more", "short_and_quiet"]


def short_and_quiet(store: Store, quiet: float, limit: int = 200) -> list[Any]:
    """Return candidates that lack announced files, and for which nothing has come for a while.

    Parameters
    ----------
    store : Store
    quiet : float
        How long [s].
    limit : int
        Most to return.

    Returns
    -------
    rows : list
        As of `Store.due_candidates`.
    """
    c = t.candidates.c
    with store.reading() as connection:
        return list(
            connection.execute(
                select(t.candidates)
                .where(c.is_dirty, c.present < c.expected, c.changed_at <= store.clock() - quiet)
                .order_by(c.id)
                .limit(limit)
            ).all()
        )


def expect_no_more(store: Store, rows: Sequence[Any]) -> None:
    """Take candidates as they are for all there is: they are due, and lack nothing.

    One more file for one of them has it form again, of as many as its header announces.

    Parameters
    ----------
    store : Store
    rows : sequence
        Of `short_and_quiet`; one to which something came meanwhile is left as it is.
    """
    c = t.candidates.c
    with store.engine.begin() as connection:
        for row in rows:
            groups = {name: [present, present] for name, (_, present) in row.announced.items()}
            changed = connection.execute(
                update(t.candidates)
                .where(c.id == row.id, c.changed_at == row.changed_at, c.present == row.present)
                .values(expected=row.present, announced=groups)
            )
            if changed.rowcount:
                told = {"name": row.name, "present": row.present, "announced": row.expected}
                note(store, connection, "CandidateWhole", "candidate", row.id, told)

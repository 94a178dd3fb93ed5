"""What jobs needed, as the store remembers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from lightmill.workflow.states import JobState
from lightmill.workflow.store import tables as t

if TYPE_CHECKING:
    from lightmill.workflow.store.store import Store

__all__ = ["memory_of_jobs"]


def memory_of_jobs(store: Store, limit: int) -> list[dict[str, Any]]:
    """Return the memory of the last jobs that ended well.

    Parameters
    ----------
    store : Store
    limit : int
        Most to return.

    Returns
    -------
    jobs : list of dict
        job, pipeline, inputs_mb (size of what it was made of), used_mb, asked_mb [1e6 byte]; the
        last first.
    """
    j, d, i = t.jobs.c, t.datasets.c, t.inputs.c
    size = (
        select(func.coalesce(func.sum(d.size), 0))
        .join(t.inputs, i.dataset_id == d.id)
        .where(i.job_id == j.id)
        .scalar_subquery()
    )
    with store.reading() as connection:
        rows = connection.execute(
            select(j.id, t.tasks.c.pipeline, size.label("size"), j.peak_mb, j.memory_mb)
            .join(t.tasks, t.tasks.c.id == j.task_id)
            .where(j.state == JobState.DONE, j.peak_mb > 0, j.memory_mb > 0)
            .order_by(j.id.desc())
            .limit(limit)
        ).all()
    return [
        {
            "job": row.id, "pipeline": row.pipeline, "inputs_mb": float(row.size) / 1e6,
            "used_mb": row.peak_mb, "asked_mb": row.memory_mb,
        }
        for row in rows
    ]  # fmt: skip

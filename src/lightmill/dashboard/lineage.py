"""What a dataset was made of, and what was made of it: as far as somebody wants to look."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from lightmill.dashboard.queries import Questions
from lightmill.workflow.store import tables as t

__all__ = ["DEPTH", "NODES", "Lineage", "lineage"]

DEPTH = 8  # generations of ancestors, and of descendants
NODES = 200  # datasets in all


@dataclass
class Lineage:
    """Datasets, and the jobs that made one of the other.

    Attributes
    ----------
    nodes : dict of int to dict
        Number of a dataset → its row, with ``depth``: negative for what the first one was made of.
    edges : list of (int, int, int)
        Input, product, and the job between them.
    is_cut : bool
        There is more than is told.
    """

    nodes: dict[int, dict[str, Any]] = field(default_factory=dict)
    edges: list[tuple[int, int, int]] = field(default_factory=list)
    is_cut: bool = False


def lineage(
    questions: Questions, dataset_id: int, *, depth: int = DEPTH, most: int = NODES
) -> Lineage:
    """Return the ancestors and descendants of a dataset.

    Parameters
    ----------
    questions : Questions
    dataset_id : int
    depth : int
        Steps of processing to follow, each way.
    most : int
        Datasets in all.

    Returns
    -------
    lineage : Lineage
        Empty if there is no such dataset.
    """
    found = Lineage()
    first = _datasets(questions, t.datasets.c.id.in_([dataset_id]), 1)
    if not first:
        return found
    _add(found, first, 0, most)
    for way, steps in ((-1, _made_of), (1, _made_from)):
        edge = [dataset_id]
        for level in range(1, depth + 2):
            rows, edges = steps(questions, found, edge, most + 1)
            new = [row for row in rows if row["id"] not in found.nodes]
            if level > depth:
                found.is_cut |= bool(new)
                break
            _add(found, new, way * level, most)
            found.edges += [one for one in edges if one[0] in found.nodes and one[1] in found.nodes]
            edge = [row["id"] for row in new if row["id"] in found.nodes]
            if not edge:
                break
    found.edges = sorted(set(found.edges))
    return found


def _add(found: Lineage, rows: Iterable[dict[str, Any]], depth: int, most: int) -> None:
    for row in rows:
        if len(found.nodes) >= most:
            found.is_cut = True
            return
        found.nodes[row["id"]] = {**row, "depth": depth}


def _datasets(questions: Questions, condition: Any, limit: int) -> list[dict[str, Any]]:
    d = t.datasets.c
    columns = (d.id, d.name, d.revision, d.suffix, d.kind, d.state, d.job_id, d.sha256)
    return questions.rows(select(*columns).where(condition).order_by(d.id).limit(limit))


def _made_of(
    questions: Questions, found: Lineage, ids: list[int], limit: int
) -> tuple[list[dict[str, Any]], list[tuple[int, int, int]]]:
    """Return what some datasets were made of."""
    i = t.inputs.c
    made_by: dict[int, list[int]] = {}
    for one in ids:
        job = found.nodes[one]["job_id"]
        if job is not None:
            made_by.setdefault(job, []).append(one)
    if not made_by:
        return [], []
    given = questions.rows(
        select(i.job_id, i.dataset_id).where(i.job_id.in_(list(made_by))).limit(limit * 4)
    )
    edges = [
        (row["dataset_id"], product, row["job_id"])
        for row in given
        for product in made_by[row["job_id"]]
    ]
    inputs = sorted({row["dataset_id"] for row in given})[:limit]
    return _datasets(questions, t.datasets.c.id.in_(inputs), limit), edges


def _made_from(
    questions: Questions, found: Lineage, ids: list[int], limit: int
) -> tuple[list[dict[str, Any]], list[tuple[int, int, int]]]:
    """Return what was made of some datasets."""
    del found
    i = t.inputs.c
    taken = questions.rows(
        select(i.job_id, i.dataset_id).where(i.dataset_id.in_(ids)).limit(limit * 4)
    )
    jobs = sorted({row["job_id"] for row in taken})[: limit * 2]
    if not jobs:
        return [], []
    rows = _datasets(questions, t.datasets.c.job_id.in_(jobs), limit)
    made: dict[int, list[int]] = {}
    for row in rows:
        made.setdefault(row["job_id"], []).append(row["id"])
    edges = [
        (row["dataset_id"], product, row["job_id"])
        for row in taken
        for product in made.get(row["job_id"], ())
    ]
    return rows, edges

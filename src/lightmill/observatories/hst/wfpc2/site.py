"""The state of an archive that operations keep, read off their tasks and files.

An archive has one keeper: `lightmill wfpc2`, with a log of its own, or `lightmill ops`, whose events,
tasks and files are the log. What the latter have come to is told here as the events that would have
led there, so that tables, status and explanations are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from lightmill.errors import ConfigurationError
from lightmill.observatories.hst.wfpc2 import events
from lightmill.observatories.hst.wfpc2.exposures import Exposure, root_of
from lightmill.observatories.hst.wfpc2.fold import apply
from lightmill.observatories.hst.wfpc2.operations import (
    ASN,
    BUILD,
    EXPOSURE,
    JITTER,
    MEASURE,
    POINTING,
    PRODUCT,
    proposals_of,
)
from lightmill.observatories.hst.wfpc2.pieces import association_of, pointing_of, stem_of
from lightmill.observatories.hst.wfpc2.previews import DEFAULT_POLICY
from lightmill.observatories.hst.wfpc2.state import State

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["refuse", "state_of_site"]

PIPELINES = (MEASURE, BUILD, PRODUCT)


def refuse(event: events.Event | None = None) -> None:
    """Refuse to write in the log of an archive that operations keep.

    Parameters
    ----------
    event : Event, optional
        What was to be written.

    Raises
    ------
    ConfigurationError
        Always.
    """
    raise ConfigurationError(
        "operations keep this archive",
        found=None if event is None else type(event).__name__,
        expected="what is delivered to `lightmill ops watch`",
        remedy="use lightmill ops: retry, set, quarantine, accept, watch",
    )


def state_of_site(engine: Engine) -> State:
    """Return the state of an archive that operations keep.

    Parameters
    ----------
    engine : Engine
        Of the store.

    Returns
    -------
    state : State
        What is not done yet is owed in it. Versions and tombstones are not: the events of operations
        tell that history.
    """
    state = State()
    with engine.connect().execution_options(reads_only=True) as connection:
        datasets, tasks = _datasets(connection), _tasks(connection)
    for event in _arrivals(datasets):
        apply(state, event)
    for event in _pointings(datasets, tasks, state):
        apply(state, event)
    _build(state, datasets, tasks)
    return state


def _datasets(connection: Connection) -> list[Any]:
    from sqlalchemy import select

    from lightmill.workflow.store import tables as t

    d = t.datasets.c
    columns = d.name, d.suffix, d.generation, d.state, d.program, d.facts, d.revision
    wanted = d.suffix.in_([EXPOSURE, *JITTER, POINTING, ASN])
    return list(connection.execute(select(*columns).where(wanted).order_by(d.name, d.revision)))


def _tasks(connection: Connection) -> dict[str, Any]:
    """Return the newest version of each task by its identity."""
    from sqlalchemy import select

    from lightmill.workflow.store import tables as t

    k = t.tasks.c
    columns = k.identity, k.state, k.name, k.reason, k.attempts, k.since_at, k.document_sha256
    query = select(*columns).where(k.pipeline.in_(PIPELINES)).order_by(k.version)
    return {row.identity: row for row in connection.execute(query)}


def _current(datasets: Iterable[Any], suffix: str) -> list[Any]:
    return [row for row in datasets if row.suffix == suffix and row.state == "CURRENT"]


def _arrivals(datasets: list[Any]) -> Iterator[events.Event]:
    """Yield what the database tells of exposures, and all generations that are in the archive."""
    known = {"CURRENT", "SUPERSEDED"}
    for row in _current(datasets, EXPOSURE):
        yield events.Described(Exposure.from_row(row.facts))
    pairs: dict[tuple[str, str], None] = {}
    for row in datasets:
        if row.state not in known:
            continue
        if row.suffix == EXPOSURE:
            yield events.Arrived(str(row.facts["dataset_name"]), "CAL", row.generation)
        elif row.suffix in JITTER:
            pairs[stem_of(row.name)] = None
    for dataset, generation in sorted(pairs):
        yield events.Arrived(dataset, "OMS", generation)


def _pointings(datasets: list[Any], tasks: dict[str, Any], state: State) -> Iterator[events.Event]:
    """Yield what could not be measured, and the pointing in use of each exposure."""
    for identity, task in tasks.items():
        if identity.startswith("pointing|") and task.state == "FAILED":
            dataset, generation = stem_of(f"{task.name}_jit.fits")
            for _ in range(max(1, task.attempts)):
                yield events.Unreadable(dataset, generation, "", task.reason, task.since_at)
    newest: dict[str, dict[str, Any]] = {}
    for row in _current(datasets, POINTING):
        told = row.facts["pointing"]
        before = newest.get(root_of(told["dataset"]))
        if before is None or before["gen_date_str"] < told["gen_date_str"]:
            newest[root_of(told["dataset"])] = told
    for root, told in newest.items():
        if state.generation(root):
            yield events.Extracted(pointing_of(told))


def _build(state: State, datasets: list[Any], tasks: dict[str, Any]) -> None:
    """Add the associations there are, and which products of them."""
    from lightmill.workflow.store.records import digest_of

    programs: dict[str, list[Any]] = {}
    for row in datasets:
        if row.state == "CURRENT":
            programs.setdefault(row.program, []).append(row)
    made: dict[int, list[Any]] = {}
    for row in _current(datasets, ASN):
        one = association_of(row.facts["association"])
        made.setdefault(one.pep_id, []).append(one)
    plans = {
        pep_id: plan
        for program, rows in programs.items()
        for pep_id, plan in proposals_of(program, rows).items()
    }
    for pep_id in sorted({*made, *plans}):
        task = tasks.get(f"build|{pep_id}")
        plan = plans.get(pep_id)
        is_done = (
            plan is not None
            and task is not None
            and task.state == "DONE"
            and task.document_sha256 == digest_of(plan)
        )
        roots = state.inputs(pep_id) if is_done else []
        apply(state, events.Built(
            pep_id,
            tuple((state.exposures[root].dataset_name, state.generation(root)) for root in roots),
            state.changes.get(pep_id, 0) if is_done else -1,
            state.digest_of_inputs(pep_id) if is_done else "",
            tuple(sorted(made.get(pep_id, ()), key=lambda one: one.assoc_id)),
        ))  # fmt: skip
    for assoc_id in sorted(state.associations):
        task = tasks.get(f"product|{assoc_id}")
        if task is not None and task.state == "DONE":
            mark = state.mark_of(DEFAULT_POLICY, assoc_id)
            apply(state, events.Previewed(DEFAULT_POLICY, assoc_id, mark))
        elif task is not None and task.state == "FAILED":
            apply(state, events.PreviewFailed(DEFAULT_POLICY, assoc_id, task.reason))

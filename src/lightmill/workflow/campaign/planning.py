"""What a campaign consists of: tasks of the store, and which of them makes what another waits for."""

from __future__ import annotations

import graphlib
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import select

from lightmill.errors import ConfigurationError
from lightmill.workflow.campaign.folder import Given, Step
from lightmill.workflow.jobs import Commander
from lightmill.workflow.states import DatasetState, TaskState
from lightmill.workflow.store import Startable, Store
from lightmill.workflow.store import tables as t

__all__ = ["LeftOut", "Maker", "planned"]

TO_DO = {TaskState.WAITING, TaskState.READY}
AGAIN = TO_DO | {TaskState.DONE, TaskState.STALE, TaskState.FAILED}
PROBES = 1e9, 2e9  # sizes of inputs that the need for memory is worked out for [byte]


class Maker(Commander, Protocol):
    """Who knows what runs a job, and what it will make."""

    def makes(self, pipeline: str, name: str, document: Mapping[str, Any] | None) -> set[str]:
        """Return what a task makes that others may wait for: names of files, without endings."""


@dataclass(frozen=True)
class LeftOut:
    """A task that is not in a campaign, and why."""

    number: int
    name: str
    reason: str


def planned(
    store: Store,
    maker: Maker,
    *,
    programs: Collection[str] = (),
    types: Collection[str] = (),
    tasks: Collection[int] = (),
    is_again: bool = False,
) -> tuple[list[Step], list[LeftOut]]:
    """Return the steps that do what there is to be done.

    Parameters
    ----------
    store : Store
    maker : Maker
    programs, types, tasks : collection
        Only tasks of these programs, of these types, with these numbers, and what they need;
        all of them by default.
    is_again : bool
        Also those that are done, stale or failed.

    Returns
    -------
    steps : list of Step
        In an order in which they can be done.
    left_out : list of LeftOut
        Tasks that wait for what nobody will make.
    """
    known = _tasks(store, AGAIN if is_again else TO_DO)
    makers = {
        stem: row.id
        for row in known.values()
        for stem in maker.makes(row.pipeline, row.name, row.document)
    }
    awaited = _awaited(store, known)
    current = _current(store, {name for names in awaited.values() for name in names})
    found: dict[int, dict[str, Given]] = {}
    why: dict[int, str] = {}
    for number, names in awaited.items():
        inputs = {name: _given(name, number, makers, current) for name in names}
        found[number] = {name: given for name, given in inputs.items() if given is not None}
        missing = sorted(set(inputs) - set(found[number]))
        if missing:
            why[number] = f"it waits for {missing[0]!r}, which nothing here makes"
    order = _ordered(found)
    for number in order:
        lacking = [one.step for one in found[number].values() if one.step in why]
        if lacking and number not in why:
            why[number] = f"it waits for task {lacking[0]}, which is left out"
    wanted = _with_needs(found, [
        number for number, row in known.items()
        if (not programs or row.program in programs) and (not types or row.type in types)
        and (not tasks or number in tasks)
    ])  # fmt: skip
    steps = [_step(known[number], found[number]) for number in order if number in wanted - set(why)]
    left_out = [
        LeftOut(one, known[one].name, why[one]) for one in order if one in wanted & set(why)
    ]
    return [_with_memory(one, maker) for one in steps], left_out


def _tasks(store: Store, states: Collection[TaskState]) -> dict[int, Any]:
    k = t.tasks.c
    query = select(k.id, k.type, k.pipeline, k.name, k.document, k.program, k.level)
    with store.reading() as connection:
        rows = connection.execute(query.where(k.state.in_(states)).order_by(k.level, k.id)).all()
    return {row.id: row for row in rows}


def _awaited(store: Store, known: Mapping[int, Any]) -> dict[int, list[str]]:
    a = t.awaited.c
    found: dict[int, list[str]] = {number: [] for number in known}
    with store.reading() as connection:
        for task_id, name in connection.execute(
            select(a.task_id, a.name).order_by(a.task_id, a.name)
        ):
            if task_id in found:
                found[task_id].append(name)
    return found


def _current(store: Store, names: Collection[str]) -> dict[str, Given]:
    d = t.datasets.c
    with store.reading() as connection:
        rows = connection.execute(
            select(d.name, d.path, d.sha256, d.size).where(d.state == DatasetState.CURRENT)
        )
        return {
            row.name: Given(row.path, row.sha256, row.size) for row in rows if row.name in names
        }


def _given(
    name: str, number: int, makers: Mapping[str, int], current: Mapping[str, Given]
) -> Given | None:
    """Say where a file will come from: another step, if one makes it, so that it is the newest."""
    step = makers.get(Path(name).stem)
    return Given(step=step) if step is not None and step != number else current.get(name)


def _ordered(found: Mapping[int, Mapping[str, Given]]) -> list[int]:
    """Return tasks such that each comes after those it needs."""
    graph = {
        number: sorted({one.step for one in inputs.values() if one.step})
        for number, inputs in found.items()
    }
    try:
        return list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        raise ConfigurationError(
            "tasks wait for one another",
            found=" → ".join(map(str, error.args[1])),
            remedy="look at what the pipelines of operations.yaml are said to make",
        ) from error


def _with_needs(
    found: Mapping[int, Mapping[str, Given]], wanted: Sequence[int]
) -> set[int]:  # fmt: skip
    """Return tasks with all they need, directly or not."""
    every: set[int] = set()
    ask = list(wanted)
    while ask:
        number = ask.pop()
        if number not in every:
            every.add(number)
            ask += [one.step for one in found[number].values() if one.step]
    return every


def _step(row: Any, inputs: Mapping[str, Given]) -> Step:
    return Step(row.id, row.type, row.pipeline, row.name, row.document, inputs)


def _with_memory(step: Step, maker: Commander) -> Step:
    """Return a step that says what memory it needs.

    What a job needs is said of one whose inputs are there. Here they are not, so it is asked for
    two sizes, and the straight line between them is kept.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        job = Startable(
            step.number, step.number, 1, step.type, step.pipeline, step.name, step.document,
            dict.fromkeys(step.inputs, ""), 0, 1.0, 0,
        )  # fmt: skip
        small, large = (maker.command(replace(job, size=int(size)), folder)[1] for size in PROBES)
    slope = (large - small) / (PROBES[1] - PROBES[0]) * 1e6
    return replace(step, mb_per_mb=slope, base_mb=max(0.0, small - slope * PROBES[0] / 1e6))

"""What ought to be done again, and why: other references, other software, other rules.

What changes by itself, a newer file or a value of the database, the store sees to. This module
answers for the rest: it compares what the products were made with to what there is now.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from lightmill.errors import LightmillError
from lightmill.workflow.states import DatasetState, JobState, TaskState
from lightmill.workflow.store import tables as t
from lightmill.workflow.store.records import chunks, digest_of

if TYPE_CHECKING:
    from lightmill.operations import Observing
    from lightmill.reference.rules import Context
    from lightmill.workflow.store import Store

__all__ = [
    "Found",
    "Made",
    "Owed",
    "by_approval",
    "by_references",
    "by_rules",
    "by_software",
    "made",
    "redo",
]


WITHOUT = "reference applies (N/A)"  # why a step was skipped that the rules gave nothing


@dataclass(frozen=True)
class Owed:
    """A task that ought to be done again.

    Attributes
    ----------
    task_id : int
        0 for one that is not there yet.
    name, type : str
    level : int
    program : str
    why : str
    scope : str
        ``data``: its products would be others. ``description``: only what is said about it.
        ``new``: it is not there yet. ``gone``: it would no longer be made.
    """

    task_id: int
    name: str
    type: str
    level: int
    program: str
    why: str
    scope: str = "data"


@dataclass
class Found:
    """What was found.

    Attributes
    ----------
    owed : list of Owed
        Of themselves; lowest level first.
    follows : list of Owed
        What is made of their products, and is done again if those come out otherwise.
    looked_at : int
        Tasks that were compared.
    not_told : list of str
        Tasks of which nobody knows what they were made with, and why.
    """

    owed: list[Owed] = field(default_factory=list)
    follows: list[Owed] = field(default_factory=list)
    looked_at: int = 0
    not_told: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the same for machines."""
        return asdict(self)


@dataclass(frozen=True)
class Made:
    """A task that was done, and what with.

    Attributes
    ----------
    task_id : int
    name, type : str
    level : int
    program : str
    job_id : int
        The last that ended well.
    made_with : mapping
        software, context, steps (name → version and status), references (type → name).
    """

    task_id: int
    name: str
    type: str
    level: int
    program: str
    job_id: int
    made_with: Mapping[str, Any]

    def owed(self, why: str) -> Owed:
        """Return that it ought to be done again."""
        return Owed(self.task_id, self.name, self.type, self.level, self.program, why)


def made(store: Store, program: str = "") -> list[Made]:
    """Return the tasks that have products, with what made the latest; lowest level first.

    Parameters
    ----------
    store : Store
    program : str
        Only its tasks.
    """
    j, k = t.jobs.c, t.tasks.c
    last = (
        select(j.task_id, func.max(j.number).label("number"))
        .where(j.state == JobState.DONE)
        .group_by(j.task_id)
        .subquery()
    )
    query = (
        select(k.id, k.name, k.type, k.level, k.program, j.id.label("job_id"), j.made_with)
        .join(t.jobs, j.task_id == k.id)
        .join(last, (last.c.task_id == j.task_id) & (last.c.number == j.number))
        .where(k.state.in_([TaskState.DONE, TaskState.STALE, TaskState.HELD]))
        .order_by(k.level, k.id)
    )
    if program:
        query = query.where(k.program == program)
    with store.reading() as connection:
        rows = connection.execute(query).all()
    return [
        Made(row.id, row.name, row.type, row.level, row.program, row.job_id, row.made_with or {})
        for row in rows
    ]


# -- references ------------------------------------------------------------------------------------


def by_references(
    store: Store,
    archive: Path,
    new: Context,
    old: Context | None = None,
    *,
    program: str = "",
    told: Callable[[int, int], None] = lambda *_: None,
) -> Found:
    """Find tasks that would be given other reference files.

    Parameters
    ----------
    store : Store
    archive : Path
        Folder that the paths of datasets are below.
    new : Context
        Rules to come.
    old : Context, optional
        Rules in force: only types of reference that differ between the two are looked at, and the
        reasons say which row does it. Without, what was used is compared with what `new` says.
    program : str
        Only its tasks.
    told : callable
        Told how many tasks of how many have been looked at.

    Returns
    -------
    found : Found
        Lowest level first.
    """
    found = Found()
    tasks = made(store, program)
    for number, one in enumerate(tasks):
        told(number, len(tasks))
        wanted = _types_of(one)
        if not wanted:
            continue
        found.looked_at += 1
        try:
            why = _other_references(store, archive, one, wanted, new, old)
        except LightmillError as error:
            found.not_told.append(f"{one.name}: {error.fact}")
            continue
        if why:
            found.owed.append(one.owed(why))
    _add_followers(store, found)
    return found


@functools.cache
def _references_of_steps() -> dict[str, tuple[str, ...]]:
    from lightmill import app

    return {step.name: step.references for step in app.steps() if step.kind == "step"}


def _types_of(one: Made) -> set[str]:
    """Return the types of reference that the steps ask for which made a product."""
    known = _references_of_steps()
    steps = one.made_with.get("steps", {})
    return {
        kind
        for name, facts in steps.items()
        if facts.get("status") != "SKIPPED" or WITHOUT in facts.get("reason", "")
        for kind in known.get(name, ())
    }


def _other_references(
    store: Store, archive: Path, one: Made, wanted: set[str], new: Context, old: Context | None
) -> str:
    """Return which references would be others for a task, and why; empty if none."""
    from lightmill import models
    from lightmill.reference.affected import affected, changed_types
    from lightmill.reference.headers import header_of

    used = one.made_with.get("references", {})
    for path in _inputs(store, archive, one.job_id):
        model = models.open(path)
        instrument = str(model.meta.get("instrument.name") or "").lower()
        known = {name.lower() for name in new.instruments}
        if instrument not in known:
            continue
        if old is None:
            kinds = sorted(wanted & set(used))
            header = header_of(model, new.required_keys(instrument, kinds))
            return _differences(new, header, instrument, kinds, used)
        kinds = sorted(wanted & set(changed_types(old, new, instrument)))
        if not kinds:
            return ""
        keys = [key for some in (old, new) for key in some.required_keys(instrument, kinds)]
        header = header_of(model, dict.fromkeys(keys))
        changes = affected(
            old, new, {one.name: header}, instrument_of={one.name: instrument}, types=kinds
        )
        return "; ".join(
            f"{change.reftype}: {change.old} → {change.new} ({change.why})"
            for change in changes
            if used.get(change.reftype) != change.new  # made with it already
        )
    return ""


def _differences(
    new: Context,
    header: Mapping[str, Any],
    instrument: str,
    kinds: list[str],
    used: Mapping[str, str],
) -> str:
    there = {kind.lower() for kind in new.rules(instrument).types}
    asked = [kind for kind in kinds if kind in there]
    answers = new.select_many([header], asked) if asked else {}
    told = []
    for kind in kinds:
        answer = answers[kind][0] if kind in answers else "OMIT"
        name = f"error: {answer.fact}" if isinstance(answer, LightmillError) else str(answer)
        if name != used[kind]:
            told.append(f"{kind}: made with {used[kind]}, now {name}")
    return "; ".join(told)


def _inputs(store: Store, archive: Path, job_id: int) -> Iterator[Path]:
    d, i = t.datasets.c, t.inputs.c
    with store.reading() as connection:
        paths = connection.execute(
            select(d.path)
            .join(t.inputs, i.dataset_id == d.id)
            .where(i.job_id == job_id)
            .order_by(d.name)
        ).scalars()
        found = [archive / path for path in paths]
    return (path for path in found if path.suffix in {".fits", ".asdf"})


# -- software --------------------------------------------------------------------------------------


def by_software(
    store: Store, version: str = "", *, program: str = "", current: Mapping[str, str] | None = None
) -> Found:
    """Find tasks that were made by other versions of steps than are installed.

    Parameters
    ----------
    store : Store
    version : str
        Only what was made by this version of the software, whichever its steps.
    program : str
        Only its tasks.
    current : mapping, optional
        Name of each step → its version; by default what is installed.

    Returns
    -------
    found : Found
        Lowest level first.
    """
    installed = _versions() if current is None else current
    found = Found()
    for one in made(store, program):
        if not one.made_with:
            found.not_told.append(f"{one.name}: its products do not say what they were made with")
            continue
        found.looked_at += 1
        if version:
            if one.made_with.get("software") == version:
                found.owed.append(one.owed(f"made by version {version}"))
            continue
        changed = [
            f"{name} was version {facts.get('version')}, is {installed.get(name, 'gone')}"
            for name, facts in one.made_with.get("steps", {}).items()
            if facts.get("status") != "SKIPPED" and facts.get("version") != installed.get(name)
        ]
        if changed:
            found.owed.append(one.owed("; ".join(changed)))
    _add_followers(store, found)
    return found


def _versions() -> dict[str, str]:
    from lightmill import app

    return {
        step.name: app.target_class(step.name, {}).version
        for step in app.steps()
        if step.kind == "step"
    }


def by_approval(store: Store, *, program: str = "") -> Found:
    """Find tasks that wait for approval, because a file they were made of was replaced.

    Parameters
    ----------
    store : Store
    program : str
        Only its tasks.

    Returns
    -------
    found : Found
        Lowest level first.
    """
    k = t.tasks.c
    query = select(t.tasks).where(k.state == TaskState.STALE).order_by(k.level, k.id)
    if program:
        query = query.where(k.program == program)
    with store.reading() as connection:
        rows = connection.execute(query).all()
    found = Found([_of_row(row, row.reason) for row in rows], looked_at=len(rows))
    _add_followers(store, found)
    return found


# -- rules of association --------------------------------------------------------------------------


def by_rules(store: Store, observing: Observing, *, program: str = "") -> Found:
    """Find associations that the rules of now would make otherwise, or not, or anew.

    Parameters
    ----------
    store : Store
    observing : Observing
        Whose rules.
    program : str
        Only its associations.

    Returns
    -------
    found : Found
        `owed` says of each whether its data or only its description would change.
    """
    found = Found()
    for name, candidates in _candidates(store, program).items():
        plans = observing.associations(
            name, candidates, store.exposures_of(name, observing.planned_from)
        )
        there = _planned(store, name)
        found.looked_at += len(there)
        for plan in plans:
            row = there.pop(plan.identity, None)
            if row is None:
                found.owed.append(
                    Owed(0, plan.name, plan.type, plan.level, name, "no such association was made",
                         "new")
                )  # fmt: skip
            elif row.document_sha256 != digest_of(plan):
                found.owed.append(_of_row(row, _difference(row.document, plan.document)))
            elif changed := _described(row.document, plan):
                found.owed.append(_of_row(row, f"other words: {changed}", "description"))
        found.owed += [_of_row(row, "no rule makes it any more", "gone") for row in there.values()]
    found.owed.sort(key=lambda one: (one.level, one.task_id))
    _add_followers(store, found)
    return found


def _of_row(row: Any, why: str, scope: str = "data") -> Owed:
    return Owed(row.id, row.name, row.type, row.level, row.program, why, scope)


def _candidates(store: Store, program: str) -> dict[str, list[str]]:
    c = t.candidates.c
    query = select(c.program, c.name).order_by(c.program, c.name)
    if program:
        query = query.where(c.program == program)
    found: dict[str, list[str]] = {}
    with store.reading() as connection:
        for row in connection.execute(query):
            found.setdefault(row.program, []).append(row.name)
    return found


def _planned(store: Store, program: str) -> dict[str, Any]:
    k = t.tasks.c
    with store.reading() as connection:
        rows = connection.execute(
            select(t.tasks).where(
                k.program == program, k.level > 1,
                k.state.not_in([TaskState.SUPERSEDED, TaskState.CANCELLED]),
            )
        ).all()  # fmt: skip
    return {row.identity: row for row in rows}


def _difference(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> str:
    """Say how the members of two associations differ; else that something does."""
    before, after = _members(old), _members(new)
    told = [f"without {name}" for name in sorted(before - after)]
    told += [f"with {name}" for name in sorted(after - before)]
    return ", ".join(told) or "its pipeline, roles or products would be others"


def _members(document: Mapping[str, Any] | None) -> set[str]:
    products = (document or {}).get("products", ())
    return {str(one["expname"]) for product in products for one in product["members"]}


def _described(old: Mapping[str, Any] | None, plan: Any) -> str:
    before, after = old or {}, plan.document or {}
    return ", ".join(k for k in sorted(plan.description) if before.get(k) != after.get(k))


# -- what follows, and doing it --------------------------------------------------------------------


def _add_followers(store: Store, found: Found) -> None:
    """Add the tasks that are made of products of those that are owed, and so on."""
    known = {one.task_id for one in found.owed}
    front = [one.task_id for one in found.owed if one.scope != "description" and one.task_id]
    while front:
        rows = list(_made_of(store, front))
        front = [row.id for row in rows if row.id not in known]
        known.update(front)
        wanted = set(front)
        found.follows += [
            _of_row(row, "made of their products") for row in rows if row.id in wanted
        ]
    found.follows.sort(key=lambda one: (one.level, one.task_id))


def _made_of(store: Store, tasks: Sequence[int]) -> Iterable[Any]:
    """Return each task that awaits products of some tasks, once."""
    a, d, j, k = t.awaited.c, t.datasets.c, t.jobs.c, t.tasks.c
    rows: dict[int, Any] = {}
    with store.reading() as connection:
        for some in chunks(tasks):
            query = (
                select(t.tasks)
                .join(t.awaited, a.task_id == k.id)
                .join(t.datasets, (d.name == a.name) & (d.state == DatasetState.CURRENT))
                .join(t.jobs, j.id == d.job_id)
                .where(j.task_id.in_(some), k.state != TaskState.SUPERSEDED, a.is_content)
            )
            rows.update({row.id: row for row in connection.execute(query)})
    return rows.values()


def redo(store: Store, found: Found, cause: str, *, who: str) -> list[str]:
    """Have done again what is owed; what follows from it does so by itself.

    Parameters
    ----------
    store : Store
    found : Found
        Its tasks that are there and whose data would change; other associations come from planning
        their candidates anew.
    cause : str
        What is written into the reason of each.
    who : str

    Returns
    -------
    refused : list of str
        What could not be, and why.
    """
    from lightmill.workflow.machine import Reprocess

    refused = []
    for one in found.owed:
        if one.scope != "data" or not one.task_id:
            continue
        try:
            store.apply(one.task_id, Reprocess(f"{cause}: {one.why}"), who=who)
        except LightmillError as error:
            refused.append(f"{one.name}: {error.fact}")
    return refused

"""The only writer of the archive store: each method is one transaction.

Several processes may have a store open, on one machine or many. What two of them decide about one
task cannot contradict: SQLite lets one write at a time, PostgreSQL locks the rows of the task.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import and_, func, insert, or_, select, update

from lightmill.errors import UnknownNameError
from lightmill.workflow.machine import (
    Crashed,
    Event,
    Policy,
    Release,
    Reprocess,
    Started,
    Succeeded,
)
from lightmill.workflow.states import DatasetState, JobState, TaskState
from lightmill.workflow.store import tables as t
from lightmill.workflow.store.intake import take
from lightmill.workflow.store.opening import open_engine
from lightmill.workflow.store.planning import (
    close_candidate,
    drop_unplanned,
    ensure,
    give_up_candidate,
)
from lightmill.workflow.store.records import note, step
from lightmill.workflow.store.staleness import (
    describe,
    go_on,
    instate,
    is_fed_by_work,
    retire_others,
    set_aside,
    settle,
    withdraw,
)
from lightmill.workflow.store.values import Arrival, Outcome, Startable, TaskPlan, Verdict

__all__ = ["Store"]

UNSEEN = {JobState.QUEUED, JobState.RUNNING}


class Store:
    """An archive store.

    Parameters
    ----------
    place : str or Path
        URL, or folder of an observatory.
    policy : Policy
        What the observatory decided for all tasks.
    clock : callable
        Seconds since 1970; for people to read, never to order by.
    who : str
        Who writes, for the events.
    """

    def __init__(
        self,
        place: str | Path,
        *,
        policy: Policy | None = None,
        clock: Callable[[], float] = time.time,
        who: str = "service",
    ) -> None:
        self.engine = open_engine(place)
        self.policy = policy or Policy()
        self.clock = clock
        self.who = who

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    def reading(self) -> Any:
        """Return a connection that only reads, for ``with``."""
        return self.engine.connect().execution_options(reads_only=True)

    # -- what arrives ----------------------------------------------------------------------------

    def ingest(
        self,
        arrivals: Iterable[Arrival],
        first_stage: Callable[[Arrival], TaskPlan | None] | None = None,
    ) -> list[Verdict]:
        """Record files that have arrived, and wake what waited for them.

        Parameters
        ----------
        arrivals : iterable of Arrival
            Their files lie in the archive already.
        first_stage : callable, optional
            Returns the task that begins with a file by itself.

        Returns
        -------
        verdicts : list of Verdict
            In order.
        """
        given = list(arrivals)
        with self.engine.begin() as connection:
            verdicts = take(self, connection, given)
            if first_stage is not None:
                new = [one for one, v in zip(given, verdicts, strict=True) if v is Verdict.NEW]
                plans = [plan for one in new if (plan := first_stage(one)) is not None]
                # Several files may begin the same task.
                ensure(self, connection, list({plan.identity: plan for plan in plans}.values()))
        return verdicts

    # -- candidates and tasks --------------------------------------------------------------------

    def due_candidates(
        self, quiet: float, patience: float | None = None, limit: int = 200
    ) -> list[Any]:
        """Return candidates of which associations have to be made.

        Parameters
        ----------
        quiet : float
            Seconds without an arrival after which one is due of which nobody knows how many
            exposures it has.
        patience : float, optional
            And one that lacks some; as `quiet`, by default.
        limit : int
            Most to return.

        Returns
        -------
        rows : list
            With id, program, name, expected, present, changed_at.
        """
        c, now = t.candidates.c, self.clock()
        waited = now - (quiet if patience is None else patience)
        due = or_(
            c.present >= c.expected,
            and_(c.expected.is_(None), c.changed_at <= now - quiet),
            and_(c.present < c.expected, c.changed_at <= waited),
        )
        with self.reading() as connection:
            found = connection.execute(
                select(t.candidates).where(c.is_dirty, due).order_by(c.id).limit(limit)
            ).all()
        return list(found)

    def exposures_of(self, program: str, products: Collection[str] = ()) -> list[Any]:
        """Return what a program has that tasks are made of: name, path, suffix, facts; by name.

        Parameters
        ----------
        program : str
        products : collection of str
            Suffixes of products to return, too, beside the current exposures.
        """
        d = t.datasets.c
        with self.reading() as connection:
            return list(
                connection.execute(
                    select(d.id, d.name, d.path, d.suffix, d.facts)
                    .where(
                        d.program == program,
                        (d.kind == "exposure")
                        | ((d.kind == "product") & d.suffix.in_(list(products))),
                        d.state == DatasetState.CURRENT,
                    )
                    .order_by(d.name)
                ).all()
            )

    def plan(
        self, plans: Sequence[TaskPlan], *, candidates: Iterable[Any] = (), program: str = ""
    ) -> list[int]:
        """Make tasks, or newer versions of those that are not what they ought to be.

        Parameters
        ----------
        plans : sequence of TaskPlan
            All there ought to be of these candidates.
        candidates : iterable
            Rows of `due_candidates` that the plans are for; tasks of theirs that nobody plans any
            more are superseded.
        program : str
            Of the candidates.

        Returns
        -------
        made : list of int
            The tasks that are new.
        """
        rows = list(candidates)
        with self.engine.begin() as connection:
            made = ensure(self, connection, plans)
            if rows:
                drop_unplanned(self, connection, program, {row.name for row in rows}, plans)
            for row in rows:
                close_candidate(self, connection, row)
        return made

    def give_up(self, candidates: Iterable[Any]) -> None:
        """Note that no associations are made of candidates that lack exposures."""
        with self.engine.begin() as connection:
            for row in candidates:
                give_up_candidate(self, connection, row)

    # -- jobs ------------------------------------------------------------------------------------

    def startable(self, limit: int = 50) -> list[Startable]:
        """Return jobs that may start now: those of the highest priority first, then the oldest."""
        j, k = t.jobs.c, t.tasks.c
        running = (
            select(t.jobs.c.task_id).where(t.jobs.c.state == JobState.RUNNING).scalar_subquery()
        )
        with self.reading() as connection:
            rows = connection.execute(
                select(
                    j.id, j.task_id, j.number, k.type, k.pipeline, k.name, k.document,
                    k.memory_factor, k.priority,
                )
                .join(t.tasks, k.id == j.task_id)
                .where(
                    j.state == JobState.QUEUED,
                    j.not_before <= self.clock(),
                    j.task_id.not_in(running),
                )
                .order_by(k.priority.desc(), k.level.desc(), j.id)
                .limit(limit)
            ).all()  # fmt: skip
            return [self._startable(connection, row) for row in rows]

    def _startable(self, connection: Any, row: Any) -> Startable:
        a, d = t.awaited.c, t.datasets.c
        inputs = connection.execute(
            select(d.name, d.path, d.size)
            .join(t.awaited, a.name == d.name)
            .where(a.task_id == row.task_id, a.is_content, d.state == DatasetState.CURRENT)
        ).all()
        return Startable(
            row.id, row.task_id, row.number, row.type, row.pipeline, row.name, row.document,
            {one.name: one.path for one in inputs}, sum(one.size for one in inputs),
            row.memory_factor, row.priority,
        )  # fmt: skip

    def start(self, job_id: int, engine: str, memory_mb: float, command: Sequence[str]) -> bool:
        """Note that a job starts now, of the inputs that are current now.

        Returns
        -------
        may_start : bool
            False if it has been taken back meanwhile.
        """
        j, d, a = t.jobs.c, t.datasets.c, t.awaited.c
        with self.engine.begin() as connection:
            row = connection.execute(
                select(j.task_id, j.state).where(j.id == job_id).with_for_update()
            ).one()
            if row.state != JobState.QUEUED:
                return False
            connection.execute(
                update(t.jobs)
                .where(j.id == job_id)
                .values(
                    state=JobState.RUNNING, started_at=self.clock(), engine=engine,
                    memory_mb=memory_mb, command=list(command),
                )
            )  # fmt: skip
            connection.execute(
                insert(t.inputs).from_select(
                    ["job_id", "dataset_id"],
                    select(func.coalesce(job_id, job_id), d.id)
                    .join(t.awaited, a.name == d.name)
                    .where(a.task_id == row.task_id, a.is_content, d.state == DatasetState.CURRENT),
                )
            )
            step(self, connection, row.task_id, Started())
        return True

    def submitted(self, job_id: int, handle: str) -> None:
        """Note what the engine calls a job."""
        with self.engine.begin() as connection:
            connection.execute(update(t.jobs).where(t.jobs.c.id == job_id).values(handle=handle))

    def unfinished(self) -> list[Any]:
        """Return jobs that run as far as the store knows: id, task_id, engine, handle, is_cancelled."""
        j = t.jobs.c
        with self.reading() as connection:
            return list(
                connection.execute(
                    select(j.id, j.task_id, j.engine, j.handle, j.is_cancelled, j.memory_mb)
                    .where(j.state == JobState.RUNNING)
                    .order_by(j.id)
                ).all()
            )

    def inputs_of(self, job_id: int) -> list[Arrival]:
        """Return what a job was given."""
        d, i = t.datasets.c, t.inputs.c
        with self.reading() as connection:
            rows = connection.execute(
                select(t.datasets)
                .join(t.inputs, i.dataset_id == d.id)
                .where(i.job_id == job_id)
                .order_by(d.name)
            ).all()
        return [
            Arrival(
                row.name, row.sha256, row.size, row.generation, row.path, row.kind, row.suffix,
                row.program, row.target, row.facts, content=row.content,
            )
            for row in rows
        ]  # fmt: skip

    def finish(self, job_id: int, outcome: Outcome) -> tuple[int, TaskState] | None:
        """Note how a job ended: its products become datasets, and wake what waits for them.

        A job that was noted before is left as it is.

        Returns
        -------
        task : (int, TaskState) or None
            Its number, and the state that a failure leaves it in; None if the job has not failed.
        """
        j = t.jobs.c
        with self.engine.begin() as connection:
            row = connection.execute(
                select(j.task_id, j.state, j.is_cancelled).where(j.id == job_id).with_for_update()
            ).one()
            if row.state not in UNSEEN:
                return None
            state = JobState.DONE if outcome.is_good else JobState.FAILED
            if outcome.is_lost:
                state = JobState.LOST
            if row.is_cancelled:
                state = JobState.CANCELLED
            connection.execute(
                update(t.jobs)
                .where(j.id == job_id)
                .values(
                    state=state, ended_at=self.clock(), exit_status=outcome.exit_status,
                    peak_mb=outcome.peak_mb, cpu_s=outcome.cpu_s, reason=outcome.reason,
                    made_with=None if outcome.made_with is None else dict(outcome.made_with),
                )
            )  # fmt: skip
            facts = {"reason": outcome.reason, "exit_status": outcome.exit_status}
            note(self, connection, f"Job{state.capitalize()}", "job", job_id, facts)
            failed: TaskState | None = None
            if row.is_cancelled:
                return None
            if not outcome.is_good:
                crash = Crashed(
                    outcome.reason, outcome.is_transient, outcome.is_out_of_memory,
                    outcome.is_no_fault,
                )  # fmt: skip
                failed = step(self, connection, row.task_id, crash)
            else:
                step(self, connection, row.task_id, Succeeded())
                take(self, connection, outcome.products, job_id)
                names = {one.name for one in outcome.products}
                retire_others(self, connection, row.task_id, names)
            settle(self, connection, row.task_id)
            if failed is TaskState.FAILED and self.policy.bad_data == "quarantine":
                set_aside(self, connection, job_id, outcome.blamed, outcome.reason)
            return None if failed is None else (row.task_id, failed)

    # -- operators -------------------------------------------------------------------------------

    def apply(self, task_id: int, event: Event, *, who: str = "") -> TaskState:
        """Do to a task what an operator, or another program, asks for.

        Returns
        -------
        state : TaskState
            It is in now.

        Raises
        ------
        UnknownNameError
            If there is no such task.
        NotNow
            If its state does not allow it.
        """
        with self.engine.begin() as connection:
            known = connection.execute(select(t.tasks.c.id).where(t.tasks.c.id == task_id)).first()
            if known is None:
                raise UnknownNameError("task", str(task_id), ())
            if isinstance(event, Reprocess) and is_fed_by_work(connection, task_id):
                event = replace(event, is_deferred=True)
            state = step(self, connection, task_id, event, who=who)
            settle(self, connection, task_id)
            if isinstance(event, Release):  # what it is made of may have been settled meanwhile
                return go_on(self, connection, task_id, "released") or state
            return state

    def describe(
        self, name: str, values: Mapping[str, Any], *, used: Collection[str] = (), who: str = ""
    ) -> dict[str, tuple[Any, Any]]:
        """Change what the store says of a current dataset, and wake what depends on that.

        Parameters
        ----------
        name : str
            Of the dataset.
        values : mapping
            Key of its facts → value.
        used : collection of str
            Keys that tasks are made of: those that change have them redone. Associations of its
            program are looked at again whatever key changed.
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
        with self.engine.begin() as connection:
            return describe(self, connection, name, values, used, who=who)

    def reconsider(self, program: str = "", *, who: str = "") -> None:
        """Have the associations of all candidates, or of a program's, made anew and compared."""
        c = t.candidates.c
        query = update(t.candidates).values(is_dirty=True)
        with self.engine.begin() as connection:
            connection.execute(query.where(c.program == program) if program else query)
            note(self, connection, "CandidatesReconsidered", "store", None, {"program": program},
                 who=who)  # fmt: skip

    def quarantine(self, dataset: str | int, reason: str, *, who: str = "") -> None:
        """Take the current generation of a file out of everything; what waits for it waits again.

        Parameters
        ----------
        dataset : str or int
            Name of the file, or number of the generation.
        reason : str
        who : str

        Raises
        ------
        UnknownNameError
            If it is not current.
        """
        with self.engine.begin() as connection:
            row = _one_of(connection, dataset, [DatasetState.CURRENT], "current dataset")
            withdraw(self, connection, [row], DatasetState.QUARANTINED, reason, who=who)

    def accept(self, dataset: str | int, *, who: str = "") -> None:
        """Make current what was kept aside: the newest conflict, or else what is in quarantine.

        Parameters
        ----------
        dataset : str or int
            Name of the file, or number of the generation.
        who : str

        Raises
        ------
        UnknownNameError
            If none is kept aside.
        """
        d = t.datasets.c
        aside = [DatasetState.CONFLICT, DatasetState.QUARANTINED]
        with self.engine.begin() as connection:
            row = _one_of(connection, dataset, aside, "dataset in conflict or quarantine")
            replaced = connection.execute(
                update(t.datasets)
                .where(d.name == row.name, d.state == DatasetState.CURRENT)
                .values(state=DatasetState.SUPERSEDED, reason="an operator accepted another")
            )
            is_replacing = replaced.rowcount > 0
            instate(self, connection, row, "DatasetAccepted", is_replacing=is_replacing, who=who)

    # -- questions -------------------------------------------------------------------------------

    def status(self) -> dict[str, dict[str, int]]:
        """Return how many datasets, candidates, tasks and jobs are in each state."""
        found: dict[str, dict[str, int]] = {}
        with self.reading() as connection:
            for table in (t.datasets, t.candidates, t.tasks, t.jobs):
                rows = connection.execute(
                    select(table.c.state, func.count()).group_by(table.c.state)
                ).all()
                found[table.name] = {str(state): int(count) for state, count in sorted(rows)}
        return found

    def short_candidates(self, program: str = "", name: str = "") -> list[Any]:
        """Return candidates that lack exposures: program, name, state, present, expected and so on."""
        c = t.candidates.c
        query = select(t.candidates).where(c.present < c.expected).order_by(c.changed_at)
        if name:
            query = query.where(c.program == program, c.name == name)
        with self.reading() as connection:
            return list(connection.execute(query).all())

    def tell(self, kind: str, told: Mapping[str, Any], *, who: str = "") -> None:
        """Write an event that changes nothing."""
        with self.engine.begin() as connection:
            note(self, connection, kind, "store", None, dict(told), who=who)

    def last_event(self) -> int:
        """Return the number of the newest event; 0 if nothing has happened yet."""
        with self.reading() as connection:
            return int(connection.execute(select(func.max(t.events.c.seq))).scalar() or 0)

    def events_after(self, seq: int, limit: int = 500) -> list[dict[str, Any]]:
        """Return what happened after an event, in order."""
        query = select(t.events).where(t.events.c.seq > seq).order_by(t.events.c.seq).limit(limit)
        with self.reading() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def is_idle(self) -> bool:
        """Say whether nothing is queued, runs, or has to be associated."""
        with self.reading() as connection:
            j, c = t.jobs.c, t.candidates.c
            busy = connection.execute(
                select(j.id).where(j.state.in_([JobState.QUEUED, JobState.RUNNING])).limit(1)
            ).first()
            knows = or_(c.expected.is_(None), c.present >= c.expected)  # else it waits for data
            dirty = connection.execute(select(c.id).where(c.is_dirty, knows).limit(1)).first()
        return busy is None and dirty is None

    def setting(self, name: str, default: Any = None) -> Any:
        """Return a setting of the observatory."""
        with self.reading() as connection:
            row = connection.execute(
                select(t.settings.c.value).where(t.settings.c.name == name)
            ).first()
        return default if row is None else row.value

    def set(self, **values: Any) -> None:
        """Change settings of the observatory."""
        with self.engine.begin() as connection:
            for name, value in values.items():
                found = connection.execute(
                    update(t.settings).where(t.settings.c.name == name).values(value=value)
                )
                if not found.rowcount:
                    connection.execute(insert(t.settings).values(name=name, value=value))
            note(self, connection, "SettingsChanged", "store", None, dict(values))


def _one_of(connection: Any, dataset: str | int, states: Sequence[DatasetState], kind: str) -> Any:
    """Return the newest generation in one of some states, conflicts first."""
    d = t.datasets.c
    row = connection.execute(
        select(t.datasets)
        .where(d.id == dataset if isinstance(dataset, int) else d.name == dataset)
        .where(d.state.in_(states))
        .order_by((d.state == DatasetState.CONFLICT).desc(), d.revision.desc())
        .limit(1)
    ).first()
    if row is None:
        raise UnknownNameError(kind, str(dataset), ())
    return row

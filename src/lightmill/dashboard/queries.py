"""Questions to the archive store: counts, lists, one thing and its story. Nothing is written here.

Lists are asked for in pages that begin at a number, never by how many rows to leave out: the
hundred-thousandth page costs as much as the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table, event, func, select

from lightmill.dashboard.lists import MOST, PAGE, Filter, Page
from lightmill.workflow.states import CandidateState, DatasetState, JobState, TaskState
from lightmill.workflow.store import open_engine
from lightmill.workflow.store import tables as t

__all__ = ["LARGEST", "SLACK", "STATES", "Questions"]

WATCHED = 200  # files of a watch list, inputs of a job, events of a subject that are told
SLACK = 1000  # rows that a clock may be wrong by
LARGEST = 2**63 - 1  # number an SQL database can keep

STATES: Mapping[str, type] = {
    "datasets": DatasetState,
    "candidates": CandidateState,
    "tasks": TaskState,
    "jobs": JobState,
}
_TIME = {"datasets": "arrived_at", "candidates": "changed_at", "tasks": "since_at", "jobs": "queued_at"}  # fmt: skip
# What a list shows of each row; documents and facts may be large.
_SHOWN = {
    "datasets": ("id", "name", "revision", "generation", "sha256", "size", "kind", "suffix",
                 "state", "reason", "program", "target", "job_id", "arrived_at"),
    "candidates": ("id", "program", "name", "expected", "present", "state", "changed_at",
                   "is_dirty"),
    "tasks": ("id", "name", "version", "type", "level", "pipeline", "program", "candidate",
              "target", "state", "missing", "attempts", "priority", "reason", "since_at"),
    "jobs": ("id", "task_id", "number", "state", "engine", "handle", "memory_mb", "cores",
             "queued_at", "started_at", "ended_at", "exit_status", "peak_mb", "cpu_s", "reason",
             "is_cancelled"),
}  # fmt: skip


class Questions:
    """Asks an archive store, and cannot change it.

    Parameters
    ----------
    place : str or Path
        URL of the store, or folder of the observatory.
    """

    def __init__(self, place: Any) -> None:
        engine = open_engine(place)
        if engine.dialect.name == "sqlite":

            @event.listens_for(engine, "connect")
            def only_read(connection: Any, _: Any) -> None:
                connection.execute("PRAGMA query_only=ON")

        else:
            engine = engine.execution_options(postgresql_readonly=True)
        self.engine = engine.execution_options(reads_only=True)
        self.kept: dict[str, Any] = {}  # answers that no longer change

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    def rows(self, query: Any) -> list[dict[str, Any]]:
        """Return what a query finds."""
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _one(self, query: Any) -> dict[str, Any] | None:
        found = self.rows(query.limit(1))
        return found[0] if found else None

    # -- counts and lists ------------------------------------------------------------------------

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many datasets, candidates, tasks and jobs are in each state."""
        found: dict[str, dict[str, int]] = {}
        with self.engine.connect() as connection:
            for name, states in STATES.items():
                table = t.metadata.tables[name]
                rows = connection.execute(
                    select(table.c.state, func.count()).group_by(table.c.state)
                ).all()
                known = {str(state): int(count) for state, count in rows}
                order = [str(one) for one in states if str(one) in known]  # type: ignore[attr-defined]  # an enum
                found[name] = {one: known.pop(one) for one in order} | known
        return found

    def page(self, what: str, asked: Filter | None = None) -> Page:
        """Return a page of a list.

        Parameters
        ----------
        what : str
            ``datasets``, ``candidates``, ``tasks`` or ``jobs``.
        asked : Filter, optional
            Which rows; by default the newest.
        """
        asked = asked or Filter()
        table = t.metadata.tables[what]
        query = self._matching(what, table, asked)
        limit = max(1, min(asked.limit, MOST))
        is_back = asked.after is not None and asked.before is None
        if is_back:
            query = query.where(table.c.id > asked.after).order_by(table.c.id)
        else:
            query = query.order_by(table.c.id.desc())
            if asked.before is not None:
                query = query.where(table.c.id < asked.before)
        rows = self.rows(query.limit(limit + 1))
        has_more, rows = len(rows) > limit, rows[:limit]
        if not rows:
            return Page()
        if is_back:
            rows.reverse()
            return Page(rows, rows[-1]["id"], rows[0]["id"] if has_more else None)
        newer = rows[0]["id"] if asked.before is not None else None
        return Page(rows, rows[-1]["id"] if has_more else None, newer)

    def _matching(self, what: str, table: Table, asked: Filter) -> Any:
        """Return the query for the rows of a list, in no order."""
        columns = _shown(what)
        source: Any = table
        task = t.tasks.c
        if what == "jobs":  # searched by what their tasks are about
            columns += [task.name, task.type, task.program, task.target]
            source = table.join(t.tasks, task.id == table.c.task_id)
        query = select(*columns).select_from(source)
        about: Any = task if what == "jobs" else table.c
        if asked.program:
            query = query.where(about.program == asked.program)
        if asked.state:
            # Of a program there are a few, of a state nearly all: let no index of states be used.
            state = func.coalesce(table.c.state, "") if asked.program else table.c.state
            query = query.where(state == asked.state)
        if asked.kind and what != "candidates":
            query = query.where((table.c.kind if what == "datasets" else about.type) == asked.kind)
        for name, text in (("target", asked.target), ("name", asked.name)):
            if text and name in about:
                query = query.where(self._contains(about[name], text))
        when = table.c[_TIME[what]]
        if asked.since is not None:
            query = query.where(when >= asked.since)
        if asked.until is not None:
            query = query.where(when < asked.until)
        return query

    def _contains(self, column: Any, text: str) -> Any:
        """Return that a text holds another, in capital or small letters."""
        if self.engine.dialect.name == "sqlite":  # whose LIKE makes no difference, and is fast
            return column.contains(text, autoescape=True)
        return column.icontains(text, autoescape=True)

    def first_since(self, column: Any, since: float) -> int:
        """Return the number of about the first row that is not older than a time.

        Rows are numbered as they are made, so a few looks find it; clocks may jump a little, so the
        number is smaller than need be.

        Parameters
        ----------
        column : Column
            When a row was made; its table has a column ``id``.
        since : float
            Seconds since 1970.
        """
        number = column.table.c.id
        with self.engine.connect() as connection:
            low, high = 0, connection.execute(select(func.max(number))).scalar() or 0
            while high - low > SLACK:
                middle = (low + high) // 2
                row = connection.execute(
                    select(number, column).where(number >= middle).order_by(number).limit(1)
                ).one()
                if row[1] < since:
                    low = row[0]
                else:
                    high = middle
        return max(0, low - SLACK)

    # -- what goes on ----------------------------------------------------------------------------

    def running(self, limit: int = 25) -> list[dict[str, Any]]:
        """Return the jobs that run, the longest first."""
        j, k = t.jobs.c, t.tasks.c
        return self.rows(
            select(*_shown("jobs"), k.name, k.type, k.program, k.target)
            .join(t.tasks, k.id == j.task_id)
            .where(j.state == JobState.RUNNING)
            .order_by(j.started_at)
            .limit(limit)
        )

    def waiting(self, limit: int = 10) -> list[dict[str, Any]]:
        """Return the tasks that wait, the longest first, with the first files each waits for."""
        k, a = t.tasks.c, t.awaited.c
        rows = self.rows(
            select(*_shown("tasks"))
            .where(k.state == TaskState.WAITING)
            .order_by(k.since_at, k.id)
            .limit(limit)
        )
        for row in rows:
            found = self.rows(
                select(a.name)
                .where(a.task_id == row["id"], a.is_present.is_(False))
                .order_by(a.name)
                .limit(3)
            )
            row["awaits"] = [one["name"] for one in found]
        return rows

    def short(self, limit: int = 6) -> list[dict[str, Any]]:
        """Return the candidates that lack exposures their headers announced, the longest first."""
        c = t.candidates.c
        return self.rows(
            select(*_shown("candidates"))
            .where(c.present < c.expected)
            .order_by(c.changed_at, c.id)
            .limit(limit)
        )

    def alarms(self, limit: int = 10) -> dict[str, list[dict[str, Any]]]:
        """Return what somebody should look at: failed tasks, bad or contradictory files."""
        d, e = t.datasets.c, t.events.c
        bad = self.rows(
            select(*_shown("datasets"))
            .where(d.state.in_([DatasetState.CONFLICT, DatasetState.QUARANTINED]))
            .order_by(d.id.desc())
            .limit(limit)
        )
        refused = self.rows(
            select(t.events)
            .where(e.subject == "store", e.kind == "FileRefused")
            .order_by(e.seq.desc())
            .limit(limit)
        )
        failed = self.page("tasks", Filter(state=TaskState.FAILED, limit=limit)).rows
        return {"failed": failed, "datasets": bad, "refused": refused}

    # -- one thing -------------------------------------------------------------------------------

    def task(self, task_id: int) -> dict[str, Any] | None:
        """Return a task: its watch list, its jobs with inputs and products, its other versions.

        Parameters
        ----------
        task_id : int

        Returns
        -------
        task : dict or None
            ``awaited``: name, role, is_present and, if a file of the name is current,
            ``dataset_id`` and ``arrived_at``; ``jobs``: as `job` returns them, the newest first.
        """
        if not _is_number(task_id):
            return None
        k, a, d = t.tasks.c, t.awaited.c, t.datasets.c
        task = self._one(select(t.tasks).where(k.id == task_id))
        if task is None:
            return None
        is_current = (d.name == a.name) & (d.state == DatasetState.CURRENT)
        task["awaited"] = self.rows(
            select(a.name, a.role, a.is_present, d.id.label("dataset_id"), d.arrived_at)
            .outerjoin(t.datasets, is_current)
            .where(a.task_id == task_id)
            .order_by(a.is_present, a.name)
            .limit(WATCHED)
        )
        jobs = self.rows(
            select(t.jobs).where(t.jobs.c.task_id == task_id).order_by(t.jobs.c.number.desc())
            .limit(MOST)
        )  # fmt: skip
        task["jobs"] = self._with_files(jobs)
        task["versions"] = self.rows(
            select(k.id, k.version, k.state)
            .where(k.identity == task["identity"])
            .order_by(k.version)
            .limit(MOST)
        )
        return task

    def job(self, job_id: int) -> dict[str, Any] | None:
        """Return a job, with ``inputs`` and ``products`` (rows of datasets), and its task's name."""
        if not _is_number(job_id):
            return None
        j, k = t.jobs.c, t.tasks.c
        job = self._one(
            select(t.jobs, k.name, k.type, k.pipeline, k.program, k.target)
            .join(t.tasks, k.id == j.task_id)
            .where(j.id == job_id)
        )
        return None if job is None else self._with_files([job])[0]

    def _with_files(self, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Add to jobs what they were given, and what they made."""
        d, i = t.datasets.c, t.inputs.c
        numbers = [job["id"] for job in jobs]
        given = self.rows(
            select(i.job_id.label("of_job"), *_shown("datasets"))
            .join(t.datasets, d.id == i.dataset_id)
            .where(i.job_id.in_(numbers))
            .order_by(d.name)
            .limit(WATCHED * max(1, len(numbers)))
        )
        made = self.rows(
            select(*_shown("datasets"))
            .where(d.job_id.in_(numbers))
            .order_by(d.name, d.revision)
            .limit(WATCHED * max(1, len(numbers)))
        )
        for job in jobs:
            job["inputs"] = [row for row in given if row["of_job"] == job["id"]]
            job["products"] = [row for row in made if row["job_id"] == job["id"]]
        return jobs

    def dataset(self, dataset_id: int) -> dict[str, Any] | None:
        """Return a generation of a file, with ``generations`` and ``awaited_by`` of its name."""
        if not _is_number(dataset_id):
            return None
        d, a, k = t.datasets.c, t.awaited.c, t.tasks.c
        dataset = self._one(select(t.datasets).where(d.id == dataset_id))
        if dataset is None:
            return None
        name = dataset["name"]
        dataset["generations"] = self.rows(
            select(*_shown("datasets"))
            .where(d.name == name)
            .order_by(d.revision.desc())
            .limit(WATCHED)
        )
        dataset["awaited_by"] = self.rows(
            select(*_shown("tasks"), a.role)
            .join(t.awaited, a.task_id == k.id)
            .where(a.name == name)
            .order_by(k.id.desc())
            .limit(PAGE)
        )
        return dataset

    def place(self, dataset_id: int) -> dict[str, Any] | None:
        """Return the path of a dataset's file below the archive, and its checksum."""
        d = t.datasets.c
        return self._one(select(d.path, d.sha256).where(d.id == dataset_id))

    # -- events ----------------------------------------------------------------------------------

    def events_of(self, subject: str, number: int, limit: int = WATCHED) -> list[dict[str, Any]]:
        """Return what happened to a thing, the newest first."""
        e = t.events.c
        return self.rows(
            select(t.events)
            .where(e.subject == subject, e.subject_id == number)
            .order_by(e.seq.desc())
            .limit(limit)
        )

    def events_after(self, seq: int, limit: int = MOST) -> list[dict[str, Any]]:
        """Return what happened after an event, in order."""
        e = t.events.c
        after = max(-1, min(seq, LARGEST))
        return self.rows(select(t.events).where(e.seq > after).order_by(e.seq).limit(limit))

    def newest_events(self, limit: int = PAGE, before: int | None = None) -> list[dict[str, Any]]:
        """Return what happened last, the newest first."""
        e = t.events.c
        query = select(t.events).order_by(e.seq.desc()).limit(limit)
        return self.rows(query if before is None else query.where(e.seq < before))

    def last_event(self) -> int:
        """Return the number of the newest event; 0 if nothing has happened yet."""
        with self.engine.connect() as connection:
            return int(connection.execute(select(func.max(t.events.c.seq))).scalar() or 0)


def _is_number(number: int) -> bool:
    return 0 < number <= LARGEST


def _shown(what: str) -> list[Any]:
    return [t.metadata.tables[what].c[name] for name in _SHOWN[what]]

"""``lightmill ops why``: the story of a task, to its end and to what can be done now."""

from __future__ import annotations

import shlex
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightmill.cli.commands import argument, command
from lightmill.cli.ops.looking import age, as_line, in_words, shortfall_of
from lightmill.cli.ops.place import root_option, site_of
from lightmill.errors import LightmillError, UnknownNameError

if TYPE_CHECKING:
    from lightmill.cli.ops.place import Site

__all__ = ["why"]

LINES = 15  # of a log's end that are printed
LOG = "log.txt"


@command("why")
@argument("task", type=int, metavar="TASK", help="Number of a task.")
@root_option
@click.option("-n", "--lines", default=LINES, show_default=True, type=click.IntRange(0),
              metavar="N", help="Of the log of the last attempt, if it failed.")  # fmt: skip
def why(task: int, root: Path, lines: int) -> None:
    """Tell a task's story: what it waits for, what was tried, what happened."""
    from sqlalchemy import select

    from lightmill.workflow.store import tables as t

    site = site_of(root)
    store = site.opened()
    with store.reading() as connection:
        row = connection.execute(select(t.tasks).where(t.tasks.c.id == task)).first()
        if row is None:
            raise UnknownNameError("task", str(task), ())
        watch = connection.execute(select(t.awaited).where(t.awaited.c.task_id == task)).all()
        jobs = connection.execute(
            select(t.jobs).where(t.jobs.c.task_id == task).order_by(t.jobs.c.number)
        ).all()
        happened = [
            dict(one)
            for one in connection.execute(
                select(t.events)
                .where(t.events.c.subject == "task", t.events.c.subject_id == task)
                .order_by(t.events.c.seq)
            ).mappings()
        ]
        missing = [one.name for one in watch if not one.is_present]
        told = _makers(site, connection, row.program, missing)
        told |= _aside(connection, missing)
    short = store.short_candidates(row.program, row.candidate) if row.candidate else []
    store.close()
    _print_state(row)
    print(f"watch list ({row.missing} missing):")
    for one in watch:
        print(f"  {'there  ' if one.is_present else 'MISSING'} {one.name} ({one.role})")
        if one.name in told:
            print(f"          {told[one.name]}")
    for one in map(shortfall_of, short):
        print(f"candidate {in_words(one)}")
    _print_jobs(jobs, root, lines)
    print("events:")
    for event in happened:
        print("  " + as_line(event))


def _print_state(row: Any) -> None:
    from lightmill.workflow.states import TaskState

    state = TaskState(row.state)
    print(
        f"{row.name}: {state} since {age(row.since_at)}" + (f", {row.reason}" if row.reason else "")
    )
    print(f"  {state.guarantee}")
    if state is TaskState.FAILED and not row.missing:
        print(f"  When its cause is mended: lightmill ops retry {row.id}")
    if row.changed:
        print(f"  put off until what it is made of is settled: {row.changed}")


def _print_jobs(jobs: Iterable[Any], root: Path, lines: int) -> None:
    from lightmill.workflow.states import JobState

    last = None
    for job in jobs:
        print(
            f"job {job.id}, attempt {job.number}: {job.state}"
            + (f", {job.reason}" if job.reason else "")
            + _memory(job)
        )
        if job.command:
            print("  " + _shell(job.command, root / "jobs" / str(job.id)))
        last = job
    if last is None or last.state not in {JobState.FAILED, JobState.LOST}:
        return
    log = root / "jobs" / str(last.id) / LOG
    found = _tail(log, lines)
    if found:
        print(f"the end of {log}:")
        for line in found:
            print(f"  | {line}")


def _aside(connection: Any, missing: list[str]) -> dict[str, str]:
    """Say of files that are missing which of them are in quarantine, and how they come back."""
    from sqlalchemy import select

    from lightmill.workflow.states import DatasetState
    from lightmill.workflow.store import tables as t

    d = t.datasets.c
    rows = connection.execute(
        select(d.name, d.reason)
        .where(d.name.in_(missing), d.state == DatasetState.QUARANTINED)
        .order_by(d.revision)
    )
    return {
        row.name: f"in quarantine ({row.reason}): deliver a better one, or lightmill ops accept {row.name}"
        for row in rows
    }


def _makers(site: Site, connection: Any, program: str, missing: list[str]) -> dict[str, str]:
    """Say of files that are missing which task makes them, and how it stands."""
    from sqlalchemy import select

    from lightmill.cli.ops.running import planner_of
    from lightmill.workflow.states import TaskState
    from lightmill.workflow.store import tables as t

    if not missing:
        return {}
    planner = planner_of(site)
    k = t.tasks.c
    rows = connection.execute(
        select(k.id, k.name, k.pipeline, k.document, k.state, k.reason, k.since_at)
        .where(k.program == program, k.state.not_in([TaskState.SUPERSEDED]))
        .order_by(k.id)
    )
    wanted = {Path(name).stem: name for name in missing}
    found = {}
    for row in rows:
        try:
            made = planner.makes(row.pipeline, row.name, row.document)
        except LightmillError:  # the observatory does not say; nobody is worse off
            continue
        for stem in made & set(wanted):
            reason = f", {row.reason}" if row.reason else ""
            found[wanted[stem]] = f"task {row.id} makes it: {row.state} since {age(row.since_at)}{reason}"  # fmt: skip
    return found


def _tail(path: Path, lines: int) -> list[str]:
    """Return the last lines of a log, with nothing in them that a terminal would obey."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            found = deque(file, lines)
    except OSError:
        return []
    return ["".join(c if c.isprintable() else " " for c in line.rstrip("\n")) for line in found]


def _memory(job: Any) -> str:
    used = "" if job.peak_mb is None else f", used {job.peak_mb:.0f} MB"
    return f"; asked {job.memory_mb:.0f} MB{used}" if job.memory_mb else ""


def _shell(words: list[str], folder: Path) -> str:
    return f"cd {shlex.quote(str(folder))} && {shlex.join(words)}"

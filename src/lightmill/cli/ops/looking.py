"""``lightmill ops status``, ``tasks``, ``events``: what there is, and what happened."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from lightmill.cli.commands import command
from lightmill.cli.ops.place import root_option, site_of
from lightmill.errors import UnknownNameError

__all__ = ["age", "as_line", "events", "in_words", "shortfall_of", "status", "tasks"]

LATEST = 50  # events that are printed if nobody says which
PAUSE = 0.5  # seconds between two looks at the store


@command("status")
@root_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(root: Path, as_json: bool) -> None:
    """Count datasets, candidates, tasks and jobs by state; tell which exposures have not come."""
    store = site_of(root).opened()
    counts = store.status()
    short = [shortfall_of(row) for row in store.short_candidates()]
    store.close()
    if as_json:
        print(json.dumps(counts | {"short": short}, indent=1))
        return
    for name, states in counts.items():
        print(f"{name:11s} " + (", ".join(f"{n} {state}" for state, n in states.items()) or "none"))
    for one in short:
        print(in_words(one))


@command("tasks")
@root_option
@click.option("--state", multiple=True, metavar="STATE", help="Only those in it; repeatable.")
@click.option("--program", metavar="NAME", help="Only those of a program.")
@click.option("-n", "--number", default=50, show_default=True, type=click.IntRange(1), metavar="N",
              help="Most to print, the newest.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def tasks(
    root: Path, state: tuple[str, ...], program: str | None, number: int, as_json: bool
) -> None:
    """List tasks: associations, and first stages of exposures."""
    from sqlalchemy import select

    from lightmill.workflow.states import TaskState
    from lightmill.workflow.store import tables as t

    for one in state:
        if one.upper() not in set(TaskState):
            raise UnknownNameError("state of a task", one, [known.lower() for known in TaskState])
    k = t.tasks.c
    query = select(k.id, k.state, k.type, k.name, k.missing, k.since_at, k.reason)
    if state:
        query = query.where(k.state.in_([one.upper() for one in state]))
    if program:
        query = query.where(k.program == program)
    store = site_of(root).opened()
    with store.reading() as connection:
        rows = connection.execute(query.order_by(k.id.desc()).limit(number)).mappings().all()
    store.close()
    if as_json:
        print(json.dumps([dict(row) for row in rows], indent=1))
        return
    for row in reversed(rows):
        waits = f" ({row.missing} missing)" if row.missing else ""
        reason = f"  {row.reason}" if row.reason else ""
        print(f"{row.id:6d} {row.state:10s} {age(row.since_at):>6s} {row.type:10s} "
              f"{row.name}{waits}{reason}")  # fmt: skip


@command("events")
@root_option
@click.option("--after", type=click.IntRange(0), metavar="NUMBER",
              help="Begin after this event. [default: the last 50; with --follow: none before now]")  # fmt: skip
@click.option("--kind", multiple=True, metavar="KIND",
              help="Only those of a kind, as DatasetReplaced or TaskSucceeded; repeatable.")  # fmt: skip
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
def events(
    root: Path, after: int | None, kind: tuple[str, ...], follow: bool, as_json: bool
) -> None:
    """Tell what happened, for people or for programs that act on it."""
    from lightmill.workflow.store.following import Follower

    store = site_of(root).opened()
    if after is None:
        after = max(0, store.last_event() - (0 if follow else LATEST))
    follower = Follower(store.events_after, after)
    try:
        while True:
            found = follower.new()
            for row in found:
                if not kind or row["kind"] in kind:
                    print(json.dumps(row) if as_json else as_line(row), flush=True)
            if not found and not follow:
                return
            if not found:
                time.sleep(PAUSE)
    except KeyboardInterrupt:
        return
    finally:
        store.close()


def as_line(row: dict[str, Any]) -> str:
    """Return an event as a line.

    Parameters
    ----------
    row : dict
        Of the table of events.
    """
    told = {key: value for key, value in row["told"].items() if key not in {"from", "to"}}
    change = f" {row['told'].get('from')} → {row['told'].get('to')}" if "to" in row["told"] else ""
    about = f"{row['subject']} {row['subject_id']}" if row["subject_id"] else row["subject"]
    return f"{row['seq']} {_when(row['at'])} {row['kind']} {about}{change} {_words(told)}".rstrip()


def shortfall_of(row: Any) -> dict[str, Any]:
    """Return what a candidate lacks.

    Parameters
    ----------
    row : Row
        Of `Store.short_candidates`.
    """
    from lightmill.workflow.store.announcements import lacking

    return {
        "program": row.program, "candidate": row.name, "state": row.state, "present": row.present,
        "expected": row.expected, "since_at": row.changed_at, "lacking": lacking(row.announced),
    }  # fmt: skip


def in_words(one: dict[str, Any]) -> str:
    """Return a shortfall as a line.

    Parameters
    ----------
    one : dict
        Of `shortfall_of`.
    """
    groups = ", ".join(
        f"{name} {present} of {number}" for name, (present, number) in one["lacking"].items()
    )
    return (
        f"{one['program']}/{one['candidate']}: {one['state']}, {one['present']} of {one['expected']} exposures, the last "
        f"{age(one['since_at'])} ago" + (f": {groups}" if groups else "")
    )


def _words(told: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in told.items() if value not in (None, ""))


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))


def age(since: float) -> str:
    """Return how long ago something was, in words.

    Parameters
    ----------
    since : float
        Seconds since 1970.
    """
    seconds = max(0, int(time.time() - since))
    for size, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size} {letter}"
    return f"{seconds} s"

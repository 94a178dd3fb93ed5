"""Pages of the dashboard over a large store: 100,000 tasks and jobs, their datasets and events.

The store is filled by plain inserts: programs of 250 exposures, each with a first stage and its
product, and tasks that put four of them together; most are done, some wait, fail and run. The
application is asked in this process, without a network, so that the figures are its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import table

ASKED = 200.0  # ms: what the median of each page may take
PROGRAM, TOGETHER = 250, 4  # exposures of a program, and of an association
NOW = 1_800_000_000.0
ROWS = 5000  # inserted at a time


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=100_000, help="datasets are more")
    parser.add_argument("--times", type=int, default=15, help="each page is asked for")
    parser.add_argument(
        "--store", help="a PostgreSQL to fill instead, by its URL; it must be empty"
    )
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        began = time.perf_counter()
        known = filled(arguments.store or root, arguments.tasks)
        print(f"{known['counts']} in {time.perf_counter() - began:.0f} s")
        figures = measured(arguments.store or root, root, known, arguments.times)
    rows = [
        [page, one["size"], *(f"{one[name]:.1f}" for name in ("median", "least", "most", "cpu"))]
        for page, one in figures.items()
    ]
    print(table(["page", "bytes", "median ms", "least ms", "most ms", "CPU ms"], rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))
    slow = [page for page, one in figures.items() if one["median"] > ASKED]
    print(f"slower than {ASKED:.0f} ms: {', '.join(slow) or 'none'}")
    return 1 if slow else 0


# -- a store ---------------------------------------------------------------------------------------


def filled(place: Any, tasks: int) -> dict[str, Any]:
    """Fill a store; return numbers of things to look at."""
    from lightmill.workflow.store import create_store, open_engine
    from lightmill.workflow.store import tables as t

    create_store(place)
    engine = open_engine(place)
    rows: dict[str, list[dict]] = {table.name: [] for table in t.metadata.sorted_tables}
    exposures = tasks * TOGETHER // (TOGETHER + 1) + TOGETHER
    chance, known = random.Random(1), {}
    for number in range(exposures):
        exposure(rows, number, number / exposures, chance, known)
    counts = {name: len(found) for name, found in rows.items() if found}
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        for name in ("events", "candidates", "tasks", "awaited", "jobs", "datasets", "inputs"):
            for first in range(0, len(rows[name]), ROWS):
                connection.execute(
                    t.metadata.tables[name].insert(), rows[name][first : first + ROWS]
                )
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")  # as the server does by itself, later
    engine.dispose()
    return {**known, "counts": ", ".join(f"{count} {name}" for name, count in counts.items())}


def exposure(rows: dict, number: int, part: float, chance: random.Random, known: dict) -> None:
    """Add an exposure, its first stage, its product, and what is made of each four of them."""
    program, target = f"{1000 + number // PROGRAM}", f"FIELD-{number // PROGRAM % 97}"
    about = {"program": program, "target": target}
    at = NOW - 30 * 86400 * (1 - part) - 600
    stem = f"lm{program}{number:07d}"
    facts = {f"keyword{k}": f"value {k} of {number}" for k in range(25)}
    is_new = part > 0.995
    state = chance.choices(("FAILED", "RUNNING", "READY"), (2, 1, 4))[0] if is_new else "DONE"
    if number % 199 == 0:
        state = "FAILED"
    if number % PROGRAM == 0:
        rows["candidates"].append(
            {"id": len(rows["candidates"]) + 1, "program": program, "name": "o001", "expected": PROGRAM,
                 "present": PROGRAM, "state": "COMPLETE", "changed_at": at, "is_dirty": False}
        )  # fmt: skip
    raw = dataset(rows, f"{stem}_uncal.fits", "exposure", "uncal", at, about, facts, None)
    job = task(rows, f"{stem}_uncal.fits", "exposure", 1, state, at, about, [raw], None)
    made = None
    if state == "DONE":
        made = dataset(rows, f"{stem}_rate.fits", "product", "rate", at + 90, about, {}, job)
        known["exposure"], known["product"] = raw, made
    else:
        known[state] = rows["tasks"][-1]["id"]
    waits = rows.setdefault("_together", [])
    waits.append((made, f"{stem}_rate.fits"))
    if len(waits) < TOGETHER:
        return
    missing = sum(one is None for one, _ in waits)
    document = {"products": [{"name": stem, "members": [{"expname": n} for _, n in waits]}]}
    job = task(rows, f"{stem}_asn.json", "image2", 2, "WAITING" if missing else "DONE", at + 95,
               about, list(waits), document)  # fmt: skip
    if missing:
        known["WAITING"] = rows["tasks"][-1]["id"]
    else:
        known["mosaic"] = dataset(
            rows, f"{stem}_i2d.fits", "product", "i2d", at + 200, about, {}, job
        )
        known["DONE"], known["job"] = rows["tasks"][-1]["id"], job
    waits.clear()


def dataset(
    rows: dict, name: str, kind: str, suffix: str, at: float, about: dict, facts: dict, job: Any
) -> int:
    number = len(rows["datasets"]) + 1
    event(rows, "DatasetArrived", "dataset", number, at, {"name": name, "revision": 1})
    rows["datasets"].append(
        dict(id=number, name=name, revision=1, generation="2027-01-15T08:00:00", size=8 << 20,
             sha256=f"{number:064x}", path=f"{about['program']}/{name}/1/{name}", kind=kind,
             suffix=suffix, state="CURRENT", reason="", facts=facts, job_id=job, arrived_at=at,
             **about)
    )  # fmt: skip
    return number


def task(
    rows: dict, name: str, kind: str, level: int, state: str, at: float, about: dict,
    given: list, document: Any,
) -> int | None:  # fmt: skip
    """Add a task with its watch list and its job; return the job's number."""
    number = len(rows["tasks"]) + 1
    named = [one if isinstance(one, tuple) else (one, name) for one in given]
    event(rows, "TaskPlanned", "task", number, at, {"name": name, "type": kind})
    rows["tasks"].append(
        dict(id=number, identity=f"{kind}|{name}", version=1, name=name, type=kind, level=level,
             pipeline=f"stage{level}", candidate="o001", document=document, state=state,
             missing=sum(one is None for one, _ in named), attempts=0, reason="", since_at=at,
             **about)
    )  # fmt: skip
    rows["awaited"] += [
        {"task_id": number, "name": file, "role": "science", "is_present": one is not None}
        for one, file in named
    ]
    if state == "WAITING":
        return None
    job = len(rows["jobs"]) + 1
    over = {"READY": "QUEUED"}.get(state, state)
    has_begun, has_ended = over != "QUEUED", over in {"DONE", "FAILED"}
    took = 2.0 + number % 60
    rows["jobs"].append(
        {"id": job, "task_id": number, "number": 1, "state": over, "engine": "local" if has_begun else "",
             "handle": f"{job}:1" if has_begun else "", "queued_at": at + 1,
             "started_at": at + 3 + number % 7 if has_begun else None,
             "ended_at": at + 10 + took if has_ended else None,
             "exit_status": 0 if over == "DONE" else None, "reason": "",
             "command": ["lightmill", "run", f"stage{level}", f"in/{name}"]}
    )  # fmt: skip
    rows["inputs"] += [{"job_id": job, "dataset_id": one} for one, _ in named if one and has_begun]
    for word in ("Started", "Succeeded") if over == "DONE" else ():
        event(rows, f"Task{word}", "task", number, at + 5, {"from": "READY", "to": "RUNNING"})
    return job


def event(rows: dict, kind: str, subject: str, number: int, at: float, told: dict) -> int:
    seq = len(rows["events"]) + 1
    rows["events"].append(
        {
            "seq": seq,
            "at": at,
            "kind": kind,
            "subject": subject,
            "subject_id": number,
            "who": "service",
            "told": told,
        }
    )
    return seq


# -- asking ----------------------------------------------------------------------------------------


def pages(known: dict[str, Any], counts: dict[str, int]) -> Iterator[str]:
    """Yield the addresses of pages, the usual and the worst."""
    middle = counts["datasets"] // 2
    yield from ("/", "/?by=hour", "/events", "/tasks", "/datasets", "/candidates", "/jobs")
    yield f"/datasets?before={middle}"
    yield "/datasets?program=1100"
    yield "/datasets?state=CURRENT"
    yield "/datasets?program=1000&state=CURRENT"  # the oldest program
    yield "/datasets?kind=companion"  # there are none
    yield "/datasets?name=0012345_rate"
    yield "/datasets?name=nothing"
    yield "/datasets?target=FIELD-42"
    yield "/datasets?target=nothing"
    yield "/datasets?since=2027-01-01"
    yield "/datasets?until=2026-01-01"  # none is so old
    yield from (f"/tasks?state={state}" for state in ("WAITING", "FAILED", "DONE", "CANCELLED"))
    yield "/tasks?program=1100&state=FAILED"
    yield "/tasks?name=nothing"
    yield "/tasks?kind=nothing"
    yield "/jobs?program=1100"
    yield "/jobs?state=RUNNING"
    yield "/jobs?target=nothing"
    yield from (
        f"/tasks/{known[state]}" for state in ("FAILED", "WAITING", "DONE") if state in known
    )
    yield from (f"/datasets/{known[one]}" for one in ("exposure", "product", "mosaic"))
    yield f"/jobs/{known['job']}"
    yield from ("/api/status", "/api/tasks", "/api/events?after=1000", "/metrics")


def measured(place: Any, root: Path, known: dict[str, Any], times: int) -> dict[str, Any]:
    """Ask for each page some times, in an order that is not the same each time."""
    from lightmill.dashboard import application

    app = application(place, archive=root / "archive", tokens=None, clock=lambda: NOW)
    counts = {name: sum(one.values()) for name, one in app.state.questions.counts().items()}
    addresses = list(dict.fromkeys(pages(known, counts)))
    seconds: dict[str, list[float]] = {page: [] for page in addresses}
    used: dict[str, list[float]] = {page: [] for page in addresses}  # without the database's server
    sizes: dict[str, int] = {}

    async def all_of_them() -> None:
        for page in addresses:
            await ask(app, page)  # templates are compiled, files are read the first time
        for _ in range(times):
            for page in random.sample(addresses, len(addresses)):
                began, cpu = time.perf_counter(), time.process_time()
                sizes[page] = await ask(app, page)
                seconds[page].append(1e3 * (time.perf_counter() - began))
                used[page].append(1e3 * (time.process_time() - cpu))

    asyncio.run(all_of_them())
    app.state.questions.close()
    return {
        page: {
            "median": statistics.median(found), "least": min(found), "most": max(found),
            "size": sizes[page], "cpu": statistics.median(used[page]),
        }
        for page, found in seconds.items()
    }  # fmt: skip


async def ask(app: Any, address: str) -> int:
    """Return the size of an answer, which must be a good one."""
    path, _, query = address.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "scheme": "http", "server": ("127.0.0.1", 8780), "client": ("127.0.0.1", 50000),
        "headers": [(b"host", b"127.0.0.1:8780"), (b"accept", b"text/html")],
    }  # fmt: skip
    status, size = 0, 0

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict) -> None:
        nonlocal status, size
        status = message.get("status", status)
        size += len(message.get("body", b""))

    await app(scope, receive, send)
    if status != 200:
        sys.exit(f"{address}: status {status}")
    return size


if __name__ == "__main__":
    sys.exit(main())

"""The store as JSON: what the pages show, for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response

from lightmill.dashboard import metrics, stream
from lightmill.dashboard.actions import FILE_ACTIONS, allowed, allowed_of_file, done
from lightmill.dashboard.asking import asked_of, number_of
from lightmill.dashboard.lineage import lineage
from lightmill.dashboard.lists import MOST
from lightmill.dashboard.queries import STATES
from lightmill.dashboard.rates import SPANS, rates

__all__ = ["PlainJSON", "add_interface", "dataset_facts", "job_facts", "task_facts"]


class PlainJSON(JSONResponse):
    """An answer in ASCII: whatever text is in the store, it can be sent. No number is not a number."""

    def render(self, content: Any) -> bytes:
        """Return the text of the answer."""
        try:
            text = json.dumps(content, allow_nan=False, separators=(",", ":"))
        except ValueError:
            content = json.loads(json.dumps(content), parse_constant=lambda _: None)
            text = json.dumps(content, separators=(",", ":"))
        return text.encode("ascii")


def task_facts(state: Any, task_id: int) -> dict[str, Any] | None:
    """Return a task with its story: watch list, jobs with their logs, what may be done, events."""
    task: dict[str, Any] | None = state.questions.task(task_id)
    if task is None:
        return None
    task["jobs"] = [_job(state, job, is_whole=not k) for k, job in enumerate(task["jobs"])]
    task["actions"] = allowed(task["state"])
    task["guarantee"] = guarantee("tasks", task["state"])
    task["events"] = state.questions.events_of("task", task_id)
    return task


def job_facts(state: Any, job_id: int) -> dict[str, Any] | None:
    """Return a job with the end of its log, inputs, products and events."""
    job = state.questions.job(job_id)
    if job is None:
        return None
    job = _job(state, job)
    job["guarantee"] = guarantee("jobs", job["state"])
    job["events"] = state.questions.events_of("job", job_id)
    return job


def dataset_facts(state: Any, dataset_id: int) -> dict[str, Any] | None:
    """Return a generation of a file: the others of its name, lineage, who awaits it, events."""
    dataset: dict[str, Any] | None = state.questions.dataset(dataset_id)
    if dataset is None:
        return None
    found = lineage(state.questions, dataset_id)
    dataset["lineage"] = {
        "nodes": list(found.nodes.values()),
        "edges": [list(edge) for edge in found.edges],
        "is_cut": found.is_cut,
    }
    dataset["guarantee"] = guarantee("datasets", dataset["state"])
    dataset["actions"] = allowed_of_file(dataset["state"])
    dataset["events"] = state.questions.events_of("dataset", dataset_id)
    return dataset


def guarantee(what: str, state: str) -> str:
    """Return what holds for things in a state."""
    states: Any = STATES[what]
    return states(state).guarantee if state in list(states) else ""


def _job(state: Any, job: Mapping[str, Any], *, is_whole: bool = True) -> dict[str, Any]:
    """Return a job with what it left in its folder; the record only of one that is shown whole."""
    files = state.job_files
    return {
        **job,
        "log": files.log(job["id"]),
        "record": files.record(job["id"]) if is_whole else None,
        "host": files.host(job["id"]),
        "again": files.again(job["id"], job["command"]),
    }


def add_interface(app: FastAPI) -> None:
    """Answer programs.

    Parameters
    ----------
    app : FastAPI
        Its state has ``questions``, ``job_files``, ``sessions``, ``act`` and ``clock``.
    """
    _add_things(app)

    @app.get("/api/status", summary="Counts by state, and the number of the last event")
    def status() -> dict[str, Any]:
        questions = app.state.questions
        return {**questions.counts(), "last_event": questions.last_event()}

    @app.get("/api/rates/{by}", summary="Throughput and latency by minute or hour")
    def rates_of(by: str) -> dict[str, Any]:
        if by not in SPANS:
            raise HTTPException(404, f"there is no {by[:40]!r}: ask by {' or '.join(SPANS)}")
        return rates(app.state.questions, by, app.state.clock())

    @app.get("/api/events", summary="What happened after an event, in order")
    def events(after: int = 0, limit: int = 100) -> dict[str, Any]:
        found = app.state.questions.events_after(after, max(1, min(limit, MOST)))
        return {"events": found, "last": found[-1]["seq"] if found else after}

    @app.get("/api/events/stream", summary="What happens, as it happens (server-sent events)")
    async def streamed(request: Request) -> Response:
        return await stream.events(request)

    @app.post("/api/tasks/{task}/{action}", summary="Hold, release, retry, cancel … a task")
    async def act(request: Request, task: str, action: str) -> Response:
        number = await done(request, task, action)
        return PlainJSON({"task": number, "action": action}, 202)

    @app.post("/api/datasets/{dataset}/{action}", summary="Accept or quarantine a file")
    async def act_on_file(request: Request, dataset: str, action: str) -> Response:
        number = await done(request, dataset, action, FILE_ACTIONS)
        return PlainJSON({"dataset": number, "action": action}, 202)

    @app.get("/metrics", summary="Counts for Prometheus")
    def measured() -> Response:
        text = metrics.text(app.state.questions)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/health", include_in_schema=False)
    def health() -> dict[str, str]:
        app.state.questions.last_event()
        return {"status": "ok"}


def _add_things(app: FastAPI) -> None:
    """Answer what there is, and what is known of one thing."""

    def listed(what: str, request: Request) -> dict[str, Any]:
        page = app.state.questions.page(what, asked_of(request.query_params))
        return {"rows": page.rows, "older": page.older, "newer": page.newer}

    @app.get("/api/tasks", summary="Tasks; search by program, target, name, state, kind, time")
    def tasks(request: Request) -> dict[str, Any]:
        return listed("tasks", request)

    @app.get("/api/datasets", summary="Datasets; search as for tasks")
    def datasets(request: Request) -> dict[str, Any]:
        return listed("datasets", request)

    @app.get("/api/candidates", summary="Candidates; search by program, name, state, time")
    def candidates(request: Request) -> dict[str, Any]:
        return listed("candidates", request)

    @app.get("/api/jobs", summary="Jobs; search as for tasks")
    def jobs(request: Request) -> dict[str, Any]:
        return listed("jobs", request)

    @app.get("/api/tasks/{task}", summary="A task and its story")
    def task_of(task: str) -> Response:
        return _found(task_facts(app.state, number_of(task, "task")), "task", task)

    @app.get("/api/datasets/{dataset}", summary="A dataset, its generations and its lineage")
    def dataset_of(dataset: str) -> Response:
        facts = dataset_facts(app.state, number_of(dataset, "dataset"))
        return _found(facts, "dataset", dataset)

    @app.get("/api/jobs/{job}", summary="A job, the end of its log, inputs and products")
    def job_of(job: str) -> Response:
        return _found(job_facts(app.state, number_of(job, "job")), "job", job)

    @app.get("/api/jobs/{job}/log", summary="The log of a job, as text")
    def log_of(job: str) -> Response:
        from lightmill.dashboard.job_files import LARGEST

        text = app.state.job_files.log(number_of(job, "job"), LARGEST)
        if text is None:
            raise HTTPException(404, f"there is no log of job {job[:40]!r}")
        return Response(text, media_type="text/plain; charset=utf-8")


def _found(facts: dict[str, Any] | None, what: str, which: str) -> Response:
    if facts is None:
        raise HTTPException(404, f"there is no {what} {which[:40]!r}")
    return PlainJSON(facts)

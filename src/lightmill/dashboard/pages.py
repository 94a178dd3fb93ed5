"""Pages for people: what arrived, what runs, what waits and since when, what failed, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from lightmill.dashboard import render
from lightmill.dashboard.access import LIFE
from lightmill.dashboard.actions import ACTIONS, FILE_ACTIONS, done
from lightmill.dashboard.api import dataset_facts, job_facts, task_facts
from lightmill.dashboard.asking import FIELDS, asked_of, checked_form, form_of, number_of
from lightmill.dashboard.guard import cookie_of, visitor_of
from lightmill.dashboard.lists import Filter
from lightmill.dashboard.preview import SIZES
from lightmill.dashboard.queries import STATES
from lightmill.dashboard.rates import SPANS, rates
from lightmill.errors import DataError

__all__ = ["add_pages", "error_page", "overview_facts"]

_STATIC = {"style.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}
_FAR = "private, max-age=86400, immutable"  # pictures are named by the checksum of what they show


def add_pages(app: FastAPI) -> None:
    """Answer browsers.

    Parameters
    ----------
    app : FastAPI
        Its state has ``questions``, ``job_files``, ``previews``, ``sessions``, ``tokens``,
        ``act``, ``title`` and ``clock``.
    """
    _add_looking(app)
    _add_lists(app)
    _add_files(app)
    _add_acting(app)


def overview_facts(state: Any, by: str = "minute") -> dict[str, Any]:
    """Return what the overview shows."""
    questions = state.questions
    return {
        "last_event": questions.last_event(),
        "counts": questions.counts(),
        "arrivals": questions.page("datasets", Filter(limit=8)).rows,
        "running": questions.running(),
        "hosts": state.job_files.host,
        "waiting": questions.waiting(),
        "short": questions.short(),
        "alarms": questions.alarms(6),
        "rates": rates(questions, by, state.clock()),
        "events": questions.newest_events(12),
    }


def error_page(request: Request, status: int, text: str) -> Response:
    """Return the page that tells a failure."""
    return _page(request, "error", status=status, text=text)


def _add_looking(app: FastAPI) -> None:
    state = app.state

    @app.get("/", include_in_schema=False)
    def overview(request: Request) -> Response:
        by = request.query_params.get("by", "minute")
        return _page(request, "overview", **overview_facts(state, by if by in SPANS else "minute"))

    @app.get("/tasks/{task}", include_in_schema=False)
    def task_page(request: Request, task: str) -> Response:
        facts = task_facts(state, number_of(task, "task"))
        return _page(request, "task", task=_there(facts, "task", task), actions=ACTIONS)

    @app.get("/jobs/{job}", include_in_schema=False)
    def job_page(request: Request, job: str) -> Response:
        facts = job_facts(state, number_of(job, "job"))
        return _page(request, "job", job=_there(facts, "job", job))

    @app.get("/datasets/{dataset}", include_in_schema=False)
    def dataset_page(request: Request, dataset: str) -> Response:
        facts = dataset_facts(state, number_of(dataset, "dataset"))
        there = _there(facts, "dataset", dataset)
        return _page(request, "dataset", dataset=there, actions=FILE_ACTIONS)

    @app.get("/events", include_in_schema=False)
    def events_page(request: Request) -> Response:
        asked = asked_of(request.query_params)
        rows = state.questions.newest_events(asked.limit + 1, asked.before)
        older = rows[asked.limit - 1]["seq"] if len(rows) > asked.limit else None
        return _page(
            request, "events", events=rows[: asked.limit], older=older, is_first=not asked.before
        )


def _add_lists(app: FastAPI) -> None:
    def listing(what: str) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            asked = asked_of(request.query_params)
            given = {name: request.query_params.get(name, "") for name in FIELDS}
            found = app.state.questions.page(what, asked)
            is_newest = asked.before is None and asked.after is None
            return _page(
                request, "list", what=what, page=found, given=given,
                is_searched=any(given.values()), is_newest=is_newest,
            )  # fmt: skip

        return answer

    for what in STATES:
        app.get(f"/{what}", include_in_schema=False)(listing(what))


def _add_files(app: FastAPI) -> None:
    @app.get("/datasets/{dataset}/{size}.png", include_in_schema=False)
    def picture(dataset: str, size: str) -> Response:
        number = number_of(dataset, "dataset")
        row = app.state.questions.place(number) if size in SIZES else None
        if row is None:
            raise HTTPException(404, "there is no such picture")
        try:
            content = app.state.previews.picture(row["path"], row["sha256"], size)
        except DataError as error:
            content = render.no_picture(error.fact if size != "thumb" else "")
            status = 200 if size == "thumb" else 404  # lists are of files that may be no images
            return Response(content, status, media_type="image/svg+xml")
        return Response(content, media_type="image/png", headers={"Cache-Control": _FAR})

    @app.get("/static/{name}", include_in_schema=False)
    def static(name: str) -> Response:
        if name not in _STATIC:
            raise HTTPException(404, "there is no such file")
        content = (render.STATIC / name).read_bytes()
        headers = {"Cache-Control": "no-cache"}
        return Response(content, media_type=_STATIC[name], headers=headers)


def _add_acting(app: FastAPI) -> None:
    sessions = app.state.sessions

    @app.get("/login", include_in_schema=False)
    def login_page(request: Request) -> Response:
        return _login(request, request.query_params.get("next", ""))

    @app.post("/login", include_in_schema=False)
    async def login(request: Request) -> Response:
        form = await form_of(request)
        checked_form(request, form, sessions)
        given, tokens = form.get("token", "").strip(), app.state.tokens
        holder = await run_in_threadpool(tokens.holder, given) if tokens is not None else None
        if holder is None:
            return await run_in_threadpool(
                _login, request, form.get("next", ""), "nobody has this token", 403
            )
        sessions.end(visitor_of(request).session)
        answer = RedirectResponse(_inside(form.get("next", "")), 303)
        _give(request, answer, sessions.begin(given), int(LIFE))
        return answer

    @app.post("/logout", include_in_schema=False)
    async def logout(request: Request) -> Response:
        checked_form(request, await form_of(request), sessions)
        sessions.end(visitor_of(request).session)
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(cookie_of(request.scope), httponly=True, samesite="strict")
        return answer

    @app.post("/tasks/{task}/{action}", include_in_schema=False)
    async def act(request: Request, task: str, action: str) -> Response:
        number = await done(request, task, action)
        return RedirectResponse(f"/tasks/{number}?asked={action}", 303)

    @app.post("/datasets/{dataset}/{action}", include_in_schema=False)
    async def act_on_file(request: Request, dataset: str, action: str) -> Response:
        number = await done(request, dataset, action, FILE_ACTIONS)
        return RedirectResponse(f"/datasets/{number}?asked={action}", 303)


def _login(request: Request, asked: str, wrong: str = "", status: int = 200) -> Response:
    """Return the page to log in on; the browser is given a name to seal its form with."""
    import secrets

    visitor = visitor_of(request)
    session = visitor.session or secrets.token_urlsafe(32)
    seal = request.app.state.sessions.seal(session)
    answer = _page(
        request, "login", status=status, seal=seal, asked=_inside(asked), wrong=wrong,
        can_log_in=request.app.state.tokens is not None,
    )  # fmt: skip
    if not visitor.session:
        _give(request, answer, session, 3600)
    return answer


def _give(request: Request, answer: Response, session: str, life: int) -> None:
    answer.set_cookie(
        cookie_of(request.scope), session, max_age=life, httponly=True, samesite="strict",
        secure=request.url.scheme == "https",
    )  # fmt: skip


def _inside(address: str) -> str:
    """Return an address of ours, or that of the overview."""
    parts = urlsplit(address.replace("\\", "/"))
    is_ours = address.startswith("/") and not parts.scheme and not parts.netloc
    return address if is_ours and address.isprintable() and address.isascii() else "/"


def _there(facts: dict[str, Any] | None, what: str, which: str) -> dict[str, Any]:
    if facts is None:
        raise HTTPException(404, f"there is no {what} {which[:40]}")
    return facts


def _page(request: Request, name: str, *, status: int = 200, **facts: Any) -> Response:
    state, visitor = request.app.state, visitor_of(request)
    facts = {
        "title": state.title, "now": state.clock(), "at": render.Served(), "visitor": visitor,
        "csrf": state.sessions.seal(visitor.session) if visitor.role is not None else "",
        "can_log_in": state.tokens is not None, "can_act": state.act is not None,
        "path": request.url.path, "asked_for": request.query_params.get("asked", ""),
        "status": status, **facts,
    }  # fmt: skip
    return Response(
        render.page(name, **facts), status_code=status, media_type="text/html; charset=utf-8"
    )

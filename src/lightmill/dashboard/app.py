"""The web application of an observatory: pages for people, JSON for programs, one store behind."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from lightmill.dashboard import pages, stream
from lightmill.dashboard.access import Sessions, Tokens
from lightmill.dashboard.actions import Act, status_of
from lightmill.dashboard.api import PlainJSON, add_interface
from lightmill.dashboard.guard import Guard
from lightmill.dashboard.job_files import JobFiles
from lightmill.dashboard.preview import Previews
from lightmill.dashboard.queries import Questions
from lightmill.errors import LightmillError
from lightmill.workflow.patience import Unavailable

__all__ = ["application"]

log = logging.getLogger("lightmill.dashboard")


def application(
    store_url: str | Path,
    *,
    archive: Path,
    tokens: Tokens | None,
    act: Act | None = None,
    hosts: Iterable[str] = (),
    is_private: bool = False,
    title: str = "",
    clock: Callable[[], float] = time.time,
    pause: float = stream.PAUSE,
) -> FastAPI:
    """Return the application that shows an observatory at work.

    Parameters
    ----------
    store_url : str or Path
        URL of the store, or folder of the observatory.
    archive : Path
        Folder of the archive; beside it are ``jobs`` and, made when needed, ``previews``.
    tokens : Tokens or None
        Who may log in; None: nobody. On this machine's own addresses one may read without.
    act : callable, optional
        Does what an operator asks for: it is given the number of a task, ``hold``, ``release``,
        ``retry``, ``cancel``, ``reprocess`` or ``priority``, its facts (``reason`` or
        ``priority``) and who asks. Without it nothing can be done.
    hosts : iterable of str
        Names, or names with ports, by which browsers elsewhere reach the server. All others
        are refused.
    is_private : bool
        Whether those on the same machine must log in to read, too: where a proxy there hides
        who really asks, and does not say so.
    title : str
        Of the observatory; by default its folder's name.
    clock : callable
        Seconds since 1970.
    pause : float
        Seconds between two looks at the store for those who look on.

    Returns
    -------
    app : FastAPI
        To be run by any ASGI server, in one process: sessions live in its memory.
    """
    app = FastAPI(
        title="Lightmill dashboard",
        docs_url=None,  # these two load scripts from elsewhere
        redoc_url=None,
        default_response_class=PlainJSON,
    )
    root = Path(archive).resolve().parent
    state = app.state
    state.questions, state.job_files = Questions(store_url), JobFiles(root / "jobs")
    state.previews = Previews(Path(archive), root / "previews")
    state.sessions, state.tokens, state.act = Sessions(), tokens, act
    state.title, state.clock = title or root.name, clock
    state.pause, state.streams, state.is_over = pause, 0, False
    add_interface(app)
    pages.add_pages(app)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(LightmillError, _failed)
    app.add_exception_handler(SQLAlchemyError, _no_store)
    app.add_exception_handler(Unavailable, _no_store)
    app.add_middleware(
        Guard, sessions=state.sessions, tokens=tokens, hosts=tuple(hosts), is_private=is_private
    )
    return app


async def _refused(request: Request, error: Any) -> Response:
    return _told(request, error.status_code, str(error.detail), error.headers)


async def _not_understood(request: Request, error: Any) -> Response:
    del error
    return _told(request, 400, "the question cannot be understood")


async def _failed(request: Request, error: Any) -> Response:
    return _told(request, status_of(error), error.story())


async def _no_store(request: Request, error: Any) -> Response:
    log.error("the store cannot be asked: %s", error)  # addresses of stores may hold passwords
    return _told(request, 503, "the store cannot be reached now; nothing is lost, try again")


def _told(request: Request, status: int, text: str, headers: Any = None) -> Response:
    """Tell people in a page, programs in JSON."""
    if request.url.path.startswith("/api/") or "text/html" not in request.headers.get("accept", ""):
        return PlainJSON({"error": text, "status": status}, status, headers)
    return pages.error_page(request, status, text)

"""The web application: what is asked by which address.

The protocol of the official client, files, a JSON interface and pages, all over
the same holdings.
"""

from __future__ import annotations

import html
import json
import logging
from collections.abc import Iterable
from importlib import metadata
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lightmill.errors import (
    ConfigurationError,
    DataError,
    LightmillError,
    NothingSelectedError,
)
from lightmill.reference.cache import Cache
from lightmill.reference.layout import is_mapping
from lightmill.reference.server import delivery, pages
from lightmill.reference.server.holdings import Holdings, NotHereError
from lightmill.reference.server.questions import Questions, TooLargeError, checked_header

__all__ = ["create_app"]

LARGEST_QUESTION = 16 << 20  # bytes; a thousand long headers take 4 MB
_log = logging.getLogger("lightmill.reference.server")


class PlainJSON(JSONResponse):
    """An answer in ASCII: whatever text was asked with, the answer can be sent."""

    def render(self, content: Any) -> bytes:
        """Return the text of the answer."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class Asked(BaseModel):
    """A header for which references are wanted."""

    header: dict[str, str | int | float | bool | None] = Field(
        description="what the data say of themselves", max_length=1000
    )
    context: str | None = Field(
        None, description="name, state (jwst-edit) or date; by default the one in use"
    )
    observatory: str | None = Field(None, description="where the context does not say it")
    types: list[str] | None = Field(None, description="by default all the instrument has")


class AskedMany(BaseModel):
    """Headers for which references are wanted, all of one instrument or of several."""

    headers: list[dict[str, str | int | float | bool | None]] = Field(max_length=100_000)
    context: str | None = None
    observatory: str | None = None
    types: list[str] = Field(min_length=1)


def create_app(
    cache: Cache,
    *,
    operational: Iterable[str] = (),
    only: Iterable[str] | None = None,
    url: str | None = None,
) -> FastAPI:
    """Return the application that serves a cache.

    Parameters
    ----------
    cache : Cache
        What to serve; it is only read.
    operational : iterable of str, optional
        Names of the contexts in use; by default see `Holdings.operational`.
    only : iterable of str, optional
        The observatories to serve; by default all.
    url : str, optional
        Address of the server as clients know it, if it is not the one they use
        (behind a proxy that does not tell).

    Returns
    -------
    app : FastAPI
        To be run by any ASGI server.

    Raises
    ------
    ConfigurationError
        If a named context or observatory is not in the cache.
    """
    version = _version()
    holdings = Holdings(cache, operational=operational, only=only)
    app = FastAPI(
        title="Lightmill reference server",
        version=version,
        description="Contexts, best references and files of a cache.",
        docs_url=None,  # these two load scripts from elsewhere; /api is ours
        redoc_url=None,
        default_response_class=PlainJSON,
    )
    app.state.holdings = holdings

    def address(request: Request) -> str:
        return url or str(request.base_url)

    _add_protocol(app, holdings, address, version)
    _add_interface(app, holdings, version)
    pages.add_pages(app, holdings, address)
    _add_files(app, holdings)
    app.add_exception_handler(LightmillError, _told_error)
    app.add_exception_handler(RequestValidationError, _refused)
    app.add_middleware(LimitedBody, largest=LARGEST_QUESTION)
    return app


def _version() -> str:
    try:
        return metadata.version("lightmill")
    except metadata.PackageNotFoundError:  # a source tree on the path
        return "unknown"


def _add_protocol(app: FastAPI, holdings: Holdings, address: Any, version: str) -> None:
    """Answer the questions of the official client."""

    @app.post("/json/{method}/{number}/", include_in_schema=False)
    @app.post("/json/{method}/{number}", include_in_schema=False)
    @app.post("/{observatory}/json/{method}/{number}/", include_in_schema=False)
    @app.post("/{observatory}/json/{method}/{number}", include_in_schema=False)
    async def question(
        request: Request, method: str, number: str, observatory: str | None = None
    ) -> Response:
        text = await request.body()  # of any type: the official client calls it a form
        asked = Questions(holdings, address(request), observatory, version)
        answer = await run_in_threadpool(_answer, asked, method, number, text)
        return Response(answer, media_type="application/json")


def _answer(asked: Questions, method: str, number: str, text: bytes) -> bytes:
    """Return the answer to a posted question, which may be an error."""
    result: Any = None
    problem: dict[str, Any] | None = None
    try:
        question = _read_question(text)
        number = question.get("id", number)
        result = asked.answer(question.get("method", method), question.get("params", []))
    except LightmillError as error:
        problem = _rpc_error(error.code, error.story())
    except Exception:  # noqa: BLE001 - a client waits; the log has the whole story
        _log.exception("question %s", method)
        problem = _rpc_error("bug", "the server failed to answer; its log says more")
    return json.dumps({"result": result, "error": problem, "id": number}).encode()


def _read_question(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError("the question is no JSON", found=str(error)) from error
    if not isinstance(found, dict):
        raise DataError("a question is a JSON object", found=type(found).__name__)
    return found


def _rpc_error(code: str, message: str) -> dict[str, Any]:
    # Clients of the protocol take entities out of the message, so there must be some.
    return {"name": code, "code": 100, "message": html.escape(message, quote=False)}


def _add_interface(app: FastAPI, holdings: Holdings, version: str) -> None:
    """Answer programs in JSON of our own."""

    @app.get("/health", tags=["server"])
    def health() -> JSONResponse:
        """Say whether the server can serve: 200 if so, 503 if not, and why."""
        problems = holdings.problems()
        contexts = {}
        for one in holdings.observatories():
            known = holdings.contexts(one)
            contexts[one] = {
                "operational": holdings.operational(one) if known else None,
                "contexts": len(known),
            }
        facts = {
            "status": "failing" if problems else "ok",
            "problems": problems,
            "version": version,
            "cache": str(holdings.cache.root),
            "observatories": contexts,
            "files_without_sum": holdings.unsummed(),
        }
        return PlainJSON(facts, status_code=503 if problems else 200)

    @app.get("/api/observatories", tags=["contexts"])
    def observatories() -> dict[str, dict[str, Any]]:
        """Return the observatories, their contexts (newest first) and the one in use."""
        return {
            one: {"operational": holdings.operational(one), "contexts": holdings.contexts(one)}
            for one in holdings.observatories()
            if holdings.contexts(one)
        }

    @app.get("/api/contexts/{context}", tags=["contexts"])
    def context_of(context: str) -> dict[str, Any]:
        """Return the rules of a context: instrument → type → file, and the keys they look at."""
        rules = holdings.rules(context)
        return {"context": rules.name, "instruments": pages.instruments_of(rules)}

    @app.get("/api/{observatory}/files/{name}", tags=["files"])
    def file_of(observatory: str, name: str) -> dict[str, Any]:
        """Return size and SHA-1 of a file, and where to get it."""
        whose = holdings.require_observatory(observatory)
        info = holdings.info(name, whose, wait=True)
        kind = "mappings" if is_mapping(name) else "references"
        return {
            "name": name,
            "size": info.size,
            "sha1": info.sha1,
            "path": f"/{whose}/{kind}/{name}",
        }

    @app.post("/api/best-references", tags=["best references"])
    def best_references(asked: Annotated[Asked, Body()]) -> dict[str, Any]:
        """Return the best references for a header: type → `file`, or `error` and `message`."""
        rules = holdings.rules(holdings.resolve(asked.context, asked.observatory))
        found = rules.best_references(checked_header(asked.header), asked.types or None)
        return {"context": rules.name, "references": {k: _answered(v) for k, v in found.items()}}

    @app.post("/api/best-references/many", tags=["best references"])
    def best_references_of_many(asked: Annotated[AskedMany, Body()]) -> dict[str, Any]:
        """Return the best references for many headers: type → answers, in their order."""
        rules = holdings.rules(holdings.resolve(asked.context, asked.observatory))
        headers = [checked_header(one) for one in asked.headers]
        found = rules.select_many(headers, asked.types)
        references = {kind: [_answered(v) for v in answers] for kind, answers in found.items()}
        return {"context": rules.name, "references": references}

    @app.post("/api/explain", tags=["best references"])
    def explain(asked: Annotated[Asked, Body()]) -> dict[str, Any]:
        """Return why the references for a header are those they are."""
        rules = holdings.rules(holdings.resolve(asked.context, asked.observatory))
        said = pages.explained(rules, checked_header(asked.header), asked.types)
        return {"context": rules.name, "explanations": said}


def _answered(answer: Any) -> dict[str, Any]:
    if isinstance(answer, LightmillError):
        return {"error": getattr(answer, "kind", answer.code), "message": answer.story()}
    return {"file": list(answer) if isinstance(answer, tuple) else answer}


_STATUSES = {
    206: "the part asked for",
    304: "the client has it already",
    404: "not here",
    416: "the file has no such part",
}


def _add_files(app: FastAPI, holdings: Holdings) -> None:
    """Deliver files; these come last, as any name may stand first in their addresses."""

    @app.head("/{observatory}/{kind}/{name}", include_in_schema=False)
    @app.get(
        "/{observatory}/{kind}/{name}",
        tags=["files"],
        response_class=Response,
        responses={code: {"description": text} for code, text in _STATUSES.items()},
    )
    def file(request: Request, observatory: str, kind: str, name: str) -> Response:
        """Deliver a file: `kind` is `mappings` or `references`; ranges and ETags are heeded."""
        whose = holdings.require_observatory(observatory)
        if kind != ("mappings" if is_mapping(name) else "references"):
            raise NotHereError("file", f"{kind}/{name}"[:300], ())
        path = holdings.path(name, whose)
        info = holdings.info(name, whose)
        try:
            sha1 = info.sha1 if info.size == path.stat().st_size else None
            return delivery.deliver(request, path, sha1)
        except OSError as error:
            _log.warning("%s cannot be read: %s", name, error)
            raise NotHereError("file", name, ()) from error


async def _told_error(request: Request, error: Exception) -> Response:
    """Tell a failure: to people as a page, to programs as JSON."""
    assert isinstance(error, LightmillError)
    status = 500
    if isinstance(error, NotHereError):
        status = 404
    elif isinstance(error, DataError | ConfigurationError | NothingSelectedError):
        status = 422
    if "text/html" in request.headers.get("accept", ""):
        return pages.error_page(error, status)
    facts = {**error.as_dict(), "code": getattr(error, "kind", error.code)}
    return PlainJSON({"error": facts}, status_code=status)


async def _refused(request: Request, error: Exception) -> Response:
    """Refuse a question that is not made as the interface says, whatever is in it."""
    del request
    assert isinstance(error, RequestValidationError)
    return PlainJSON({"detail": jsonable_encoder(error.errors())}, status_code=422)


class LimitedBody:
    """Refuse to read long questions.

    Parameters
    ----------
    app : ASGI application
        Whom to pass the others to.
    largest : int
        Length of the longest question [byte].
    """

    def __init__(self, app: ASGIApp, *, largest: int) -> None:
        self.app, self.largest = app, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with status 413."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD"}:
            await self.app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"")
        if announced.isdigit() and int(announced) > self.largest:
            await self._refuse(scope, receive, send)
            return
        body = bytearray()
        while True:  # read here, so that what follows sees a whole question or none
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            if len(body) > self.largest:
                await self._refuse(scope, receive, send)
                return
            if not message.get("more_body"):
                break
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def once() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, once, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = TooLargeError("the question is too long", expected=f"at most {self.largest} bytes")
        response = JSONResponse(
            {"error": error.as_dict()}, status_code=413, headers={"Connection": "close"}
        )
        await response(scope, receive, send)

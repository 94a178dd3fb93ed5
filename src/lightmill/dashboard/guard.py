"""What stands before every answer: is the question for us, and is the answer for who asks it.

Everything is refused that is not allowed here; a page that is added needs no thought about it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lightmill.dashboard.access import Sessions, Tokens, Visitor
from lightmill.errors import ConfigurationError

__all__ = ["POLICY", "Guard", "cookie_of", "is_loopback", "visitor_of"]

POLICY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with none at all, forms would not say where they are from
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_OPEN = ("/login", "/health")  # and what is below /static/
_SAFE = {"GET", "HEAD"}
_PASSED_ON = ("x-forwarded-for", "x-forwarded-host", "x-real-ip", "forwarded", "via")


class Guard:
    """Middleware that checks host, origin and role, and adds the headers of safety.

    Parameters
    ----------
    app : ASGI application
    sessions : Sessions
    tokens : Tokens or None
        None: nobody can log in.
    hosts : iterable of str
        Names the dashboard is reached by, besides those of this machine's loopback.
    is_private : bool
        Whether those on the same machine, too, must log in to read.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        sessions: Sessions,
        tokens: Tokens | None,
        hosts: Iterable[str] = (),
        is_private: bool = False,
    ) -> None:
        self.app, self.sessions, self.tokens = app, sessions, tokens
        self.hosts = {one.lower() for one in hosts}
        self.is_private = is_private

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application answer."""
        if scope["type"] != "http":  # no other protocol is spoken here
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in POLICY.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = await self._refusal(scope)
        await (refusal or self.app)(scope, receive, sent)

    async def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not self._is_for_us(headers):
            return PlainTextResponse("this is not the server of that name\n", 421)
        if scope["method"] not in _SAFE and not _is_ours(headers):
            return PlainTextResponse("the form is of another site\n", 403)
        try:
            visitor = await run_in_threadpool(self._visitor, scope, headers)
        except ConfigurationError as error:
            return PlainTextResponse(error.story() + "\n", 500)
        scope.setdefault("state", {})["visitor"] = visitor
        path = scope["path"]
        if path in _OPEN or path.startswith("/static/"):
            return None
        if visitor.role is not None or self._may_look(scope, headers):
            return None
        if scope["method"] in _SAFE and "text/html" in headers.get("accept", ""):
            asked = path + (
                f"?{query}" if (query := scope["query_string"].decode("latin-1")) else ""
            )
            return RedirectResponse(f"/login?next={quote(asked, safe='')}", 303)
        return PlainTextResponse(
            "log in, or send a token: Authorization: Bearer TOKEN\n", 401,
            {"WWW-Authenticate": "Bearer"},
        )  # fmt: skip

    def _is_for_us(self, headers: Headers) -> bool:
        """Say whether the browser knows whom it talks to.

        A page of another site can make a browser ask us under that site's name (DNS rebinding);
        the name is in the header Host. The port does not matter: a tunnel may have another.
        """
        if len(headers.getlist("host")) != 1:
            return False
        host = headers["host"].lower()
        return host in self.hosts or _name(host) in _LOOPBACK | self.hosts

    def _visitor(self, scope: Scope, headers: Headers) -> Visitor:
        """Say who asks."""
        session = Request(scope).cookies.get(cookie_of(scope), "")[:200]
        if self.tokens is None:
            return Visitor(session=session)
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            holder = self.tokens.holder(token.strip())
            return Visitor() if holder is None else Visitor(*holder, by_header=True)
        return self.sessions.visitor(session, self.tokens) or Visitor(session=session)

    def _may_look(self, scope: Scope, headers: Headers) -> bool:
        """Say whether somebody may read without having logged in: on this machine."""
        if self.is_private or any(name in headers for name in _PASSED_ON):
            return False
        address, _ = scope.get("client") or ("", 0)
        return is_loopback(address) and _name(headers["host"]) in _LOOPBACK


def visitor_of(request: Request) -> Visitor:
    """Return who asks, as the guard found."""
    found: Any = request.scope.get("state", {}).get("visitor")
    return found if isinstance(found, Visitor) else Visitor()


def cookie_of(scope: Scope) -> str:
    """Return the name of the cookie: another port of a machine is another dashboard."""
    server = scope.get("server") or ("", 0)
    return f"lightmill_{server[1] or 0}"


def is_loopback(address: str) -> bool:
    """Say whether an address is one of this machine's own."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _is_ours(headers: Headers) -> bool:
    """Say whether what changes something was not sent by a page of another site."""
    if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == headers["host"].lower()


def _name(host: str) -> str:
    """Return a host without its port."""
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]

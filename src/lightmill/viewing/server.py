"""A server for one page in one browser on this machine, until it is told to stop."""

from __future__ import annotations

import contextlib
import functools
import hmac
import http.server
import secrets
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

from lightmill.errors import ConfigurationError, LightmillError
from lightmill.viewing.page import page
from lightmill.viewing.viewer import Viewer

__all__ = ["serving"]

HOST = "127.0.0.1"  # nobody else's business
_HEARTBEAT = 1.0  # s between signs of life
_GONE = 3.0  # s without a page before one that is reloaded counts as closed


@contextlib.contextmanager
def serving(viewer: Viewer, port: int = 0, *, once: bool = False) -> Iterator[_Server]:
    """Serve a viewer from a thread while the context lasts.

    Parameters
    ----------
    viewer : Viewer
    port : int
        0 takes a free one.
    once : bool
        Whether `_Server.wait` ends when the page was closed.

    Yields
    ------
    server : _Server
        Its ``url`` answers; whoever does not know the token in it gets nothing.

    Raises
    ------
    ConfigurationError
        If the port cannot be had.
    """
    try:
        server = _Server(viewer, port, once=once)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(
            "the viewer cannot listen there",
            place=f"{HOST}:{port}",
            found=getattr(error, "strerror", None) or str(error),
            remedy="choose another --port (0 takes a free one)",
        ) from error
    listen = functools.partial(server.serve_forever, poll_interval=0.05)  # s until it ends
    thread = threading.Thread(target=listen, name="viewer", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(http.server.ThreadingHTTPServer):
    """Listens on the loopback interface, one thread a connection."""

    daemon_threads = True
    block_on_close = False  # a page that is open holds its connection
    request_queue_size = 64

    def __init__(self, viewer: Viewer, port: int, *, once: bool) -> None:
        super().__init__((HOST, port), _Handler)
        self.viewer = viewer
        self.token = secrets.token_urlsafe(18)
        self.policy = page(viewer.facts())[1]
        self.once = once
        self.over = threading.Event()  # the viewer ends
        self._open = 0
        self._closing: threading.Timer | None = None
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def wait(self) -> None:
        """Return when the page was closed, if it is served once; else never."""
        while not self.over.wait(3600):  # a wait without end cannot be interrupted everywhere
            pass

    def opened(self) -> None:
        """Note that a page is looked at."""
        with self._lock:
            self._open += 1
            if self._closing is not None:
                self._closing.cancel()

    def closed(self) -> None:
        """Note that a page was closed or left for a reload."""
        with self._lock:
            self._open -= 1
            if self.once and self._open == 0 and not self.over.is_set():
                self._closing = threading.Timer(_GONE, self.over.set)
                self._closing.daemon = True
                self._closing.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when a browser hangs up in the middle of an answer."""
        import sys

        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    server_version = "lightmill"
    sys_version = ""
    timeout = 60  # s a connection may be idle
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer a question of the page."""
        if not self._is_for_us():
            self._send(404, "text/plain", b"not found\n")
            return
        address = urlsplit(self.path)
        question = address.path.split("/", 2)[2]
        if question == "":
            text, self.server.policy = page(self.server.viewer.facts())  # files may have come
            self._send(200, "text/html; charset=utf-8", text)
        elif question == "alive":
            self._stay()
        else:
            self._answer(question, address.query)

    do_HEAD = do_GET  # noqa: N815 - the name the base class looks for

    def _is_for_us(self) -> bool:
        """Whether the address holds the token, and the browser knows whom it talks to.

        A page of another site can make a browser ask us under that site's name (DNS
        rebinding); the name is in the header Host.
        """
        hosts = {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}
        parts = self.path.split("?")[0].split("/", 2)
        token = parts[1] if len(parts) == 3 else ""
        return self.headers.get("Host") in hosts and hmac.compare_digest(
            token.encode(), self.server.token.encode()
        )

    def _answer(self, question: str, query: str) -> None:
        try:
            asked = {name: [float(v) for v in given] for name, given in parse_qs(query).items()}
            found = self.server.viewer.answer(question, asked)
        except (IndexError, KeyError, ValueError, OverflowError):
            self._send(400, "text/plain", b"there is no such part of the image\n")
            return
        except (LightmillError, MemoryError) as error:
            story = error.story() if isinstance(error, LightmillError) else "not enough memory"
            self._send(500, "text/plain; charset=utf-8", story.encode())
            return
        if found is None:
            self._send(404, "text/plain", b"not found\n")
        else:
            self._send(200, *found)

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self._headers(kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _headers(self, kind: str) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Content-Security-Policy", self.server.policy)

    def _stay(self) -> None:
        """Send a sign of life now and then, until one of the two is gone."""
        self.close_connection = True
        self.send_response(200)
        self._headers("text/plain")
        self.send_header("Connection", "close")
        self.end_headers()
        self.server.opened()
        try:
            while not self.server.over.wait(_HEARTBEAT):
                self.wfile.write(b".")
        except OSError:
            pass  # the page was closed
        finally:
            self.server.closed()

"""Serve an ASGI application until it is told to stop: the dashboard, the server of references.

Needs uvicorn, of the extra ``server``.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from lightmill.errors import ConfigurationError

if TYPE_CHECKING:
    import uvicorn

__all__ = ["listening", "run", "running"]

_CONNECTIONS = 1000  # at the same time; more are told to come back (503)
_TURN = 0.0005  # s a thread may keep the interpreter; with 5 ms answers wait for one another
_BACKLOG = 2048  # connections the system keeps until they are looked at


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens; a port of 0 takes a free one.

    Raises
    ------
    ConfigurationError
        If the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named for asyncio's sake: only then it sends short answers at once.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        found.close()
        raise ConfigurationError(
            "the server cannot listen there",
            place=f"{host}:{port}",
            found=getattr(error, "strerror", None) or str(error),
            remedy="choose another --port (0 takes a free one) or --host",
        ) from error
    return found


def run(
    app: Any,
    place: socket.socket,
    started: Callable[[str], None] | None = None,
    ending: Callable[[], None] | None = None,
) -> None:
    """Serve until interrupted; answers under way are given time to end.

    Parameters
    ----------
    app : ASGI application
        What to serve.
    place : socket
        Where; see `listening`. It is closed at the end.
    started : callable, optional
        Told the address when the server answers.
    ending : callable, optional
        Called before answers under way are waited for: those that never end by themselves must.
    """
    sys.setswitchinterval(_TURN)
    _server(app, place, started, ending).run(sockets=[place])


@contextlib.contextmanager
def running(
    app: Any,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    ending: Callable[[], None] | None = None,
) -> Iterator[str]:
    """Serve from a thread while the context lasts.

    Parameters
    ----------
    app : ASGI application
        What to serve.
    host : str
        On which of this machine's addresses.
    port : int
        0 takes a free one.
    ending : callable, optional
        As for `run`.

    Yields
    ------
    url : str
        The server's address; it answers.

    Raises
    ------
    ConfigurationError
        If the address cannot be had, or the server does not start.
    """
    answers, addresses = threading.Event(), []

    def started(url: str) -> None:
        addresses.append(url)
        answers.set()

    place = listening(host, port)
    server = _server(app, place, started, ending)

    def serve() -> None:
        try:
            server.run(sockets=[place])
        finally:
            answers.set()

    thread = threading.Thread(target=serve, name="server", daemon=True)
    thread.start()
    answers.wait()
    try:
        if not addresses:
            raise ConfigurationError("the server did not start", place=f"{host}:{port}")
        yield addresses[0]
    finally:
        server.should_exit = True
        thread.join()
        place.close()


def _server(
    app: Any,
    place: socket.socket,
    started: Callable[[str], None] | None,
    ending: Callable[[], None] | None,
) -> uvicorn.Server:
    import uvicorn

    host, port = place.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started and started:
                started(address)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            if ending:
                ending()
            await super().shutdown(sockets)

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        backlog=_BACKLOG,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=20,
        timeout_graceful_shutdown=10,
        server_header=False,
    )
    return Server(config)

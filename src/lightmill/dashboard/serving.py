"""Run the dashboard until it is told to stop; pages that are open do not keep it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from fastapi import FastAPI

from lightmill.errors import ConfigurationError
from lightmill.reference.server.serving import listening

__all__ = ["run", "running"]

CONNECTIONS = 500  # at the same time; more are told to come back (503)


def run(
    app: FastAPI,
    host: str = "127.0.0.1",
    port: int = 8780,
    started: Callable[[str], None] | None = None,
) -> None:
    """Serve until interrupted.

    Parameters
    ----------
    app : FastAPI
        What `lightmill.dashboard.application` returns.
    host : str
        Address of this machine to listen on.
    port : int
        0 takes a free one.
    started : callable, optional
        Told the address when the server answers.

    Raises
    ------
    ConfigurationError
        If the address cannot be had.
    """
    place = listening(host, port)
    _server(app, place, started).run(sockets=[place])


@contextlib.contextmanager
def running(app: FastAPI, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve from a thread while the context lasts.

    Parameters
    ----------
    app : FastAPI
    host : str
    port : int
        0 takes a free one.

    Yields
    ------
    url : str
        The server's address; it answers.
    """
    answers, addresses = threading.Event(), []

    def started(url: str) -> None:
        addresses.append(url)
        answers.set()

    place = listening(host, port)
    server = _server(app, place, started)

    def serve() -> None:
        try:
            server.run(sockets=[place])
        finally:
            answers.set()

    thread = threading.Thread(target=serve, name="dashboard", daemon=True)
    thread.start()
    answers.wait()
    try:
        if not addresses:
            raise ConfigurationError("the dashboard did not start")
        yield addresses[0]
    finally:
        server.should_exit = True
        thread.join()
        place.close()


def _server(app: FastAPI, place: socket.socket, started: Callable[[str], None] | None) -> Any:
    import uvicorn

    host, port = place.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started and started:
                started(address)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            app.state.is_over = True  # streams of events end, or they would be waited for
            await super().shutdown(sockets)

    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off",
        limit_concurrency=CONNECTIONS, timeout_keep_alive=20, timeout_graceful_shutdown=5,
        server_header=False,
    )  # fmt: skip
    return Server(config)

"""Run the dashboard until it is told to stop; pages that are open do not keep it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from lightmill import serving

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["run", "running"]


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
    serving.run(app, serving.listening(host, port), started, _ending(app))


def running(
    app: FastAPI, host: str = "127.0.0.1", port: int = 0
) -> contextlib.AbstractContextManager[str]:
    """Serve from a thread while the context lasts, which gives the server's address.

    Parameters
    ----------
    app : FastAPI
    host : str
    port : int
        0 takes a free one.
    """
    return serving.running(app, host, port, ending=_ending(app))


def _ending(app: FastAPI) -> Callable[[], None]:
    """Return what ends the streams of events, which would be waited for."""

    def ending() -> None:
        app.state.is_over = True

    return ending

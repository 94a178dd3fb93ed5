"""Events as they happen: a browser keeps one answer open, and is told of each.

The store cannot call anybody, so it is asked about once a second. A stream ends after some minutes;
the browser comes back by itself and says what it heard last, so that a token taken away, or a
server that was restarted, matters at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import HTTPException, Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from lightmill.dashboard.queries import LARGEST
from lightmill.workflow.patience import Unavailable
from lightmill.workflow.store.following import BATCH, Follower

__all__ = ["events"]

log = logging.getLogger("lightmill.dashboard")

PAUSE = 1.0  # seconds between two looks at the store
LIFE = 600.0  # seconds of a stream
ALIVE = 15.0  # seconds without an event after which a sign of life is sent
AGAIN = 2000  # ms after which a browser comes back
MOST = 200  # streams at the same time


async def events(request: Request) -> Response:
    """Return the stream of events after the one a browser heard last.

    Parameters
    ----------
    request : Request
        ``Last-Event-ID``, or the query's ``after``, tells the last event it knows; without either
        the stream begins with what happens from now on.

    Raises
    ------
    HTTPException
        400 if that is no number; 503 if too many look on.
    """
    state = request.app.state
    told = request.headers.get("last-event-id") or request.query_params.get("after")
    if told is None:
        after = await run_in_threadpool(state.questions.last_event)
    elif told.isascii() and told.isdigit() and len(told) < 20:
        after = min(int(told), LARGEST)
    else:
        raise HTTPException(400, f"this is no number of an event: {told[:40]!r}")
    if state.streams >= MOST:
        raise HTTPException(503, "too many look on; the page can be loaded again by hand")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    follower = Follower(state.questions.events_after, after)
    return StreamingResponse(
        _told(state, follower), media_type="text/event-stream", headers=headers
    )


async def _told(state: Any, follower: Follower) -> AsyncIterator[bytes]:
    end, said = time.monotonic() + LIFE, time.monotonic()
    state.streams += 1
    try:
        yield f"retry: {AGAIN}\n\n".encode()
        while time.monotonic() < end and not state.is_over:
            found = await run_in_threadpool(follower.new)
            if found:
                said = time.monotonic()
                yield b"".join(map(_message, found))
            elif time.monotonic() - said >= ALIVE:
                said = time.monotonic()
                yield b": nothing new\n\n"
            if len(found) < BATCH:
                await asyncio.sleep(state.pause)
    except Unavailable as error:
        log.warning("a page is told nothing more for now: %s", error)  # its browser asks again
    finally:
        state.streams -= 1


def _message(row: dict[str, Any]) -> bytes:
    """Return an event as browsers read it; text cannot end it early: JSON has no line breaks."""
    return f"id: {row['seq']}\ndata: {json.dumps(row)}\n\n".encode("ascii")

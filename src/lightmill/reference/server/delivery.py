"""Deliver a file over HTTP: whole, in part, or not at all where the client has it.

A client whose transfer broke off asks for the rest (RFC 9110, sections 13 and
14); the entity tag, which is the SHA-1 of the file where it is known, keeps two
different files from being joined.
"""

from __future__ import annotations

import io
import os
import re
from email.utils import formatdate
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

__all__ = ["deliver", "wanted_range"]

_BLOCK = 1 << 18  # bytes read at once
_TEXTS = {".pmap", ".imap", ".rmap", ".json", ".yaml", ".txt"}
_RANGE = re.compile(r"bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.IGNORECASE)


def wanted_range(text: str | None, size: int) -> tuple[int, int] | None:
    """Return the part of a file a ``Range`` header asks for.

    Parameters
    ----------
    text : str or None
        ``bytes=100-199``, ``bytes=100-`` or ``bytes=-100``.
    size : int
        Length of the file [byte].

    Returns
    -------
    part : (int, int) or None
        First byte and the one after the last; None for the whole file, which also
        answers several parts at once, other units, and what cannot be read. An empty
        part means that the file has no such bytes.
    """
    match = _RANGE.fullmatch(text.strip()) if text and len(text) < 100 else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return max(size - int(last), 0), size
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size


def deliver(request: Request, path: Path, sha1: str | None) -> Response:
    """Return the response that delivers a file; short parts are read here, long ones as they are sent.

    Parameters
    ----------
    request : Request
        A GET or HEAD; its conditions and its range are heeded.
    path : Path
        The file.
    sha1 : str or None
        SHA-1 of its content, where it is known.

    Returns
    -------
    response : Response
        200, 206, 304 or 416.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    file = io.FileIO(path)
    try:
        status = os.fstat(file.fileno())
        tag = f'"{sha1}"' if sha1 else f'"{status.st_size:x}-{status.st_mtime_ns:x}"'
        headers = {
            "Accept-Ranges": "bytes",
            "ETag": tag,
            "Last-Modified": formatdate(status.st_mtime, usegmt=True),
            "Cache-Control": "public, max-age=86400",
            "X-Content-Type-Options": "nosniff",
        }
        if _has_it(request, tag):
            return Response(status_code=304, headers=headers)
        size, start, stop, code = status.st_size, 0, status.st_size, 200
        condition = request.headers.get("if-range")
        part = None
        if request.method == "GET" and condition in (None, tag, headers["Last-Modified"]):
            part = wanted_range(request.headers.get("range"), size)
        if part is not None:
            start, stop = part
            if start >= stop:
                headers["Content-Range"] = f"bytes */{size}"
                return Response(status_code=416, headers=headers)
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
            code = 206
        headers["Content-Length"] = str(stop - start)
        headers["Content-Type"] = (
            "text/plain; charset=utf-8" if path.suffix in _TEXTS else "application/octet-stream"
        )
        if request.method == "HEAD":
            return Response(status_code=code, headers=headers)
        if stop - start <= _BLOCK:
            return Response(_read(file, start, stop), status_code=code, headers=headers)
        return _Blocks(os.dup(file.fileno()), start, stop, code, headers)
    finally:
        file.close()


def _has_it(request: Request, tag: str) -> bool:
    known = [
        one.strip().removeprefix("W/")
        for one in request.headers.get("if-none-match", "").split(",")
    ]
    return tag in known or known == ["*"]


def _read(file: io.FileIO, start: int, stop: int) -> bytes:
    """Return bytes of a file, all that were announced.

    Raises
    ------
    OSError
        If the file became shorter: the connection breaks, and the client knows.
    """
    pieces = []
    while start < stop:
        piece = os.pread(file.fileno(), stop - start, start)
        if not piece:
            raise OSError(f"the file ends {stop - start} bytes early")
        pieces.append(piece)
        start += len(piece)
    return b"".join(pieces)


class _Blocks(Response):
    """A part of an open file, sent block by block; the file is closed however that ends."""

    def __init__(
        self, descriptor: int, start: int, stop: int, code: int, headers: dict[str, str]
    ) -> None:
        super().__init__(status_code=code, headers=headers)
        self.descriptor, self.start, self.stop = descriptor, start, stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the part."""
        del scope, receive
        with io.FileIO(self.descriptor) as file:
            start = {"type": "http.response.start", "status": self.status_code}
            await send({**start, "headers": self.raw_headers})
            for at in range(self.start, self.stop, _BLOCK):
                end = min(at + _BLOCK, self.stop)
                block = await run_in_threadpool(_read, file, at, end)
                more = end < self.stop
                await send({"type": "http.response.body", "body": block, "more_body": more})

"""Transfer one file: again where the network fails, and on from where it broke off.

Beside the bytes so far lies a note of what they are of, so that another process
may go on with them. They are followed by others only if those are of the same
file, which a checksum or the server's name for this state of the file tells.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lightmill.errors import CorruptFileError
from lightmill.reference.config import FileInfo
from lightmill.reference.storing import Place
from lightmill.reference.transport import Patience, failure, is_passing, open_url

__all__ = ["Progress", "Task", "Transfer"]

Progress = Callable[[str, int, int], None]
_log = logging.getLogger("lightmill.reference")
_BLOCK = 1 << 18
_PROGRESS = 1 << 16  # bytes after which a new failure counts as the first


@dataclass
class Task:
    """One file to fetch, and what its transfers share.

    Parameters
    ----------
    url : str
        Where it is.
    target : Path
        Where it will be.
    info : FileInfo
        What it should be.
    patience : Patience
        Time-outs and retries.
    progress : callable, optional
        Told the name, the bytes so far, and those in all (0: not known).
    stop : threading.Event
        Set to end the transfer.
    replace : bool
        Whether a file that is there is replaced if it is wrong.
    largest : int, optional
        More bytes than that are not taken, whatever the server says.
    """

    url: str
    target: Path
    info: FileInfo
    patience: Patience = field(default_factory=Patience)
    progress: Progress | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    replace: bool = False
    largest: int | None = None

    def told(self, done: int) -> None:
        """Tell how far it is."""
        if self.progress:
            self.progress(self.info.name, done, self.info.size or 0)


class Transfer:
    """The attempts to fetch one file.

    Parameters
    ----------
    task : Task
        What and where from.
    place : Place
        Where to write it.
    """

    def __init__(self, task: Task, place: Place) -> None:
        self.task, self.part, self.note = task, place.part, place.note
        self.digest: Any = None
        self.done = 0
        self.version: str | None = None  # what the server calls this state of the file

    def run(self) -> str:
        """Transfer what is missing and return the SHA-1 of all."""
        attempt, restarted = 0, False
        self._take_up()
        while True:
            before = self.done
            try:
                if not self._is_complete():
                    self._attempt()
                if self.task.info.sha1 in {None, self.digest.hexdigest()}:
                    return str(self.digest.hexdigest())
                error: BaseException = _differs(self.task, self.digest.hexdigest())
                self._start_over()
                attempt += (
                    self.task.patience.attempts if restarted else 0
                )  # wrong from first to last
                restarted = True
            except _WrongStartError as wrong:
                error = wrong
                self._start_over()
            except (_StoppedError, CorruptFileError):
                raise
            except Exception as problem:
                if getattr(problem, "filename", None) == str(self.part):
                    raise  # the disk, not the network
                error = problem
                if not is_passing(error):
                    raise failure(self.task.url, error) from error
            attempt = 1 if self.done - before >= _PROGRESS else attempt + 1
            if attempt >= self.task.patience.attempts:
                raise failure(self.task.url, error, attempts=attempt) from error
            _log.info("%s: %s; trying again", self.task.url, error)
            self.task.patience.pause(attempt, self.task.stop)

    def _is_complete(self) -> bool:
        return (
            self.task.info.size is not None and self.done == self.task.info.size and self.done > 0
        )

    def _start_over(self) -> None:
        import hashlib

        self.digest, self.done, self.version = hashlib.sha1(usedforsecurity=False), 0, None
        with _disk(self.part), contextlib.suppress(FileNotFoundError):
            os.truncate(self.part, 0)

    def _take_up(self) -> None:
        """Go on from what an earlier process left, if it is of the same file."""
        self._start = {"url": self.task.url, **asdict(self.task.info)}
        left = 0
        if self.part.exists() and not os.access(self.part, os.R_OK | os.W_OK):
            for path in (
                self.part,
                self.note,
            ):  # another user's: not to be continued, but in the way
                path.unlink(missing_ok=True)
        try:
            noted = json.loads(self.note.read_text(encoding="utf-8"))
            left = self.part.stat().st_size
        except (OSError, ValueError):
            noted = {}
        info = self.task.info
        version = noted.pop("version", None) if isinstance(noted, dict) else None
        same = isinstance(noted, dict) and all(
            noted.get(key) == value for key, value in asdict(info).items()
        )
        known = info.sha1 is not None or (version and noted.get("url") == self.task.url)
        if not (same and known and left) or (info.size is not None and left > info.size):
            self._start_over()
            return
        import hashlib

        self.digest, self.version = hashlib.sha1(usedforsecurity=False), version
        with self.part.open("rb") as file:
            while block := file.read(_BLOCK):
                self.digest.update(block)
                self.done += len(block)
        _log.info("%s: going on after %d bytes", info.name, self.done)

    def _attempt(self) -> None:
        headers = {}
        if self.done and self.version is None and self.task.info.sha1 is None:
            self._start_over()  # nothing would tell that the rest is of another file
        if self.done:
            headers["Range"] = f"bytes={self.done}-"
            if self.version:
                headers["If-Range"] = self.version
        task = self.task
        try:
            response = open_url(task.url, headers=headers, timeout=task.patience.timeout)
        except OSError as error:
            if getattr(error, "code", None) == 416:
                raise _WrongStartError("the server has no bytes after those we have") from error
            raise
        with response:
            self._receive(response)
        if task.info.size is not None and self.done < task.info.size:
            raise ConnectionResetError(f"the transfer broke off after {self.done} bytes")

    def _receive(self, response: Any) -> None:
        task, info = self.task, self.task.info
        length = response.headers.get("Content-Length")
        if self.done and response.status == 206:
            if not _starts_at(response.headers.get("Content-Range"), self.done, info.size):
                raise _WrongStartError("the server sends another part than it was asked for")
        else:
            self._start_over()  # all of it, whatever was asked for
            if info.size is not None and length is not None and int(length) != info.size:
                raise _wrong_size(task, int(length))
        expected = None if length is None else self.done + int(length)
        if task.largest is not None and (expected or 0) > task.largest:
            raise _too_large(task)
        self._keep_note(response)
        with self.part.open("ab") as file:
            while block := response.read(_BLOCK):
                if task.stop.is_set():
                    raise _StoppedError
                if info.size is not None and self.done + len(block) > info.size:
                    self._start_over()
                    raise _wrong_size(task, f"more than {info.size}")
                if task.largest is not None and self.done + len(block) > task.largest:
                    self._start_over()
                    raise _too_large(task)
                with _disk(self.part):
                    file.write(block)
                self.digest.update(block)
                self.done += len(block)
                task.told(self.done)
            with _disk(self.part):
                file.flush()
                os.fsync(file.fileno())
        if expected is not None and self.done < expected:
            raise ConnectionResetError(f"the transfer broke off after {self.done} bytes")

    def _keep_note(self, response: Any) -> None:
        """Write down what the partial file is of, for a process that goes on with it."""
        self.version = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if self.version and self.version.startswith("W/"):
            self.version = None  # not good enough to continue with
        note = {**self._start, "version": self.version}
        with _disk(self.part):
            self.note.write_text(json.dumps(note), encoding="utf-8")


class _StoppedError(Exception):
    """The transfers were told to end."""


class _WrongStartError(OSError):
    """What the server sends does not go on where we are."""


def _starts_at(text: str | None, start: int, size: int | None) -> bool:
    """Say whether a ``Content-Range: bytes 100-199/200`` goes on at a place."""
    span, _, total = (text or "").removeprefix("bytes ").partition("/")
    return span.partition("-")[0].strip() == str(start) and (
        size is None or total.strip() in {"*", str(size)}
    )


@contextlib.contextmanager
def _disk(part: Path) -> Iterator[None]:
    """Mark the errors of the disk, to tell them from those of the network."""
    try:
        yield
    except OSError as error:
        error.filename = str(part)
        raise


def _differs(task: Task, sha1: str) -> CorruptFileError:
    return CorruptFileError(
        f"the server sends another {task.info.name} than it announces: sha1 differs",
        place=task.url,
        found=sha1,
        expected=task.info.sha1,
        remedy="try again later, or tell the people of the server",
    )


def _too_large(task: Task) -> CorruptFileError:
    return CorruptFileError(
        f"the server sends a larger {task.info.name} than is taken",
        place=task.url,
        found=f"more than {task.largest} bytes",
        expected=f"at most {task.largest} bytes",
    )


def _wrong_size(task: Task, size: object) -> CorruptFileError:
    return CorruptFileError(
        f"the server sends another {task.info.name} than it announces: size differs",
        place=task.url,
        found=f"{size} bytes",
        expected=f"{task.info.size} bytes",
        remedy="try again later, or tell the people of the server",
    )

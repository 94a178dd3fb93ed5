"""Fetch files into a cache: several at once, going on where a transfer broke off.

A file is written aside, beside a note of what it should be, under a lock that
other processes wait for. It gets its name only when its size and checksum are
right. A transfer that breaks off, or is killed, goes on from the bytes it has.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lightmill.errors import ConfigurationError, CorruptFileError, LightmillError
from lightmill.reference.cache import Cache
from lightmill.reference.client import Client
from lightmill.reference.config import FileInfo
from lightmill.reference.layout import is_true
from lightmill.reference.storing import Place
from lightmill.reference.transport import Patience, ServerError, failure, is_passing, open_url

__all__ = ["DownloadError", "Progress", "download", "fetch"]

Progress = Callable[[str, int, int], None]
_log = logging.getLogger("lightmill.reference")
_BLOCK = 1 << 18
_PROGRESS = 1 << 16  # bytes after which a new failure counts as the first


class DownloadError(ServerError):
    """Some files could not be fetched.

    Parameters
    ----------
    errors : mapping
        Name of each file → why.
    asked : int
        How many files were asked for.
    place : object
        The server.
    """

    code = "download"
    kind = "download"

    def __init__(self, errors: Mapping[str, LightmillError], asked: int, place: object) -> None:
        self.errors = dict(errors)
        first = next(iter(self.errors.values()))
        lines = [f"{name}: {error.fact} ({error.found})" for name, error in self.errors.items()]
        more = [f"... and {len(lines) - 10} more"] if len(lines) > 10 else []
        ConfigurationError.__init__(
            self,
            f"{len(self.errors)} of {asked} files could not be fetched",
            place=place,
            found="\n              ".join([*lines[:10], *more]),
            remedy=first.remedy,
        )


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
    """

    url: str
    target: Path
    info: FileInfo
    patience: Patience = field(default_factory=Patience)
    progress: Progress | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    replace: bool = False

    def told(self, done: int) -> None:
        """Tell how far it is."""
        if self.progress:
            self.progress(self.info.name, done, self.info.size or 0)


def download(
    names: Iterable[str],
    cache: Cache,
    client: Client,
    *,
    observatory: str,
    instruments: Mapping[str, str] | None = None,
    workers: int = 4,
    progress: Progress | None = None,
    replace: bool = False,
) -> dict[str, Path]:
    """Fetch files a cache does not have.

    Parameters
    ----------
    names : iterable of str
        File names, of rules or references.
    cache : Cache
        Where to put them.
    client : Client
        Whom to ask.
    observatory : str
        Whose files.
    instruments : mapping, optional
        Name of a file → its instrument, for a cache that has a folder for each.
    workers : int
        Transfers at the same time.
    progress : callable, optional
        Told the name of a file, the bytes so far and those in all.
    replace : bool
        Whether files that are there and wrong are replaced.

    Returns
    -------
    paths : dict
        Name → where it is now.

    Raises
    ------
    DownloadError
        If any could not be fetched; the others are there.
    """
    from concurrent.futures import ThreadPoolExecutor

    wanted = list(dict.fromkeys(names))
    if not wanted:
        return {}
    cache.writable(cache.root)
    stop, guard = threading.Event(), threading.Lock()

    def told(name: str, done: int, total: int) -> None:
        with guard:
            assert progress is not None
            progress(name, done, total)

    infos = client.file_info(observatory, wanted)
    paths: dict[str, Path] = {}
    errors: dict[str, LightmillError] = {}

    def one(name: str) -> None:
        try:
            if name not in infos:
                raise _unknown(name, client)
            where = cache.path(name, observatory, (instruments or {}).get(name))
            task = Task(
                client.url_of(name, observatory),
                where,
                _checked(infos[name], client.environ),
                client.patience,
                told if progress else None,
                stop,
                replace,
            )
            paths[name] = fetch(task, cache)
        except LightmillError as error:
            errors[name] = error

    with ThreadPoolExecutor(max(1, min(workers, len(wanted)))) as pool:
        running = [pool.submit(one, name) for name in wanted]
        try:
            for future in running:
                future.result()
        except BaseException:  # Ctrl-C: the transfers end at their next block
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if errors:
        if len(wanted) == 1:
            raise next(iter(errors.values()))
        raise DownloadError({n: errors[n] for n in wanted if n in errors}, len(wanted), client.url)
    return paths


def _unknown(name: str, client: Client) -> ServerError:
    return ServerError(
        f"the server does not know the file {name}",
        place=client.url,
        found=name,
        remedy="check the name and the context; another server: CRDS_SERVER_URL or --server",
    )


def _checked(info: FileInfo, environ: Mapping[str, str]) -> FileInfo:
    """Return what is to be checked, as the official client's variables say."""
    sums = is_true(environ.get("CRDS_DOWNLOAD_CHECKSUMS", "1"))
    sizes = is_true(environ.get("CRDS_DOWNLOAD_LENGTHS", "1"))
    return FileInfo(info.name, info.size if sizes else None, info.sha1 if sums else None)


def fetch(task: Task, cache: Cache) -> Path:
    """Fetch one file, waiting for another process that does so already.

    Parameters
    ----------
    task : Task
        What and where from.
    cache : Cache
        Whose file it is.

    Returns
    -------
    path : Path
        Where the file is, verified.

    Raises
    ------
    ServerError
        If the server cannot be reached or does not have the file.
    CorruptFileError
        If what it sends is not what was announced.
    OutputError
        If the cache cannot be written.
    """
    name = task.info.name
    with cache.writing(task.target, f"fetch {name}", info=task.info, keep=True) as place:
        if task.target.exists() and not (
            task.replace and cache.verify(name, info=task.info, path=task.target)
        ):
            return task.target  # another process was faster
        _log.info("fetching %s from %s", name, task.url)
        sha1 = _Transfer(task, place).run()
        place.publish(task.info, sha1)
    return task.target


class _Transfer:
    """The attempts to fetch one file."""

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
        self._keep_note(response)
        with self.part.open("ab") as file:
            while block := response.read(_BLOCK):
                if task.stop.is_set():
                    raise _StoppedError
                if info.size is not None and self.done + len(block) > info.size:
                    self._start_over()
                    raise _wrong_size(task, f"more than {info.size}")
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


def _wrong_size(task: Task, size: object) -> CorruptFileError:
    return CorruptFileError(
        f"the server sends another {task.info.name} than it announces: size differs",
        place=task.url,
        found=f"{size} bytes",
        expected=f"{task.info.size} bytes",
        remedy="try again later, or tell the people of the server",
    )

"""Fetch files into a cache: several at once, going on where a transfer broke off.

A file is written aside, beside a note of what it should be, under a lock that
other processes wait for. It gets its name only when its size and checksum are
right. A transfer that breaks off, or is killed, goes on from the bytes it has.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from lightmill.errors import ConfigurationError, LightmillError
from lightmill.reference.cache import Cache
from lightmill.reference.client import Client
from lightmill.reference.config import FileInfo
from lightmill.reference.digests import keep_sums
from lightmill.reference.layout import is_true
from lightmill.reference.transfer import Progress, Task, Transfer
from lightmill.reference.transport import ServerError

__all__ = ["DownloadError", "Progress", "download", "fetch"]

_log = logging.getLogger("lightmill.reference")


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
        finally:
            keep_sums()  # they cost nothing now, and the reading of all files later
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
        sha1 = Transfer(task, place).run()
        place.publish(task.info, sha1)
    return task.target

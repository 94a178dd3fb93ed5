"""Write a file of a cache aside, and show it when it is whole and what it should be."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from lightmill.errors import CorruptFileError, LightmillError, OutputError
from lightmill.models import synchronise
from lightmill.reference.config import FileInfo
from lightmill.reference.digests import remember_sha1
from lightmill.reference.locking import file_lock

__all__ = ["Place", "mismatch", "refused", "writing"]

_ASIDE = ".partial"  # folder of what is being written, beside where it will be
_FULL = {errno.ENOSPC, errno.EDQUOT}


class Place:
    """Where a file is being written, before it is shown under its name.

    Parameters
    ----------
    target : Path
        The name it will have.
    part : Path
        The hidden file to write.
    """

    def __init__(self, target: Path, part: Path) -> None:
        self.target, self.part = target, part

    def publish(self, info: FileInfo, sha1: str) -> None:
        """Show the file under its name, if it is what it should be.

        Parameters
        ----------
        info : FileInfo
            What the file should be.
        sha1 : str
            SHA-1 of what was written.

        Raises
        ------
        CorruptFileError
            If size or checksum differ; the file is then removed.
        """
        size = self.part.stat().st_size
        problem = mismatch(info, size, sha1)
        if problem:
            self.discard()
            raise CorruptFileError(
                f"the file received is not the one that was announced: {problem[0]} differs",
                place=self.target.name,
                found=problem[1],
                expected=problem[2],
                remedy="try again later, or tell the people of the server",
            )
        self.part.replace(self.target)
        synchronise(self.target.parent)
        remember_sha1(self.target, sha1)
        self.discard()

    @property
    def note(self) -> Path:
        """The file that says what the partial file will be."""
        return self.part.with_suffix(".json")

    def discard(self) -> None:
        """Remove what was written."""
        for path in (self.part, self.note):
            with contextlib.suppress(OSError):
                path.unlink()


def mismatch(info: FileInfo, size: int, sha1: str | None) -> tuple[str, str, str] | None:
    """Return what differs from the facts announced, with both values, or None."""
    if info.size is not None and size != info.size:
        return "size", f"{size} bytes", f"{info.size} bytes"
    if info.sha1 is not None and sha1 is not None and sha1 != info.sha1:
        return "sha1", sha1, info.sha1
    return None


@contextlib.contextmanager
def writing(
    target: Path, what: str, *, info: FileInfo | None = None, keep: bool = False
) -> Iterator[Place]:
    """Lock a file's name and give a place to write it.

    Parameters
    ----------
    target : Path
        The name the file will have.
    what : str
        What is being done, for those who wait.
    info : FileInfo, optional
        What is announced, to see that there is room for it.
    keep : bool
        Whether what was written so far is kept after an error, to go on from there.

    Yields
    ------
    place : Place
        Where to write.

    Raises
    ------
    OutputError
        If the folder cannot be written, or the disk is full.
    """
    aside = target.parent / _ASIDE
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
        with contextlib.ExitStack() as stack:
            held = _lock_in(stack, aside, target.name, what)
            own = "" if held else f".{os.getpid()}.{os.urandom(4).hex()}"
            place = Place(target, aside / f"{target.name}{own}.part")
            try:
                _check_room(place.part, info)
                yield place
            except BaseException as error:
                full = isinstance(error, OSError) and error.errno in _FULL
                if not keep or full or not held or _is_empty(place.part):
                    place.discard()
                raise
    except OSError as error:
        raise refused(target, error) from error
    finally:
        with contextlib.suppress(OSError):
            aside.rmdir()  # unless it is in use


def _lock_in(stack: contextlib.ExitStack, aside: Path, name: str, what: str) -> bool:
    """Take the lock of one file; the folder may vanish while another process tidies up."""
    for _ in range(100):
        if not aside.is_dir():
            aside.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):  # whoever may write to the folder may write here
                aside.chmod(aside.parent.stat().st_mode & 0o7777)
        try:
            return stack.enter_context(file_lock(aside / f"{name}.lock", what))
        except OutputError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
    raise OutputError("the folder vanishes as often as it is made", place=aside)


def _is_empty(path: Path) -> bool:
    """Say whether a file has no content, or is not there."""
    try:
        return path.stat().st_size == 0
    except OSError:
        return True


def _check_room(part: Path, info: FileInfo | None) -> None:
    """Raise the error of a full disk before anything is written, where the size is known."""
    if info is None or info.size is None:
        return
    have = part.stat().st_size if part.exists() else 0
    disk = os.statvfs(part.parent)
    free = disk.f_bavail * disk.f_frsize
    if info.size - have > free:
        raise OSError(errno.ENOSPC, f"{info.size - have} bytes needed, {free} free")


def refused(path: Path, error: OSError) -> LightmillError:
    """Return the error to raise for one of the operating system's while writing to the cache."""
    if error.errno in _FULL:
        fact, remedy = (
            "the disk of the cache is full",
            "free some space, or set CRDS_PATH to a larger disk; then run again",
        )
    elif error.errno == errno.EROFS:
        fact, remedy = "the cache is on a read-only disk", "set CRDS_PATH to a cache of your own"
    elif error.errno in {errno.EACCES, errno.EPERM}:
        fact, remedy = (
            "the cache may not be written",
            "set CRDS_READONLY_CACHE=1 to use it as it is, or CRDS_PATH to a cache of your own",
        )
    else:
        fact, remedy = (
            "the cache cannot be written",
            "check that CRDS_PATH names a folder that can be written",
        )
    return OutputError(
        fact, place=error.filename or path, found=error.strerror or str(error), remedy=remedy
    )

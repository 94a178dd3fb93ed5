"""Write a file so that it is either whole or not there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from lightmill.errors import OutputError

__all__ = ["AtomicFile", "atomic"]


class AtomicFile:
    """A file being written under a hidden name."""

    __slots__ = ("descriptor", "path", "written")

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.written = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        view = memoryview(data).cast("B")
        while view:
            try:
                count = os.write(self.descriptor, view)
            except OSError as error:
                raise _refused(self.path, error) from error
            self.written += count
            view = view[count:]

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write bytes into room left by `skip`; threads may do so at the same time."""
        view = memoryview(data).cast("B")
        while view:
            try:
                count = os.pwrite(self.descriptor, view, offset)
            except OSError as error:
                raise _refused(self.path, error) from error
            offset += count
            view = view[count:]

    def skip(self, count: int) -> None:
        """Leave room; what nobody writes to it is zeros."""
        self.written += count
        try:
            os.lseek(self.descriptor, count, os.SEEK_CUR)
        except OSError as error:
            raise _refused(self.path, error) from error

    def write_all(self, pieces: Iterable[bytes]) -> None:
        """Append several pieces."""
        for piece in pieces:
            self.write(piece)


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[AtomicFile]:
    """Open a file for writing that appears under its name only when it is complete.

    It is written aside in the same directory, synchronised with the disk and
    renamed. After an error nothing of it is left, and a file that was there
    before is untouched.

    Raises
    ------
    OutputError
        If the directory is missing or may not be written, or the disk is full.
    """
    target = Path(path)
    aside = target.with_name(f".{target.name}.{os.getpid()}.{os.urandom(4).hex()}.part")
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except (OSError, ValueError) as error:
        raise _refused(target, error) from error
    try:
        try:
            yield AtomicFile(target, descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        aside.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise _refused(target, error) from error
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise
    _sync_directory(target.parent)


def _sync_directory(directory: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


_REMEDIES = {
    "ENOSPC": "free some space, or write to another disk",
    "EDQUOT": "free some space: your quota is used up",
    "ENOENT": "create the directory, or correct its name",
    "EACCES": "choose a directory you may write to",
    "EPERM": "choose a directory you may write to",
    "EROFS": "the disk is read-only: choose another directory",
    "ENOTDIR": "a part of the path is a file: choose another directory",
    "EISDIR": "this is a directory: give a file name",
    "ENAMETOOLONG": "choose a shorter name",
    "EFBIG": "raise the limit of file sizes, or write to another disk",
}


def _refused(path: Path, error: Exception) -> OutputError:
    import errno

    number = getattr(error, "errno", None)
    name = errno.errorcode.get(number, "") if number else ""
    return OutputError(
        "the file cannot be written",
        place=path,
        found=getattr(error, "strerror", None) or error,
        remedy=_REMEDIES.get(name, "see the reason above"),
    )

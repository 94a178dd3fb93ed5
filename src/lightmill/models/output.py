"""Write a file so that it is either whole or not there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from lightmill.errors import OutputError

__all__ = ["AtomicFile", "atomic", "directory_aside", "remove_abandoned", "synchronise"]


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

    def synchronise(self) -> None:
        """Have the disk hold what was written."""
        try:
            os.fsync(self.descriptor)
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
    try:
        aside, descriptor = _aside(target)
    except (OSError, ValueError) as error:
        raise _refused(target, error) from error
    try:
        try:
            yield AtomicFile(target, descriptor)
            os.fsync(descriptor)
            aside.replace(target)  # before the lock ends: nobody takes it for abandoned
        finally:
            os.close(descriptor)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise _refused(target, error) from error
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise
    synchronise(target.parent)


def _aside(target: Path) -> tuple[Path, int]:
    """Open a hidden file beside the target, locked while this process has it open."""
    while True:
        path = target.with_name(f".{target.name}.{os.getpid()}.{os.urandom(4).hex()}.part")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        _lock(descriptor, wait=True)
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)  # somebody cleaned up before it was locked


@contextlib.contextmanager
def directory_aside(parent: Path) -> Iterator[Path]:
    """Make a hidden directory to fill; what is not renamed in time is removed."""
    import shutil
    import tempfile

    while True:
        path = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=parent))
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        _lock(descriptor, wait=True)
        if path.exists():
            break
        os.close(descriptor)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def _lock(descriptor: int, *, wait: bool = False) -> bool:
    """Lock a file for as long as it is open; say whether nobody else has."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # locked; or a file system without locks, where nothing is cleaned up
        return False
    return True


def remove_abandoned(directory: str | os.PathLike[str]) -> None:
    """Remove what killed processes have left half written in a directory.

    A process holds a lock on what it writes, which ends with the process; so
    the work of others that are alive is safe, on other machines too.
    """
    with contextlib.suppress(OSError):
        for path in Path(directory).glob(".*.part"):
            is_directory = path.is_dir()
            descriptor = os.open(path, os.O_RDONLY if is_directory else os.O_RDWR)
            try:
                if _lock(descriptor):
                    if is_directory:
                        import shutil  # 3 ms, and there is hardly ever anything to remove

                        shutil.rmtree(path)
                    else:
                        path.unlink()
            finally:
                os.close(descriptor)


def synchronise(directory: Path) -> None:
    """Make the names in a directory survive a power cut."""
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

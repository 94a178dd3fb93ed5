"""A lock that processes share through a file, and that ends with its holder.

The operating system holds it (``flock``), so a process that is killed leaves
nothing behind. Who waits says so, and for whom; nobody gives up silently.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lightmill.errors import OutputError

__all__ = ["file_lock"]

_log = logging.getLogger("lightmill.reference")
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_SAY_AGAIN = 30.0  # seconds


@contextlib.contextmanager
def file_lock(
    path: Path,
    what: str,
    *,
    timeout: float | None = None,
    say: Callable[[str], None] | None = None,
) -> Iterator[bool]:
    """Hold a lock while the context lasts, waiting for whoever has it.

    Parameters
    ----------
    path : Path
        The lock's file; its folder must exist. It is removed when the lock ends.
    what : str
        What is being done, for those who wait.
    timeout : float, optional
        Longest time to wait [s]; by default as long as it takes.
    say : callable, optional
        Told, once and then every half minute, for whom we wait. By default it is logged.

    Yields
    ------
    held : bool
        False where the file system has no locks; then nobody else may be relied on to wait.

    Raises
    ------
    OutputError
        If the file cannot be made, or the time is over.
    """
    descriptor, held = _acquire(path, what, timeout, say or _log.warning)
    try:
        yield held
    finally:
        if held:
            with contextlib.suppress(OSError):
                path.unlink()  # while it is ours: who opened it meanwhile sees that it is gone
            _release(descriptor)  # by itself, as a forked child may have the descriptor, too
        os.close(descriptor)


def _acquire(
    path: Path, what: str, timeout: float | None, say: Callable[[str], None]
) -> tuple[int, bool]:
    started, said, pause = time.monotonic(), -_SAY_AGAIN, 0.02
    while True:
        descriptor = _opened(path)
        try:
            free = _try(descriptor)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                _log.warning("%s: this file system has no locks (%s)", path.parent, error.strerror)
                return descriptor, False
            os.close(descriptor)
            raise
        if free and _is_same(descriptor, path):
            os.ftruncate(descriptor, 0)
            with contextlib.suppress(OSError):  # a full disk: only the message is poorer
                os.write(
                    descriptor, f"process {os.getpid()} on {os.uname().nodename}, {what}".encode()
                )
            return descriptor, True
        holder = "another process" if free else _holder(descriptor)
        os.close(descriptor)
        if free:
            continue  # its holder removed it just now
        waited = time.monotonic() - started
        if timeout is not None and waited >= timeout:
            raise OutputError(
                f"{what}: another process holds the lock since {waited:.0f} s",
                place=path,
                found=holder,
                remedy="wait for that process, or end it: the lock ends with it",
            )
        if waited - said >= _SAY_AGAIN and waited > 0.1:
            said = waited
            say(f"waiting to {what}: {holder} has the lock {path}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)


def _opened(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, 0o666)  # other users of a shared cache wait for it, too
        return descriptor
    except OSError as error:
        raise OutputError(
            f"a lock cannot be made ({error.strerror})",
            place=path,
            remedy="check that the folder may be written, or set CRDS_READONLY_CACHE=1",
        ) from error


def _try(descriptor: int) -> bool:
    import fcntl  # absent on some systems, where nothing else here works either

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _release(descriptor: int) -> None:
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _holder(descriptor: int) -> str:
    with contextlib.suppress(OSError):
        text = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
        if text:
            return text
    return "another process"

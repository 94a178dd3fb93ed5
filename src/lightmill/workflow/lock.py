"""One process at a time: a lock that ends with the process that holds it, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from lightmill.errors import ConfigurationError

__all__ = ["alone"]

FILE = ".service"


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Look after a folder, and keep others from doing so at the same time.

    Parameters
    ----------
    folder : Path
        It is made if it is not there.

    Raises
    ------
    ConfigurationError
        If another process does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FILE).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise ConfigurationError(
                "another process looks after the jobs of this observatory",
                place=folder,
                found=file.read().strip() or "a lock",
                remedy="end that one first, or let this one only take in: --intake-only",
            ) from error
        with contextlib.suppress(OSError):  # a full disk: the name is for people
            file.truncate(0)
            file.write(f"process {os.getpid()} of {socket.gethostname()}")
            file.flush()
        yield

"""Whether something has changed in a folder: told by the kernel, or looked for.

The kernel (inotify) tells of what is done on this machine, not of what others write to a shared disk.
There, and where it does not tell, the folder is looked through at every turn.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from typing import Any, Protocol

from lightmill.errors import UnknownNameError

__all__ = ["WAYS", "Polling", "Told", "Watch", "is_shared", "watch_of"]

log = logging.getLogger("lightmill.workflow")

WAYS = ("auto", "inotify", "polling")
ANYWAY = 60.0  # s after which a folder is looked through although nothing was told
# File systems that other machines write to, by their names in /proc; all of FUSE are taken for such.
SHARED = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "ceph", "beegfs", "9p", "virtiofs",
    "afs", "glusterfs", "ocfs2", "gfs2", "pvfs2", "orangefs", "wekafs",
}  # fmt: skip


class Watch(Protocol):
    """Watches a folder, with everything below it."""

    def has_changed(self) -> bool:
        """Say whether the folder has to be looked through, since the last time this was asked."""

    def wait(self, seconds: float) -> None:
        """Wait, at most so long, until something changes."""

    def close(self) -> None:
        """Watch no longer."""


class Polling:
    """Looks at every turn."""

    def has_changed(self) -> bool:
        """Say that it may have."""
        return True

    def wait(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def close(self) -> None:
        """Do nothing."""


class Told:
    """Is told by the kernel, and looks now and then all the same.

    Parameters
    ----------
    folder : Path
    anyway : float
        Seconds after which it looks although nothing was told.

    Raises
    ------
    OSError
        If the kernel watches as many folders already as it is allowed to.
    ImportError
        If the package for it is not installed.
    """

    def __init__(self, folder: Path, *, anyway: float = ANYWAY) -> None:
        from watchdog import events
        from watchdog.observers.inotify import InotifyObserver

        # It warns of events that came while it was stopped.
        logging.getLogger("watchdog").setLevel(logging.ERROR)
        self._anyway, self._looked = anyway, -anyway
        self._event = threading.Event()
        self._event.set()  # nobody has looked yet
        told = self._event

        class Handler(events.FileSystemEventHandler):
            def on_any_event(self, event: Any) -> None:
                del event
                told.set()

        self._observer = InotifyObserver()
        # Not of files that are opened or read: we do that ourselves.
        kinds = [
            events.FileCreatedEvent, events.FileModifiedEvent, events.FileMovedEvent,
            events.FileDeletedEvent, events.DirCreatedEvent, events.DirMovedEvent,
            events.DirDeletedEvent,
        ]  # fmt: skip
        self._observer.schedule(Handler(), str(folder), recursive=True, event_filter=kinds)
        self._observer.daemon = True
        self._observer.start()

    def has_changed(self) -> bool:
        """Say whether something was told, or nobody has looked for long."""
        now = time.monotonic()
        if not self._event.is_set() and now - self._looked < self._anyway:
            return False
        self._event.clear()  # before the look: what happens meanwhile is seen the next time
        self._looked = now
        return True

    def wait(self, seconds: float) -> None:
        """Wait, at most so long, until something is told."""
        self._event.wait(seconds)

    def close(self) -> None:
        """Watch no longer."""
        self._observer.stop()
        self._observer.join(5)


def watch_of(folder: Path, way: str = "auto") -> Watch:
    """Return what watches a folder.

    Parameters
    ----------
    folder : Path
    way : str
        ``inotify``, ``polling``, or ``auto``: the first where it tells everything.

    Raises
    ------
    UnknownNameError
        If the way is none of these.
    OSError, ImportError
        If `way` is ``inotify`` and there is none.
    """
    if way not in WAYS:
        raise UnknownNameError("way to watch a folder", way, WAYS)
    if way == "polling" or (way == "auto" and is_shared(folder)):
        return Polling()
    try:
        return Told(folder)
    except (OSError, ImportError) as error:
        if way == "inotify":
            raise
        log.warning(
            "%s is looked through at every turn, for the kernel cannot tell: %s", folder, error
        )
        return Polling()


def is_shared(folder: Path, mounts: str | None = None) -> bool:
    """Say whether other machines may write to a folder.

    Parameters
    ----------
    folder : Path
    mounts : str, optional
        What ``/proc/self/mountinfo`` says; it is read if not given. Where it cannot be, yes.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return True
    here, kind = str(folder.resolve()), ""
    longest = -1
    for line in mounts.splitlines():
        before, dash, after = line.partition(" - ")
        words = before.split()
        if not dash or len(words) < 5:
            continue
        point = words[4].replace("\\040", " ")
        inside = here == point or here.startswith(point.rstrip("/") + os.sep)
        if inside and len(point) >= longest:  # the last of those mounted on one place is seen
            longest, kind = len(point), after.split()[0]
    return kind in SHARED or kind.startswith("fuse")

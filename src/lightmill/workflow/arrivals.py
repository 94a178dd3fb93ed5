"""Files that arrive: when one is complete, and how it gets into the archive without being lost.

A file is linked (or copied) into the archive under a place that its content decides, then recorded,
and only then taken away from where it was delivered. Killed anywhere between, the same is done
again with the same result.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lightmill.errors import DataError
from lightmill.workflow.patience import Unavailable, is_of_the_file
from lightmill.workflow.watching import Polling, Watch

__all__ = ["Delivered", "Gate", "archived", "checksum", "removed"]

BLOCK = 1 << 20
UNFINISHED = (".part", ".tmp", ".partial", ".filepart", ".crdownload")  # names in use for that


@dataclass(frozen=True)
class Delivered:
    """A complete file.

    Attributes
    ----------
    path : Path
    sha256 : str
    size : int
        [byte]
    """

    path: Path
    sha256: str
    size: int


class Gate:
    """Says which files of a folder are complete.

    Parameters
    ----------
    folder : Path
        With everything below it.
    settle : float
        Seconds that size and time of change must have stood still. With 0, whoever delivers gives a
        file its name when it is complete: what is hidden or ends in ``.part`` and the like is not.
    sentinel : str
        If not empty, a file counts when one of the same name and this ending is beside it, for
        instance ``.done``; the sentinels themselves are no data.
    clock : callable
        Seconds, of a clock that never goes back.
    watch : Watch, optional
        Tells when the folder has to be looked through; always, by default.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settle: float = 2.0,
        sentinel: str = "",
        clock: Callable[[], float] = time.monotonic,
        watch: Watch | None = None,
    ) -> None:
        self.folder, self.settle, self.sentinel, self.clock = folder, settle, sentinel, clock
        self.watch = watch or Polling()
        self._seen: dict[Path, tuple[tuple[int, int], float]] = {}
        self._announced: set[Path] = set()  # those with a sentinel

    def complete(self) -> list[Path]:
        """Return the files that are complete now, by name; the folder is looked through once."""
        self._look()
        if self.sentinel:
            return sorted(self._announced)
        now = self.clock()
        return [path for path, (_, since) in self._seen.items() if now - since >= self.settle]

    def waiting(self) -> list[Path]:
        """Return all files that are there, complete or not."""
        self._look()
        return list(self._seen)

    def take_away(self, path: Path) -> None:
        """Remove a file that is in the archive from where it was delivered."""
        removed(path, self.sentinel)
        self._seen.pop(path, None)
        self._announced.discard(path)

    def wait(self, seconds: float) -> None:
        """Wait until something may have arrived, at most so long."""
        self.watch.wait(seconds)

    def close(self) -> None:
        """Watch no longer."""
        self.watch.close()

    def _look(self) -> None:
        """Look through the folder, unless it is known to be as it was."""
        if not self.watch.has_changed():
            return
        now, seen = self.clock(), {}
        for path, state in sorted(self._files()):  # now, not at every turn
            before = self._seen.get(path)
            seen[path] = (state, before[1] if before is not None and before[0] == state else now)
        self._seen = seen
        if self.sentinel:
            self._announced = {path for path in seen if Path(f"{path}{self.sentinel}").exists()}

    def _files(self) -> Iterator[tuple[Path, tuple[int, int]]]:
        for folder, folders, names in os.walk(self.folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in names:
                if name.startswith(".") or name.endswith(UNFINISHED):
                    continue
                if self.sentinel and name.endswith(self.sentinel):
                    continue
                path = Path(folder, name)
                with contextlib.suppress(OSError):  # it may go while we look
                    if path.is_symlink() or not path.is_file():
                        continue
                    state = path.stat()
                    yield path, (state.st_size, state.st_mtime_ns)


def checksum(path: Path) -> Delivered:
    """Return size and SHA-256 of a file.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
                size += len(block)
    except OSError as error:
        raise DataError("the file cannot be read", place=path, found=error.strerror) from error
    return Delivered(path, digest.hexdigest(), size)


def archived(one: Delivered, archive: Path, program: str, *, keep: bool = False) -> str:
    """Put a file into the archive; return its path below the archive's folder.

    Parameters
    ----------
    one : Delivered
        It stays where it is.
    archive : Path
    program : str
        Names the folder; what cannot be part of a path in it is replaced.
    keep : bool
        Somebody goes on using the file: a copy is put there, which no one else can change.

    Raises
    ------
    DataError
        If the file cannot be put there because of what it is; nothing of it is then.
    Unavailable
        If the archive is full, or cannot be written; nothing of the file is there then.
    """
    place = Path(_plain(program) or "_", _plain(one.path.name), one.sha256[:16], one.path.name)
    target = archive / place
    if target.exists() and target.stat().st_size == one.size:
        return str(place)
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if keep or not _linked(one.path, aside):
            shutil.copyfile(one.path, aside)
        aside.chmod(0o444)
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(target)
        with contextlib.suppress(OSError):
            folder = os.open(target.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        if is_of_the_file(error):
            raise DataError(
                "the file cannot be put into the archive", place=target, found=error.strerror
            ) from error
        raise Unavailable(
            "the file cannot be put into the archive",
            place=target,
            found=error.strerror or error,
            remedy="make room or give leave to write there; it is tried again by itself",
        ) from error
    return str(place)


def removed(path: Path, sentinel: str = "") -> None:
    """Take a file that is in the archive away from where it was delivered."""
    with contextlib.suppress(OSError):
        path.unlink()
    if sentinel:
        with contextlib.suppress(OSError):
            Path(f"{path}{sentinel}").unlink()


def _linked(path: Path, aside: Path) -> bool:
    """Link a file; say whether that went: not to another file system."""
    try:
        os.link(path, aside)
    except OSError:
        return False
    return True


def _plain(name: str) -> str:
    """Return a name that is one folder, whatever it says."""
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    return kept.strip(".")[:120]

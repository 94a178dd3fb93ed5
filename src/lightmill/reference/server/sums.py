"""SHA-1 sums a server tells: those of large files are computed aside, while no client waits."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from pathlib import Path
from typing import Any

from lightmill.reference.digests import keep_sums, known_sha1, sha1_of

__all__ = ["Sums"]

_SMALL = 16 << 20  # bytes; the sum of a larger file is computed aside, not while a client waits


class Sums:
    """SHA-1 of files, by what tells that a file is unchanged."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._known: dict[tuple[object, ...], str] = {}
        self._waiting: queue.SimpleQueue[Path] = queue.SimpleQueue()
        self._asked: set[tuple[object, ...]] = set()
        self._worker: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._known)

    @property
    def unsummed(self) -> int:
        """How many files wait for their sum."""
        return self._waiting.qsize()

    def of(self, path: Path, status: os.stat_result, *, wait: bool) -> str | None:
        """Return the sum of a file; None of a large one whose sum is being computed.

        Parameters
        ----------
        path : Path
            The file.
        status : os.stat_result
            Its state.
        wait : bool
            Whether to compute the sum of a large file now.
        """
        key = (path, status.st_ino, status.st_size, status.st_mtime_ns)
        found = self._known.get(key)
        if found is None and status.st_size > _SMALL:
            found = known_sha1(path) or (sha1_of(path) if wait else None)
            if found is None:
                self._compute_aside(path, key)
                return None
        if found is None:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, _sha1).hexdigest()
        self._known[key] = found
        return found

    def _compute_aside(self, path: Path, key: tuple[object, ...]) -> None:
        with self._guard:
            if key in self._asked:
                return
            self._asked.add(key)
            self._waiting.put(path)
            if self._worker is None:
                self._worker = threading.Thread(
                    target=self._compute_waiting, name="sums of references", daemon=True
                )
                self._worker.start()

    def _compute_waiting(self) -> None:
        while True:
            path = self._waiting.get()
            try:
                self.of(path, path.stat(), wait=True)
            except OSError:
                continue  # it has gone, or is asked for again
            finally:
                if self._waiting.empty():
                    keep_sums()  # a server may run for months


def _sha1() -> Any:
    return hashlib.sha1(usedforsecurity=False)

"""Values kept while the folders or files they were made from stay as they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["Remembered", "stamp_of"]

_UNSETTLED = 2.0  # s: a folder that changed so lately may change again within the clock's tick
_MOST = 200  # values kept; more are only of names nobody has
_T = TypeVar("_T")


class Remembered:
    """Values by name, each with the state of the places it was made from."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[object, Any]] = {}

    def while_same(self, key: tuple[str, str], places: list[Path], make: Callable[[], _T]) -> _T:
        """Return a value made before, if the places it was made from are unchanged.

        Parameters
        ----------
        key : tuple of str
            What the value is, and whose.
        places : list of Path
            Folders or files that change when the value does.
        make : callable
            Makes the value.
        """
        stamp = tuple((place, stamp_of(place)) for place in places)
        seen = self._seen.get(key)
        if seen is None or seen[0] != stamp or _is_unsettled(places):
            seen = stamp, make()
            if len(self._seen) > _MOST:
                self._seen.clear()
            self._seen[key] = seen
        found: _T = seen[1]
        return found


def stamp_of(place: Path) -> tuple[int, ...] | None:
    """Return what tells that a folder or file is unchanged; None where there is none."""
    try:
        status = place.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def _is_unsettled(places: Iterable[Path]) -> bool:
    now = time.time()
    for place in places:
        try:
            if abs(now - place.stat().st_mtime) < _UNSETTLED:
                return True
        except OSError:
            continue
    return False

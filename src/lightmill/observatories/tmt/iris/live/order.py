"""The order of reads: what to do with one that is early, late, twice there, or missing.

Pure: it looks at numbers and times, and touches no pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["WINDOW", "Lost", "Order", "Taken", "Unused"]

WINDOW = 2  # reads that are held back while one before them is awaited


class Taken(NamedTuple):
    """A read whose turn it is."""

    read: Any


class Lost(NamedTuple):
    """A read of the exposure that is not in the frame, and why."""

    place: int
    why: str


class Unused(NamedTuple):
    """A read that came and is not needed, and why; the frame lacks nothing for it."""

    read: Any
    why: str


@dataclass
class _Ramp:
    number: int = 0
    time: float = float("-inf")


class Order:
    """Reads of one exposure, put in order.

    A read that is early is held until those before it have come, at most `WINDOW` of them; then
    what has not come is lost. Each read of the exposure is taken once or lost once, in order.

    Parameters
    ----------
    reads : int
        Of a ramp.
    total : int
        Of all ramps.
    """

    def __init__(self, reads: int, total: int) -> None:
        self.reads = reads
        self.total = total
        self.next = 0
        self._held: dict[int, Any] = {}
        self._lost: set[int] = set()
        self._refused: dict[int, str] = {}
        self._ramp = _Ramp()

    @property
    def is_over(self) -> bool:
        """Whether every read was taken or lost."""
        return self.next >= self.total

    @property
    def held(self) -> int:
        """How many reads wait for one before them."""
        return len(self._held)

    def offer(self, read: Any) -> Iterator[Taken | Lost | Unused]:
        """Say what becomes of a read, and of those that waited for it.

        Parameters
        ----------
        read : Read
            Its ``index`` is one of the exposure's.

        Yields
        ------
        Taken, Lost or Unused
        """
        index = read.index
        if index in self._lost:
            yield Unused(read, "it comes too late; it was given up")
        elif index < self.next or index in self._held:
            yield Unused(read, "it was there already")
        else:
            self._refused.pop(index, None)
            self._held[index] = read
            yield from self._in_turn()
            while len(self._held) > WINDOW:
                yield from self._give_up(min(self._held))

    def refuse(self, index: int, why: str) -> Iterator[Taken | Lost]:
        """Note that a read came damaged; it is lost unless it comes again before its turn is over.

        Parameters
        ----------
        index : int
            Of the read.
        why : str
            What is wrong with it.

        Yields
        ------
        Taken or Lost
        """
        if index >= self.next and index not in self._held:
            self._refused[index] = why
        yield from self._in_turn()

    def flush(self) -> Iterator[Taken | Lost]:
        """Wait for nothing more: what has not come is lost.

        Yields
        ------
        Taken or Lost
        """
        while self._held:
            yield from self._give_up(min(self._held))
        yield from self._give_up(self.total)

    def _give_up(self, index: int) -> Iterator[Taken | Lost]:
        while self.next < index:
            yield self._lose(self._refused.pop(self.next, "it did not come"))
        yield from self._in_turn()

    def _lose(self, why: str) -> Lost:
        lost = Lost(self.next, why)
        self._lost.add(self.next)
        self.next += 1
        return lost

    def _in_turn(self) -> Iterator[Taken | Lost]:
        while self.next in self._held:
            read = self._held.pop(self.next)
            ramp = self.next // self.reads
            if ramp != self._ramp.number:
                self._ramp = _Ramp(ramp)
            if not read.time > self._ramp.time:
                yield self._lose(
                    f"its time goes backwards: {read.time:g} s after {self._ramp.time:g} s"
                )
                continue
            self._ramp.time = read.time
            self.next += 1
            yield Taken(read)

"""Follow what happens in a store, event by event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["BATCH", "Follower"]

WINDOW = 200  # events before the last one that are looked at again
BATCH = 500  # most that are told at once


class Follower:
    """Follows the events of a store.

    Where several processes write a store, an event may be seen before one with a smaller number:
    numbers are given before transactions end. Events just before the last one are looked at again.

    Parameters
    ----------
    ask : callable
        Returns events after a number, as mappings, in order: given it, and how many at most.
    after : int
        The last event that is known already.
    """

    def __init__(self, ask: Callable[[int, int], list[dict[str, Any]]], after: int) -> None:
        self.ask, self.after = ask, after
        self.seen: set[int] | None = None

    def new(self) -> list[dict[str, Any]]:
        """Return events not seen yet, in order; at most a batch of them."""
        low = self.after - WINDOW
        rows = self.ask(low, WINDOW + BATCH)
        if self.seen is None:
            self.seen = {row["seq"] for row in rows if row["seq"] <= self.after}
        found = [row for row in rows if row["seq"] not in self.seen]
        self.seen |= {row["seq"] for row in found}
        self.after = max([self.after, *(row["seq"] for row in found)])
        self.seen = {seq for seq in self.seen if seq > self.after - WINDOW}
        return found

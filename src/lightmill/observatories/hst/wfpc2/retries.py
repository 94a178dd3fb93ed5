"""When a pair of jitter files that failed is tried again, and when it is left to a person."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ATTEMPTS", "FIRST", "GROWTH", "Failed"]

ATTEMPTS = 5  # tries after which a pair is in quarantine
FIRST = 3600.0  # s from the first try to the second: archives that are down are up by then
GROWTH = 4.0  # each pause is as many times the one before: 1 h, 4 h, 16 h, 64 h


class Failed(NamedTuple):
    """A pair that could not be fetched or read, as often as it was tried.

    Parameters
    ----------
    content : str
        Digest of the bytes that could not be read; empty where they did not come.
    attempts : int
        Tries since it arrived, or since a person released it.
    story : str
        Of the last try: where, what was found, what to do.
    at : float
        When that was [s since 1970]; 0 where nobody said.
    """

    content: str
    attempts: int
    story: str
    at: float = 0.0

    @property
    def is_quarantined(self) -> bool:
        """Whether it is not tried by itself any more."""
        return self.attempts >= ATTEMPTS

    @property
    def due_at(self) -> float:
        """When it is to be tried again [s since 1970]; infinite in quarantine."""
        if self.is_quarantined:
            return float("inf")
        return self.at + FIRST * GROWTH ** (self.attempts - 1) if self.attempts else 0.0

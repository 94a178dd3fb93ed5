"""A rectangle of a frame."""

from __future__ import annotations

from typing import NamedTuple

from lightmill.errors import ShapeError

__all__ = ["Region"]


class Region(NamedTuple):
    """Rows ``y0 <= y < y1`` and columns ``x0 <= x < x1`` of an array, 0-based.

    Parameters
    ----------
    y0, y1, x0, x1 : int
        Half-open bounds [pixel].
    """

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the rectangle."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def slices(self) -> tuple[slice, slice]:
        """What to index the last two axes of an array with."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def grow(self, n: int, ny: int, nx: int) -> Region:
        """Return the rectangle with `n` more pixels on each side, within (ny, nx)."""
        return Region(
            max(0, self.y0 - n), min(ny, self.y1 + n), max(0, self.x0 - n), min(nx, self.x1 + n)
        )

    def within(self, other: Region) -> Region:
        """Return this rectangle of `other`, in the pixels `other` itself is given in."""
        return Region(
            other.y0 + self.y0, other.y0 + self.y1, other.x0 + self.x0, other.x0 + self.x1
        )

    def check(self, ny: int, nx: int, *, place: object = None) -> Region:
        """Return the rectangle itself if it lies in a (ny, nx) frame, else raise ShapeError."""
        if 0 <= self.y0 < self.y1 <= ny and 0 <= self.x0 < self.x1 <= nx:
            return self
        raise ShapeError(
            "the region does not lie in the frame",
            place=place,
            found=f"rows {self.y0}:{self.y1}, columns {self.x0}:{self.x1}",
            expected=f"within {ny} rows and {nx} columns",
        )

"""Flags of an image with more of them set on a few pixels, which alone are in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lightmill.models import Region

__all__ = ["Flagged"]

CHUNK_ROWS = 256


class Flagged:
    """Flags that stay where they are, with more of them set on some pixels.

    An array source (`lightmill.models.ArraySource`): it is written, cut and read like an array in a
    file.

    Parameters
    ----------
    base : array_like or ArraySource
        The flags as they were, (ny, nx), uint32.
    pixels : (n,) ndarray of int
        Positions in the flat image, in order, each once.
    value : int
        Flags set there.
    """

    dtype = np.dtype(np.uint32)
    ndim = 2

    def __init__(self, base: Any, pixels: np.ndarray, value: int) -> None:
        self.shape = tuple(int(n) for n in base.shape)
        self._base, self._pixels, self._value = base, pixels, np.uint32(value)

    @property
    def nbytes(self) -> int:
        """Size in bytes, were it all in memory."""
        return 4 * self.shape[0] * self.shape[1]

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def _part(self, region: Region) -> tuple[Any, np.ndarray]:
        """Return the flags as they were in a region, and the pixels of it that get more."""
        base = self._base
        part = base.cut(region) if hasattr(base, "cut") else np.asarray(base)[region.slices]
        nx = self.shape[1]
        first, last = np.searchsorted(self._pixels, [region.y0 * nx, region.y1 * nx])
        y, x = np.divmod(self._pixels[first:last], nx)
        inside = (x >= region.x0) & (x < region.x1)
        width = region.x1 - region.x0
        return part, (y[inside] - region.y0) * width + x[inside] - region.x0

    def cut(self, region: Region) -> Flagged:
        """Return the same for a part of the image; nothing is read."""
        region = Region(*region).check(*self.shape)
        return Flagged(*self._part(region), int(self._value))

    def read(self, region: Region | None = None, planes: Any = None) -> np.ndarray:  # noqa: ARG002 - one plane
        """Return the flags of a region (all by default), a new array."""
        ny, nx = self.shape
        region = Region(0, ny, 0, nx) if region is None else Region(*region).check(ny, nx)
        part, pixels = self._part(region)
        flags = np.array(part, np.uint32)
        flags.reshape(-1)[pixels] |= self._value
        return flags

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield the image in file order, some rows at a time."""
        ny, nx = self.shape
        for y0 in range(0, ny, CHUNK_ROWS):
            yield self.read(Region(y0, min(ny, y0 + CHUNK_ROWS), 0, nx))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        flags = self.read()
        return flags if dtype is None else flags.astype(dtype, copy=False)

"""An array of one value, which takes no memory until somebody looks at it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lightmill.models.regions import Region

__all__ = ["Filled"]


class Filled:
    """An array of one value that takes no memory until a part of it is read."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, value: float = 0) -> None:
        self.shape = tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype)
        self.value = value

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes, were it all in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def read(self, region: Region | None = None, planes: slice | None = None) -> np.ndarray:
        """Return a new array of the value, as large as the part asked for."""
        ny, nx = self.shape[-2:]
        y0, y1, x0, x1 = region or (0, ny, 0, nx)
        lead = self.shape[:-2]
        if planes is not None:
            lead = (len(range(int(np.prod(lead, dtype=np.int64)))[planes]),)
        return np.full((*lead, y1 - y0, x1 - x0), self.value, self.dtype)

    def cut(self, region: Region) -> Filled:
        """Return the same for a part of the frame."""
        return Filled((*self.shape[:-2], *region.shape), self.dtype, self.value)

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield the whole array in file order, one plane at a time."""
        plane = np.full(self.shape[-2:], self.value, self.dtype)
        for _ in range(int(np.prod(self.shape[:-2], dtype=np.int64))):
            yield plane

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.full(self.shape, self.value, dtype or self.dtype)

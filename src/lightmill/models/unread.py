"""Arrays in files that can only be read whole: compressed images, arrays of an ASDF tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lightmill.models.regions import Region

__all__ = ["UnreadArray"]


class UnreadArray:
    """An array not yet read, all of whose file is read for any part of it.

    A subclass sets the attributes, says what a `cut` of it is, and reads in `_whole`.

    Attributes
    ----------
    shape : tuple of int
        Of the part in `region`.
    dtype : dtype
        Of the values `read` returns.
    region : Region or None
        The part of the last two axes this stands for; None is all of it.
    place : str
        Where the array is, for messages.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    region: Region | None
    place: str

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def _whole(self) -> np.ndarray:
        """Return the array of the file, of any dtype."""
        raise NotImplementedError

    def _within(self, region: Region) -> Region:
        """Return a part of this array as a part of the whole one."""
        region.check(*self.shape[-2:], place=self.place)
        return region if self.region is None else region.within(self.region)

    def read(
        self, region: Region | None = None, planes: int | slice | Sequence[int] | None = None
    ) -> np.ndarray:
        """Return values, native-endian and C-contiguous."""
        values = self._whole()
        if self.region is not None:
            values = values[(..., *self.region.slices)]
        if planes is not None:
            values = values.reshape(-1, *values.shape[-2:])[planes]
        if region is not None:
            values = values[(..., *region.slices)]
        return np.ascontiguousarray(values, self.dtype)

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield the array in one piece."""
        yield self.read()

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        values = self.read()
        return values if dtype is None else values.astype(dtype, copy=False)

"""Arrays that may be larger than memory: kept in an unnamed scratch file, read and written by rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from lightmill.errors import CorruptFileError, OutputError
from lightmill.models import Region

__all__ = ["IN_MEMORY_BYTES", "Spool"]

IN_MEMORY_BYTES = 256 << 20  # of results in memory; what is larger stays in a file


class Spool:
    """An array in a scratch file that disappears with it.

    Parameters
    ----------
    shape : tuple of int
        The last two axes are rows and columns.
    dtype : dtype_like
        Stored in the byte order of this machine.
    directory : path_like, optional
        Where the scratch file lives; the system's temporary directory otherwise.
    path : path_like, optional
        An existing file to read instead; it is neither written nor removed.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: Any,
        directory: str | Path | None = None,
        *,
        path: str | Path | None = None,
    ) -> None:
        self.shape = tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype)
        self._directory = directory
        self._nx = self.shape[-1]
        self._plane = self.shape[-1] * self.shape[-2] * self.dtype.itemsize
        self._planes = int(np.prod(self.shape[:-2], dtype=np.int64))
        if path is not None:
            self._file: IO[bytes] = Path(path).open("rb")  # noqa: SIM115 - lives as long as the array
            return
        import tempfile  # 5 ms, and small exposures stay in memory

        try:
            self._file = tempfile.TemporaryFile(dir=directory, prefix="lightmill-")  # noqa: SIM115 - lives as long as the array
            os.truncate(self._file.fileno(), self._plane * self._planes)
        except OSError as error:
            raise self._full(error) from error

    def __del__(self) -> None:
        file = self.__dict__.get("_file")
        if file is not None:
            file.close()

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self._plane * self._planes

    def grow(self, planes: int) -> None:
        """Make room for more planes of zeros; the array is then (planes, ny, nx)."""
        try:
            os.truncate(self._file.fileno(), self._plane * planes)
        except OSError as error:
            raise self._full(error) from error
        self._planes, self.shape = planes, (planes, *self.shape[-2:])

    def write(self, y0: int, array: np.ndarray, *, first_plane: int = 0) -> None:
        """Write full-width rows that start at row `y0`, of the planes from `first_plane` on."""
        flat = array.reshape(-1, *array.shape[-2:])
        offset = y0 * self._nx * self.dtype.itemsize
        for number, plane in enumerate(flat, start=first_plane):
            block = np.ascontiguousarray(plane, dtype=self.dtype)
            view = block.reshape(-1).view(np.uint8).data
            position = number * self._plane + offset
            while view:
                try:
                    done = os.pwrite(self._file.fileno(), view, position)
                except OSError as error:
                    raise self._full(error) from error
                view = view[done:]
                position += done

    def read(self, region: Region | None = None, planes: slice | None = None) -> np.ndarray:
        """Return the rows and columns of `region` (all by default) of every plane.

        Returns
        -------
        array : ndarray
            A new, C-contiguous array that the caller owns.
        """
        ny, nx = self.shape[-2:]
        y0, y1, x0, x1 = region or (0, ny, 0, nx)
        which = range(self._planes)[planes] if planes is not None else range(self._planes)
        out = np.empty((len(which), y1 - y0, nx), self.dtype)
        for position, plane in enumerate(which):
            view = memoryview(out[position]).cast("B")
            start = plane * self._plane + y0 * nx * self.dtype.itemsize
            while view:
                done = os.preadv(self._file.fileno(), [view], start)
                if not done:
                    raise CorruptFileError(
                        "intermediate data on disk end too soon",
                        place=self._file.name,
                        remedy="run again; do not touch the run cache while it is in use",
                    )
                view = view[done:]
                start += done
        if (x0, x1) != (0, nx):
            out = np.ascontiguousarray(out[:, :, x0:x1])
        lead = self.shape[:-2] if planes is None else (len(which),)
        return out.reshape(*lead, y1 - y0, x1 - x0)

    def cut(self, region: Region) -> np.ndarray:
        """Return a part of the frame, read now."""
        return self.read(region)

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield the whole array in file order, one plane at a time."""
        for plane in range(self._planes):
            yield self.read(planes=slice(plane, plane + 1))[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.read()
        return array if dtype is None else array.astype(dtype, copy=False)

    def _full(self, error: OSError) -> OutputError:
        import tempfile

        return OutputError(
            "cannot keep intermediate data on disk",
            place=self._directory or tempfile.gettempdir(),
            found=error.strerror,
            expected=f"{self.nbytes / 1e6:.0f} MB of free space",
            remedy="free space, or name another scratch directory with --scratch-dir",
        )

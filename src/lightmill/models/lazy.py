"""Arrays that stay in their file until somebody looks at them."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lightmill.errors import CorruptFileError, DataError, ShapeError, ValidationError
from lightmill.models.codec import decode, native_dtype
from lightmill.models.regions import Region

__all__ = ["ArraySource", "ByteSource", "FileBytes", "HeldBytes", "LazyArray"]

BLOCK = 1 << 20  # bytes read and decoded at a time: stays in the second-level cache


@runtime_checkable
class ArraySource(Protocol):
    """An array that can be written without ever being whole in memory."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield C-contiguous pieces in file order, together the whole array."""


class ByteSource(Protocol):
    """Bytes that can be read at a position."""

    size: int
    name: str

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` from `offset` on, or raise CorruptFileError."""


class FileBytes:
    """The bytes of a file, read with ``pread``; no handle is kept between reads."""

    __slots__ = ("_identity", "name", "path", "size")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.name = self.path.name
        try:
            status = self.path.stat()
        except FileNotFoundError:
            raise DataError(
                "there is no such file", place=self.path, remedy="check the name and the directory"
            ) from None
        except (OSError, ValueError) as error:
            raise DataError("the file cannot be read", place=self.path, found=error) from error
        if not stat.S_ISREG(status.st_mode):
            raise DataError(
                "this is not a file", place=self.path, remedy="give a FITS or ASDF file"
            )
        self.size = status.st_size
        self._identity = (status.st_ino, status.st_size, status.st_mtime_ns)

    def open(self) -> int:
        """Return a new descriptor of the file, after checking it is still the same."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            raise DataError(
                "the file cannot be read", place=self.path, found=error.strerror
            ) from error
        status = os.fstat(descriptor)
        if (status.st_ino, status.st_size, status.st_mtime_ns) != self._identity:
            os.close(descriptor)
            raise CorruptFileError(
                "the file has changed since it was opened", place=self.path, remedy="open it again"
            )
        return descriptor

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` from `offset` on."""
        descriptor = self.open()
        try:
            self.read_from(descriptor, buffer, offset)
        finally:
            os.close(descriptor)

    def read_from(self, descriptor: int, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` from `offset` on, using an open descriptor."""
        done = 0
        while done < len(buffer):
            try:
                count = os.preadv(descriptor, [buffer[done:]], offset + done)
            except OSError as error:
                raise CorruptFileError(
                    "the file cannot be read", place=self.path, found=error.strerror
                ) from error
            if count == 0:
                raise CorruptFileError(
                    "the file ends too early",
                    place=self.path,
                    found=f"{self.size} bytes",
                    expected=f"at least {offset + len(buffer)} bytes",
                    remedy="fetch the file again",
                )
            done += count

    def close(self, descriptor: int) -> None:
        """Give a descriptor back."""
        os.close(descriptor)


class HeldBytes:
    """Bytes in memory under a file's name (a decompressed file)."""

    __slots__ = ("_bytes", "name", "path", "size")

    def __init__(self, content: bytes, path: Path) -> None:
        self._bytes = content
        self.path = path
        self.name = path.name
        self.size = len(content)

    def open(self) -> int:
        """Return a token for `read_from`; there is nothing to open."""
        return -1

    def close(self, _descriptor: int) -> None:
        """Do nothing: there is nothing to close."""

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` from `offset` on."""
        piece = self._bytes[offset : offset + len(buffer)]
        if len(piece) < len(buffer):
            raise CorruptFileError(
                "the file ends too early", place=self.path, remedy="fetch the file again"
            )
        buffer[:] = piece

    def read_from(self, _descriptor: int, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` from `offset` on."""
        self.read_into(buffer, offset)


class LazyArray:
    """An image in a file, not yet read.

    Parameters
    ----------
    source : FileBytes or HeldBytes
        Where the bytes are.
    offset : int
        Position of the first byte of the array.
    stored : dtype
        Big-endian dtype of the numbers in the file.
    shape : tuple of int
        Shape of the array in the file, slowest axis first.
    zero, scale : float
        BZERO and BSCALE.
    dtype : dtype, optional
        Native dtype of the values; by default the one the file means.
    region : Region, optional
        Part of the last two axes this array stands for.
    place : str
        Name for error messages, ``file[SCI]``.
    translate : callable, optional
        Applied to the values read (data-quality flags of another table).
    """

    __slots__ = (
        "_frame", "_translate", "dtype", "offset", "place", "region", "scale", "shape", "source",
        "stored", "zero",
    )  # fmt: skip

    def __init__(
        self,
        source: FileBytes | HeldBytes,
        offset: int,
        stored: np.dtype,
        shape: tuple[int, ...],
        *,
        zero: float = 0,
        scale: float = 1,
        dtype: np.dtype | None = None,
        region: Region | None = None,
        place: str = "",
        translate: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self.source = source
        self.offset = offset
        self.stored = np.dtype(stored)
        self.zero, self.scale = zero, scale
        self.dtype = np.dtype(dtype or native_dtype(self.stored, zero, scale))
        self._frame = tuple(shape)
        self.region = region
        self.shape = self._frame if region is None else (*self._frame[:-2], *region.shape)
        self.place = place or source.name
        self._translate = translate

    @property
    def path(self) -> Path:
        """The file the array is in."""
        return self.source.path

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes the array takes once read."""
        return self.size * self.dtype.itemsize

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape))
        return f"<LazyArray {self.place} {shape} {self.dtype.name}>"

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        values = self.read()
        return values if dtype is None else values.astype(dtype, copy=False)

    def _like(self, **changes: Any) -> LazyArray:
        given: dict[str, Any] = {
            "zero": self.zero, "scale": self.scale, "dtype": self.dtype, "region": self.region,
            "place": self.place, "translate": self._translate, **changes,
        }  # fmt: skip
        shape = given.pop("shape", self._frame)
        return LazyArray(self.source, self.offset, self.stored, shape, **given)

    def cut(self, region: Region) -> LazyArray:
        """Return the part of the last two axes in `region`; nothing is read."""
        region.check(*self.shape[-2:], place=self.place)
        return self._like(region=region if self.region is None else region.within(self.region))

    def astype(self, dtype: np.dtype) -> LazyArray:
        """Return the same array, to be read as another dtype; nothing is read."""
        return self._like(dtype=np.dtype(dtype))

    def reshape(self, shape: tuple[int, ...]) -> LazyArray:
        """Return the same array with leading axes of length one added or dropped."""
        if math.prod(shape) != self.size or shape[-2:] != self.shape[-2:] or self.region:
            raise ShapeError("the array has another shape", place=self.place, found=self.shape)
        return self._like(shape=tuple(shape))

    def translated(self, translate: Callable[[np.ndarray], np.ndarray] | None) -> LazyArray:
        """Return the same array, its values to be passed through `translate` when read."""
        return self._like(translate=translate)

    def read(
        self, region: Region | None = None, planes: int | slice | Sequence[int] | None = None
    ) -> np.ndarray:
        """Return values, native-endian and C-contiguous.

        Parameters
        ----------
        region : Region, optional
            Part of the last two axes; by default all.
        planes : int, slice or sequence of int, optional
            Which planes, counted along all axes but the last two, in file
            order. The result then has one axis for them (none for an int).

        Returns
        -------
        ndarray
            In `dtype`.

        Raises
        ------
        CorruptFileError
            If the file ends before the array does, or has changed.
        ValidationError
            If a value does not fit into `dtype`.
        """
        if self.ndim < 2:
            return self._read_flat()
        if region is not None:
            region.check(*self.shape[-2:], place=self.place)
            region = region if self.region is None else region.within(self.region)
        else:
            region = self.region
        total = math.prod(self._frame[:-2])
        if planes is None:
            chosen: Sequence[int] = range(total)
            lead = self._frame[:-2]
        elif isinstance(planes, slice):
            chosen = range(total)[planes]
            lead = (len(chosen),)
        elif isinstance(planes, (int, np.integer)):
            chosen, lead = [range(total)[planes]], ()
        else:
            chosen = [range(total)[plane] for plane in planes]
            lead = (len(chosen),)
        rows, columns = self._frame[-2:]
        region = region or Region(0, rows, 0, columns)
        out = self._empty((len(chosen), *region.shape))
        self._fill(out, chosen, region)
        return self._finished(out.reshape((*lead, *region.shape)))

    def chunks(self, nbytes: int = 4 << 20) -> Iterator[np.ndarray]:
        """Yield C-contiguous pieces in file order, each about `nbytes` long."""
        if self.ndim < 2:
            yield self.read()
            return
        ny, nx = self.shape[-2:]
        if 0 in self.shape:
            return
        rows = max(1, nbytes // max(1, nx * self.dtype.itemsize))
        step = max(1, rows // ny)
        for plane in range(0, math.prod(self.shape[:-2]), step):
            if step > 1 or rows >= ny:
                yield self.read(planes=slice(plane, plane + step))
                continue
            for y in range(0, ny, rows):
                yield self.read(Region(y, min(ny, y + rows), 0, nx), planes=plane)

    def _empty(self, shape: tuple[int, ...]) -> np.ndarray:
        try:
            return np.empty(shape, self._decoded_dtype())
        except (MemoryError, ValueError) as error:
            raise DataError(
                "the array does not fit into memory", place=self.place, found=shape
            ) from error

    def _decoded_dtype(self) -> np.dtype:
        """Return the dtype to decode into: the target when every stored value fits into it."""
        natural = native_dtype(self.stored, self.zero, self.scale)
        both_float = natural.kind == "f" and self.dtype.kind == "f"
        fits = both_float or np.can_cast(natural, self.dtype, "safe") or _holds(natural, self.dtype)
        return self.dtype if fits else natural

    def _finished(self, values: np.ndarray) -> np.ndarray:
        if values.dtype != self.dtype:
            values = cast(values, self.dtype, place=self.place)
        return self._translate(values) if self._translate is not None else values

    def _read_flat(self) -> np.ndarray:
        out = self._empty(self._frame)
        raw = np.empty(out.size * self.stored.itemsize, np.uint8)
        self.source.read_into(raw.data, self.offset)
        decode(raw, self.stored, self.zero, self.scale, out)
        return self._finished(out)

    def _fill_columns(
        self, out: np.ndarray, planes: Sequence[int], region: Region, descriptor: int
    ) -> None:
        """Take a few columns of every row: mapped, so that the rest of the row is not copied."""
        import mmap

        rows, columns = self._frame[-2:]
        size = self.stored.itemsize
        height = region.y1 - region.y0
        for number, plane in enumerate(planes):
            start = self.offset + (plane * rows + region.y0) * columns * size
            base = start - start % mmap.ALLOCATIONGRANULARITY
            length = start - base + height * columns * size
            if base + length > self.source.size:
                raise CorruptFileError(
                    "the file ends too early",
                    place=self.place,
                    found=f"{self.source.size} bytes",
                    expected=f"at least {base + length} bytes",
                    remedy="fetch the file again",
                )
            with mmap.mmap(descriptor, length, access=mmap.ACCESS_READ, offset=base) as mapped:
                raw = np.frombuffer(mapped, np.uint8, height * columns * size, start - base)
                cells = raw.reshape(height, columns, size)[:, region.x0 : region.x1]
                part = np.array(cells, order="C").reshape(-1)  # a copy, also of one column
                del raw, cells  # the map cannot be closed while they look at it
            target = out[number * height : (number + 1) * height].reshape(-1)
            decode(part, self.stored, self.zero, self.scale, target)

    def _fill(self, out: np.ndarray, planes: Sequence[int], region: Region) -> None:
        """Read row blocks and decode them while they are in the cache."""
        rows, columns = self._frame[-2:]
        if out.size == 0:
            return
        row_bytes = columns * self.stored.itemsize
        whole = region == (0, rows, 0, columns)
        wide = region.x0 == 0 and region.x1 == columns
        height = region.y1 - region.y0
        runs = _runs(planes) if whole else [(plane, 1) for plane in planes]
        step = max(1, BLOCK // row_bytes)
        buffer = np.empty(step * row_bytes, np.uint8)
        scratch = None if wide else np.empty((step, columns), out.dtype)
        flat = out.reshape(-1, out.shape[-1])
        descriptor = self.source.open()
        try:
            if descriptor >= 0 and 8 * (region.x1 - region.x0) <= columns:
                self._fill_columns(flat, planes, region, descriptor)
                return
            done = 0
            for plane, count in runs:
                start = self.offset + (plane * rows + region.y0) * row_bytes
                n_rows = height * count
                for y in range(0, n_rows, step):
                    n = min(step, n_rows - y)
                    raw = buffer[: n * row_bytes]
                    self.source.read_from(descriptor, raw.data, start + y * row_bytes)
                    target = flat[done : done + n] if scratch is None else scratch[:n]
                    decode(raw, self.stored, self.zero, self.scale, target)
                    if scratch is not None:
                        flat[done : done + n] = target[:, region.x0 : region.x1]
                    done += n
        finally:
            self.source.close(descriptor)


def cast(values: np.ndarray, dtype: np.dtype, *, place: object = None) -> np.ndarray:
    """Return `values` in `dtype` if that loses nothing, else raise ValidationError."""
    dtype = np.dtype(dtype)
    if values.dtype == dtype:
        return values
    if np.can_cast(values.dtype, dtype, "safe"):
        return values.astype(dtype)
    if values.dtype.kind not in "biuf":
        raise ValidationError(
            "the array does not hold numbers", place=place, found=values.dtype, expected=dtype.name
        )
    with np.errstate(all="ignore"):
        result = values.astype(dtype)
        back = result.astype(values.dtype)
        changed = (back != values) & ~(np.isnan(back) & np.isnan(values))
        if values.dtype.kind == "f" and dtype.kind in "iu":
            changed |= ~np.isfinite(values)
        elif values.dtype.kind == "i" and dtype.kind == "u":
            changed |= values < 0
        elif values.dtype.kind == "u" and dtype.kind == "i":
            changed |= result < 0
    n = int(np.count_nonzero(changed))
    if n:
        first = np.unravel_index(int(np.argmax(changed)), values.shape)
        raise ValidationError(
            f"{n} of {values.size} values change when stored as {dtype.name}",
            place=place,
            found=f"{values[first]!r} at {tuple(map(int, first))}, in {values.dtype.name}",
            expected=dtype.name,
            remedy=f"convert with .astype(np.{dtype.name}) if the loss is meant",
        )
    return result


def _holds(natural: np.dtype, target: np.dtype) -> bool:
    """Whether counts of up to 16 bits are exact in a float, or a bool in anything."""
    return natural.kind in "iu" and target.kind == "f" and natural.itemsize < target.itemsize


def _runs(planes: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbouring planes joined: (first, count)."""
    if isinstance(planes, range) and planes.step == 1:
        return [(planes.start, len(planes))] if len(planes) else []
    runs: list[tuple[int, int]] = []
    for plane in planes:
        if runs and plane == sum(runs[-1]):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((plane, 1))
    return runs

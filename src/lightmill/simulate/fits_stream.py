"""Write FITS files plane by plane, so that no whole array need be in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

__all__ = ["FitsStream"]

_BLOCK = 2880
_STORED: dict[str, tuple[int, str, int]] = {  # dtype → BITPIX, stored dtype, BZERO
    "uint8": (8, "u1", 0),
    "int16": (16, ">i2", 0),
    "uint16": (16, ">i2", 1 << 15),
    "int32": (32, ">i4", 0),
    "uint32": (32, ">i4", 1 << 31),
    "float32": (-32, ">f4", 0),
    "float64": (-64, ">f8", 0),
}
_COLUMN = {"u1": "B", "i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D"}


class FitsStream:
    """A FITS file in the making; it gets its name only when it is complete.

    Parameters
    ----------
    path : path
        Where the file will be.
    primary : mapping
        Keywords of the primary header; a tuple is (value, comment), a list
        becomes one card per item.

    Examples
    --------
    >>> with FitsStream(path, {"TELESCOP": "X"}) as file:      # doctest: +SKIP
    ...     file.begin_image("SCI", (3, 10, 10), np.uint16)
    ...     for plane in planes:
    ...         file.write(plane)
    """

    def __init__(self, path: str | Path, primary: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self._aside = self.path.with_name(self.path.name + ".part")
        self._file: BinaryIO = self._aside.open("wb")
        self._missing = 0
        self._header({"SIMPLE": True, "BITPIX": 8, "NAXIS": 0, "EXTEND": True, **primary})

    def begin_image(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: Any,
        keywords: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin an image extension; its planes follow with `write`."""
        self._finish()
        bits, stored, zero = _STORED[np.dtype(dtype).name]
        cards: dict[str, Any] = {"XTENSION": "IMAGE", "BITPIX": bits, "NAXIS": len(shape)}
        cards |= {f"NAXIS{i + 1}": n for i, n in enumerate(reversed(shape))}
        cards |= {"PCOUNT": 0, "GCOUNT": 1, "EXTNAME": name, "EXTVER": 1}
        if zero:
            cards |= {"BSCALE": 1, "BZERO": zero}
        self._header(cards | dict(keywords or {}))
        self._dtype, self._stored, self._zero = np.dtype(dtype), np.dtype(stored), zero
        self._missing = int(np.prod(shape)) * self._stored.itemsize

    def write(self, array: np.ndarray) -> None:
        """Append values to the image begun last."""
        array = np.asarray(array, self._dtype)
        if self._zero:
            signed = array ^ self._dtype.type(self._zero)
            array = signed.view(self._dtype.str.replace("u", "i"))
        data = np.ascontiguousarray(array.astype(self._stored))
        self._file.write(data.data)
        self._missing -= data.nbytes

    def image(
        self, name: str, array: np.ndarray, keywords: Mapping[str, Any] | None = None
    ) -> None:
        """Write a whole image extension."""
        self.begin_image(name, array.shape, array.dtype, keywords)
        self.write(array)

    def table(self, name: str, rows: np.ndarray, keywords: Mapping[str, Any] | None = None) -> None:
        """Write a structured array as a binary table."""
        self._finish()
        columns: dict[str, Any] = {}
        stored = []
        for i, column in enumerate(rows.dtype.names or (), start=1):
            dtype = rows.dtype[column]
            base, count = dtype.base, int(np.prod(dtype.shape))
            code = f"{dtype.itemsize}A" if base.kind == "S" else _COLUMN[base.str[1:]]
            repeat = str(count) if dtype.shape else ""
            columns |= {f"TTYPE{i}": column, f"TFORM{i}": repeat + code}
            stored.append((column, base.newbyteorder(">"), dtype.shape))
        data = rows.astype(stored)
        cards = {"XTENSION": "BINTABLE", "BITPIX": 8, "NAXIS": 2, "NAXIS1": data.dtype.itemsize}
        cards |= {"NAXIS2": len(data), "PCOUNT": 0, "GCOUNT": 1, "TFIELDS": len(stored)}
        self._header(cards | columns | {"EXTNAME": name, "EXTVER": 1} | dict(keywords or {}))
        self._file.write(data.tobytes())

    def _header(self, cards: Mapping[str, Any]) -> None:
        from astropy.io import fits

        header = fits.Header()
        for key, value in cards.items():
            if value is None:
                continue
            for item in value if isinstance(value, list) else [value]:
                pair = item if isinstance(item, tuple) else (item, "")
                header.append((key, *pair), end=True)
        self._file.write(header.tostring(sep="", endcard=True, padding=True).encode("ascii"))

    def _finish(self) -> None:
        if self._missing:
            raise ValueError(f"{self.path}: {self._missing} bytes of an image were not written")
        self._file.write(b"\0" * (-self._file.tell() % _BLOCK))

    def __enter__(self) -> Self:
        """Return the stream."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the file its name, or remove what was begun."""
        complete = False
        try:
            if kind is None:
                self._finish()
                complete = True
        finally:
            self._file.close()
            if complete:
                self._aside.replace(self.path)
            else:
                self._aside.unlink(missing_ok=True)

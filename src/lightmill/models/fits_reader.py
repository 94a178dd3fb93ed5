"""Read the structure of a FITS file: headers parsed, data left where they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightmill.errors import CorruptFileError
from lightmill.models.cards import CARD, Header
from lightmill.models.lazy import FileBytes, HeldBytes, LazyArray

__all__ = ["BLOCK", "FitsFile", "Hdu", "read_fits"]

BLOCK = 2880
MAX_HEADER = 16 << 20
_STORED = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_END = b"END" + b" " * 77


@dataclass(slots=True)
class Hdu:
    """One header-data unit.

    Parameters
    ----------
    name : str
        EXTNAME in upper case; ``PRIMARY`` for the first.
    version : int
        EXTVER.
    kind : str
        ``image``, ``table`` (binary) or ``other``.
    header : Header
        Its cards.
    offset, size : int
        Where the data begin and how long they are, without padding [byte].
    shape : tuple of int
        Axes of an image, slowest first.
    number : int
        Position in the file, 0 is the primary.
    """

    name: str
    version: int
    kind: str
    header: Header
    source: FileBytes | HeldBytes
    offset: int
    size: int
    bitpix: int = 8
    shape: tuple[int, ...] = ()
    number: int = 0

    @property
    def place(self) -> str:
        """Name for error messages."""
        return self.header.place

    @property
    def has_data(self) -> bool:
        """Whether there is an image or a table."""
        return self.size > 0 or (self.kind == "image" and bool(self.shape))

    def array(self) -> LazyArray:
        """Return the image, not yet read."""
        scale = self.header.number("BSCALE", 1)
        zero = self.header.number("BZERO", 0)
        return LazyArray(
            self.source,
            self.offset,
            np.dtype(_STORED[self.bitpix]),
            self.shape,
            zero=_whole(zero),
            scale=_whole(scale),
            place=self.place,
        )

    def data_bytes(self) -> bytes:
        """Return the data as they are in the file, without padding."""
        buffer = bytearray(self.size)
        self.source.read_into(memoryview(buffer), self.offset)
        return bytes(buffer)


@dataclass(slots=True)
class FitsFile:
    """The header-data units of a file, in order."""

    path: Path
    hdus: list[Hdu]

    @property
    def primary(self) -> Hdu:
        """The first unit."""
        return self.hdus[0]

    def find(self, name: str, version: int = 1) -> Hdu | None:
        """Return the unit of a name and version, or None."""
        for hdu in self.hdus:
            if hdu.name == name and hdu.version == version:
                return hdu
        return None


def read_fits(source: FileBytes | HeldBytes) -> FitsFile:
    """Walk through the header-data units of a file.

    Raises
    ------
    CorruptFileError
        If the file is not FITS, is damaged, or ends inside a unit. Nothing is
        allocated on the word of a header: sizes are held against the file's.
    """
    descriptor = source.open()
    try:
        return _walk(source, descriptor)
    finally:
        source.close(descriptor)


def _walk(source: FileBytes | HeldBytes, descriptor: int) -> FitsFile:
    hdus: list[Hdu] = []
    position = 0
    while position < source.size:
        block = _header_block(source, descriptor, position, first=not hdus)
        if block is None:
            break
        place = f"{source.name}[{'PRIMARY' if not hdus else len(hdus)}]"
        end = len(block)
        start = position + -(-(end + CARD) // BLOCK) * BLOCK
        hdu = _unit(Header.from_bytes(block, place), source, start, first=not hdus)
        hdu.number = len(hdus)
        if start + hdu.size > source.size:
            raise CorruptFileError(
                "the file ends too early",
                place=hdu.place,
                found=f"{source.size} bytes",
                expected=f"at least {start + hdu.size} bytes",
                remedy="fetch the file again",
            )
        hdus.append(hdu)
        position = start + -(-hdu.size // BLOCK) * BLOCK
    if not hdus:
        raise CorruptFileError("the file is empty", place=source.path, remedy="fetch it again")
    return FitsFile(source.path, hdus)


def _header_block(
    source: FileBytes | HeldBytes, descriptor: int, position: int, *, first: bool
) -> bytes | None:
    """Return the header that begins at `position`, END excluded; None after the last."""
    collected = b""
    length = min(4 * BLOCK, source.size - position)
    while True:
        buffer = bytearray(length)
        source.read_from(descriptor, memoryview(buffer), position + len(collected))
        if not collected:
            if first and not buffer.startswith(b"SIMPLE  ="):
                raise CorruptFileError(
                    "this is not a FITS file",
                    place=source.path,
                    found="an empty file" if not buffer else bytes(buffer[:30]),
                    expected="SIMPLE  =                    T",
                    remedy="give a FITS or ASDF file",
                )
            if not first and not buffer.startswith(b"XTENSION"):
                if not bytes(buffer).strip(b"\0 "):
                    return None
                raise CorruptFileError(
                    "there is something else where an extension should begin",
                    place=f"{source.name}, byte {position}",
                    found=bytes(buffer[:30]),
                    expected="XTENSION",
                    remedy="fetch the file again",
                )
        searched = max(0, len(collected) - len(collected) % CARD)
        collected += bytes(buffer)
        end = collected.find(_END, searched)
        while end >= 0 and end % CARD:
            end = collected.find(_END, end + 1)
        if end >= 0:
            return collected[:end]
        length = min(max(len(collected), BLOCK), source.size - position - len(collected))
        if length <= 0 or len(collected) > MAX_HEADER:
            raise CorruptFileError(
                "a header has no END card",
                place=f"{source.name}, byte {position}",
                expected="END",
                remedy="fetch the file again",
            )


def _unit(header: Header, source: FileBytes | HeldBytes, start: int, *, first: bool) -> Hdu:
    name = "PRIMARY" if first else header.text("EXTNAME").upper()
    version = 1
    if not first:
        header.place = f"{source.name}[{name or header.place}]"
        version = header.integer("EXTVER", 1)
    kind = "image" if first else _KINDS.get(header.text("XTENSION"), "other")
    bitpix = header.integer("BITPIX")
    stored_dtype(bitpix, header.place)
    naxis = header.integer("NAXIS")
    if not 0 <= naxis <= 999:
        raise CorruptFileError(
            "the header is damaged", place=f"{header.place}/NAXIS", found=naxis, expected="0 to 999"
        )
    axes = [header.integer(f"NAXIS{axis}") for axis in range(1, naxis + 1)]
    pcount = header.integer("PCOUNT", 0)
    gcount = header.integer("GCOUNT", 1)
    if any(axis < 0 for axis in axes) or pcount < 0 or gcount < 0:
        raise CorruptFileError(
            "the header is damaged",
            place=header.place,
            found=f"axes {axes}, PCOUNT {pcount}, GCOUNT {gcount}",
            expected="no negative length",
            remedy="fetch the file again",
        )
    groups = first and naxis > 0 and axes[0] == 0 and header.get("GROUPS") is True
    if groups:
        kind = "other"
        count = gcount * (pcount + math.prod(axes[1:]))
    else:
        if first:
            pcount, gcount = 0, 1
        count = gcount * (pcount + math.prod(axes)) if axes else 0
    if kind == "image" and (pcount or gcount != 1):
        kind = "other"
    size = count * abs(bitpix) // 8
    shape = tuple(reversed(axes)) if kind == "image" else ()
    if len(shape) > 32:
        kind, shape = "other", ()
    if kind == "table" and not 0 <= header.integer("TFIELDS") <= 999:
        raise CorruptFileError(
            "the header is damaged",
            place=f"{header.place}/TFIELDS",
            found=header.integer("TFIELDS"),
            expected="0 to 999",
            remedy="fetch the file again",
        )
    if kind == "table" and header.get("ZIMAGE") is True:
        kind = "compressed"
    return Hdu(name, version, kind, header, source, start, size, bitpix, shape)


def stored_dtype(bitpix: int, place: str) -> np.dtype:
    """Return the big-endian dtype a BITPIX stands for."""
    if bitpix not in _STORED:
        raise CorruptFileError(
            "the header is damaged",
            place=f"{place}/BITPIX",
            found=bitpix,
            expected="one of 8, 16, 32, 64, -32, -64",
            remedy="fetch the file again",
        )
    return np.dtype(_STORED[bitpix])


_KINDS = {"IMAGE": "image", "BINTABLE": "table", "IUEIMAGE": "image"}


def _whole(value: float) -> float:
    """Return a float that is a whole number as an int: 32768.0 is the unsigned zero too."""
    return int(value) if float(value).is_integer() else value
